//! What a command is as a process, and that nothing of it stays.

use std::fs;
use std::time::Duration;

use kiln_sandbox::{Cancel, Exit, Network, SandboxError, SetupError, User};

use crate::fixture::{Fixture, execute, execute_with, is_running, output, unique_seconds};
use crate::way::{MANY_IDS, NAMESPACES, Way};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("environment", NAMESPACES, environment),
    test("surroundings", NAMESPACES, surroundings),
    test("working_directory", NAMESPACES, working_directory),
    test("users", MANY_IDS, users),
    test("single_id", &[Way::User], single_id),
    test("capabilities", NAMESPACES, capabilities),
    test("setuid_programs", MANY_IDS, setuid_programs),
    test("background_children", NAMESPACES, background_children),
    test("cancel_polite", NAMESPACES, cancel_polite),
    test("cancel_by_force", NAMESPACES, cancel_by_force),
    test("cancel_many", NAMESPACES, cancel_many),
    test("cancel_before", &[Way::Plain], cancel_before),
    test("no_network", NAMESPACES, no_network),
    test("many_at_once", &[Way::Plain, Way::User], many_at_once),
    test("cost", &[Way::Plain, Way::Container], cost),
];

// conformance: D2 D4
fn environment(fixture: &Fixture) {
    let mut spec = fixture.command(&["/bin/env"]);
    spec.env.push(("ODD".into(), "a b\n\u{fc}=".into()));
    spec.cwd = "/tmp".into();
    assert_eq!(
        output(&spec),
        "PATH=/usr/bin:/bin\nODD=a b\n\u{fc}=\nPWD=/tmp\n"
    );
    spec.env.push(("PWD".into(), "/given".into()));
    assert!(output(&spec).ends_with("PWD=/given\n"));
}

// conformance: D4
fn surroundings(fixture: &Fixture) {
    assert_eq!(
        fixture.output_of("umask; wc -c; pwd; hostname"),
        "0022\n0\n/\nkiln\n"
    );
    assert_eq!(
        fixture.output_of("(: </dev/tty) 2>/dev/null || echo no terminal"),
        "no terminal\n"
    );
    assert_eq!(
        fixture.output_of("ls /proc/self/fd | head -3 | tr '\\n' ' '; ls /proc/self/fd | wc -l"),
        "0 1 2 4\n"
    );
    let signals = fixture.output_of("grep -E 'Sig(Ign|Blk)' /proc/self/status | cut -f2");
    assert_eq!(signals, "0000000000000000\n0000000000000000\n");
    if fixture.way != Way::MaskedProc {
        // A session of its own; with the container's /proc the numbers there are not the shell's.
        assert_eq!(
            fixture.output_of("test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo leader"),
            "leader\n"
        );
    }
}

// conformance: D5
fn working_directory(fixture: &Fixture) {
    let mut spec = fixture.sh("pwd -P; stat -c %a . ..");
    spec.cwd = "/srv/made/for it".into();
    assert_eq!(output(&spec), "/srv/made/for it\n755\n755\n");
    assert!(fixture.root.join("srv/made/for it").is_dir());
    std::os::unix::fs::symlink("/srv/../..", fixture.root.join("up")).unwrap();
    spec.cwd = "/up/inside".into();
    assert!(output(&spec).starts_with("/inside\n"));
    spec.cwd = "/etc/passwd".into();
    let error = execute(&spec).result.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot use working directory `/etc/passwd`: "),
        "{error}"
    );
}

// conformance: D12 D14
fn users(fixture: &Fixture) {
    if fixture.has_single_id() {
        return;
    }
    let cases: &[(u32, u32, &[u32], &str)] = &[
        (0, 0, &[0], "0 0 0"),
        (1234, 0, &[0], "1234 0 0"),
        (1234, 55, &[55], "1234 55 55"),
        (1, 2, &[2, 7, 30], "1 2 2 7 30"),
        (65534, 65534, &[], "65534 65534 65534"),
    ];
    assert!(!cases.is_empty());
    for (uid, gid, groups, expected) in cases {
        let mut spec =
            fixture.sh("echo $(id -u) $(id -g) $(id -G); echo heard >/dev/stderr; touch /tmp/mine");
        spec.user = User {
            uid: *uid,
            gid: *gid,
            groups: groups.to_vec(),
        };
        let outcome = execute(&spec);
        assert_eq!(outcome.stdout.trim(), *expected, "{outcome:?}");
        assert_eq!(outcome.stderr, "heard\n");
        assert_eq!(outcome.result.unwrap(), Exit::Code(0));
        let path = fixture.root.join("tmp/mine");
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap());
        assert_eq!(owner, *uid);
        fs::remove_file(path).unwrap();
    }
}

fn single_id(fixture: &Fixture) {
    if !fixture.has_single_id() {
        return;
    }
    let ids = [
        (1234, 0, vec![0], "uid 1234"),
        (0, 55, vec![55], "gid 55"),
        (0, 0, vec![0, 4], "groups 0, 4"),
    ];
    for (uid, gid, groups, named) in ids {
        let mut spec = fixture.sh("true");
        spec.user = User { uid, gid, groups };
        let error = execute(&spec).result.unwrap_err();
        assert!(
            matches!(error, SandboxError::Setup(SetupError::IdNotMapped { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains(named), "{error}");
        assert!(error.hint().unwrap().contains("/etc/subuid"));
    }
}

// conformance: D16
fn capabilities(fixture: &Fixture) {
    let show = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";
    let none = "0000000000000000";
    let docker = "00000000a80425fb";
    assert_eq!(
        fixture.output_of(show),
        format!("{none} {docker} {docker} {docker} {none} ")
    );
    if !fixture.has_single_id() {
        let mut spec = fixture.sh(show);
        spec.user = User {
            uid: 1234,
            gid: 1234,
            groups: vec![1234],
        };
        assert_eq!(
            output(&spec),
            format!("{none} {none} {none} {docker} {none} ")
        );
    }
}

/// Programs such as `sudo` have to work.
// conformance: D43
fn setuid_programs(fixture: &Fixture) {
    if fixture.has_single_id() {
        return;
    }
    let script = "grep NoNewPrivs /proc/self/status; grep ' / / ' /proc/self/mountinfo | grep -c nosuid; true";
    let mut spec = fixture.sh(script);
    spec.user = User {
        uid: 1234,
        gid: 1234,
        groups: vec![1234],
    };
    assert_eq!(output(&spec), "NoNewPrivs:\t0\n0\n");
}

// conformance: D9
fn background_children(fixture: &Fixture) {
    let word = unique_seconds();
    let said = fixture.output_of(&format!(
        "(sleep {word} &); setsid sleep {word} & nohup sleep {word} >/dev/null 2>&1 & echo done"
    ));
    assert_eq!(said, "done\n");
    assert!(!is_running(&word));
    if fixture.way == Way::MaskedProc {
        // `ps` would count the zombies of the whole machine.
        return;
    }
    // Orphans are reaped while the command runs, as by any init.
    let said = fixture.output_of(
        "for i in 1 2 3; do (true & exec true); done; sleep 0.2; ps -o stat,comm | grep -c ^Z || true",
    );
    assert_eq!(said.trim(), "0");
}

// conformance: D8
fn cancel_polite(fixture: &Fixture) {
    let cancel = Cancel::with_grace(Duration::from_mins(1));
    let spec =
        fixture.sh("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let outcome = execute_with(&spec, &cancel, &mut |_, line| {
        if line == "ready\n" {
            cancel.cancel();
        }
    });
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert_eq!(outcome.stdout, "ready\nasked\n");
}

// conformance: D8
fn cancel_by_force(fixture: &Fixture) {
    let word = unique_seconds();
    let before = crate::fixture::tree(&fixture.root);
    let cancel = Cancel::with_grace(Duration::from_millis(50));
    let mut spec = fixture.sh(&format!(
        "trap '' TERM; (setsid sleep {word} &); echo ready; sleep {word}; sleep {word}"
    ));
    spec.mounts.push(kiln_sandbox::SandboxMount::Tmpfs {
        target: "/a/b".into(),
        size: None,
        mode: 0o1777,
    });
    let outcome = execute_with(&spec, &cancel, &mut |_, line| {
        if line == "ready\n" {
            cancel.cancel();
        }
    });
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert!(!is_running(&word));
    assert_eq!(crate::fixture::tree(&fixture.root), before);
}

/// Processes that ignore SIGTERM and are born faster than they can be counted, some in sessions of their own.
// conformance: D8
pub(crate) fn cancel_many(fixture: &Fixture) {
    let word = unique_seconds();
    let cancel = Cancel::with_grace(Duration::from_millis(50));
    let spec = fixture.sh(&format!(
        "trap '' TERM; i=0; while :; do sleep {word} & setsid sleep {word} & (sleep {word} &) ; i=$((i+1)); \
         [ $i != 60 ] || echo ready; done"
    ));
    let outcome = execute_with(&spec, &cancel, &mut |_, line| {
        if line == "ready\n" {
            cancel.cancel();
        }
    });
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert!(!is_running(&word));
}

// conformance: D8
fn cancel_before(fixture: &Fixture) {
    let cancel = Cancel::new();
    cancel.cancel();
    let outcome = execute_with(&fixture.sh("touch /started"), &cancel, &mut |_, _| {});
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert!(!fixture.root.join("started").exists());
}

// conformance: D39
pub(crate) fn no_network(fixture: &Fixture) {
    let mut spec = fixture.sh(
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ping -c 1 -W 1 127.0.0.1 >/dev/null",
    );
    spec.network = Network::None;
    let outcome = execute(&spec);
    assert_eq!(outcome.stdout.lines().next(), Some("lo"), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().count(), 1, "{outcome:?}");
    assert!(outcome.result.unwrap().success(), "{}", outcome.stderr);
}

fn many_at_once(fixture: &Fixture) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    fixture.output_of(&format!("echo {number}; exec 2>&1; ls /dev/full"))
                })
            })
            .collect();
        for (number, run) in runs.into_iter().enumerate() {
            assert_eq!(run.join().unwrap(), format!("{number}\n/dev/full\n"));
        }
    });
}

/// Prints the time of a run, and checks the memory of the process that stays around for it.
fn cost(fixture: &Fixture) {
    let started = std::time::Instant::now();
    let spec = fixture.command(&["/bin/true"]);
    for _ in 0..30 {
        output(&spec);
    }
    eprintln!("one run: {:?}", started.elapsed() / 30);
    let said = fixture.output_of("grep VmRSS /proc/1/status | tr -dc 0-9");
    let kilobytes: u32 = said.parse().unwrap();
    eprintln!("init: {kilobytes} kB");
    assert!(kilobytes < 6 * 1024);
}
