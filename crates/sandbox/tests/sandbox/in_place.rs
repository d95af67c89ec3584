//! Commands without namespaces. `/` is a throw-away directory here, entered with chroot; never the machine's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_sandbox::{Cancel, Mode, SandboxError, SandboxMount, User};

use crate::fixture::{Fixture, execute, execute_with, is_running, output, unique_seconds};
use crate::way::Way;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("in_place_basics", &[Way::InPlace], basics),
    test(
        "in_place_working_directory",
        &[Way::InPlace],
        working_directory_stays_in_the_root,
    ),
    test("in_place_leftovers", &[Way::InPlace], leftovers),
    test("in_place_cancel", &[Way::InPlace], cancel),
    test("in_place_helper_killed", &[Way::InPlace], helper_killed),
    test("in_place_helper_stopped", &[Way::InPlace], helper_stopped),
    test(
        "in_place_cancel_many",
        &[Way::InPlace],
        crate::process::cancel_many,
    ),
    test(
        "in_place_no_network",
        &[Way::InPlace],
        crate::process::no_network,
    ),
    test("in_place_unsupported", &[Way::InPlace], unsupported),
    test("in_place_overwritten", &[Way::InPlace], overwritten),
];

fn guard(fixture: &Fixture) {
    assert!(Path::new("/test").exists(), "not in the throw-away root");
    assert_eq!(fixture.entered.mode, Mode::InPlace);
}

// conformance: D1 D2 D4 D5 D16
fn basics(fixture: &Fixture) {
    guard(fixture);
    let mut spec = fixture
        .sh("pwd; umask; env | grep -v -e SHLVL -e _=; grep CapBnd /proc/self/status | cut -f2");
    spec.cwd = "/srv/new".into();
    assert_eq!(
        output(&spec),
        "/srv/new\n0022\nPATH=/usr/bin:/bin\nPWD=/srv/new\n00000000a80425fb\n"
    );
    assert!(Path::new("/srv/new").is_dir());
    let mut spec =
        fixture.sh("echo $(id -u) $(id -g) $(id -G); cat /proc/$PPID/environ 2>/dev/null | wc -c");
    spec.user = User {
        uid: 1234,
        gid: 55,
        groups: vec![55, 56],
    };
    assert_eq!(output(&spec), "1234 55 55 56\n0\n");
    // The executor's own environment holds credentials.
    let own = rustix::process::getpid().as_raw_nonzero();
    assert_eq!(
        fixture.output_of(&format!("cat /proc/{own}/environ 2>/dev/null | wc -c")),
        "0\n"
    );
    let error = execute(&fixture.command(&["nothing"])).result.unwrap_err();
    assert_eq!(error.shell_code(), Some(127));
}

/// Other processes of a pod may have another root, and links of `/proc` lead there if the kernel follows them. A directory
/// that is gone is one that only the kernel reaches; what the link says is looked up like any other.
fn working_directory_stays_in_the_root(fixture: &Fixture) {
    guard(fixture);
    fs::create_dir("/gone").unwrap();
    let mut there = Command::new("/bin/busybox")
        .args(["sleep", "60"])
        .current_dir("/gone")
        .spawn()
        .unwrap();
    fs::remove_dir("/gone").unwrap();
    let mut spec = fixture.sh("pwd");
    spec.cwd = format!("/proc/{}/cwd", there.id()).into();
    let said = output(&spec);
    there.kill().unwrap();
    there.wait().unwrap();
    assert_eq!(said, "/gone (deleted)\n");
    assert!(Path::new("/gone (deleted)").is_dir());
}

// conformance: D9
fn leftovers(fixture: &Fixture) {
    guard(fixture);
    let word = unique_seconds();
    let said = fixture.output_of(&format!("(sleep {word} &); setsid sh -c 'sleep {word} & sleep {word}' & nohup sleep {word} >/dev/null & echo done"));
    assert_eq!(said, "done\n");
    assert!(!is_running(&word));
}

// conformance: D8
fn cancel(fixture: &Fixture) {
    guard(fixture);
    let word = unique_seconds();
    let cancel = Cancel::with_grace(Duration::from_millis(50));
    let spec = fixture.sh(&format!(
        "trap '' TERM; (setsid sleep {word} &); echo ready; sleep {word}; sleep {word}"
    ));
    let outcome = execute_with(&spec, &cancel, &mut |_, line| {
        if line == "ready\n" {
            cancel.cancel();
        }
    });
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert!(!is_running(&word));
}

/// The helper is a process that the command sees and may signal; what it leaves then comes to the executor.
// conformance: D9
fn helper_killed(fixture: &Fixture) {
    guard(fixture);
    let word = unique_seconds();
    let started = format!("(sleep {word} &); setsid sh -c 'sleep {word} & sleep {word}' &");
    for rest in [String::new(), format!("sleep {word}")] {
        let spec = fixture.sh(&format!("{started} kill -9 $PPID; {rest}"));
        let error = execute(&spec).result.unwrap_err();
        assert!(
            matches!(error, SandboxError::HelperDied { .. }),
            "{error:?}"
        );
        assert!(!is_running(&word), "after `{rest}`");
    }
}

// conformance: D8 D9
fn helper_stopped(fixture: &Fixture) {
    guard(fixture);
    let word = unique_seconds();
    let stop = format!("(setsid sleep {word} &); kill -STOP $PPID");
    let outcome = execute(&fixture.sh(&format!("{stop}; echo done")));
    assert_eq!(outcome.result.unwrap(), kiln_sandbox::Exit::Code(0));
    assert!(!is_running(&word));

    let cancel = Cancel::with_grace(Duration::from_millis(50));
    let spec = fixture.sh(&format!(
        "trap '' TERM; {stop}; echo ready; sleep {word}; sleep {word}"
    ));
    let outcome = execute_with(&spec, &cancel, &mut |_, line| {
        if line == "ready\n" {
            cancel.cancel();
        }
    });
    assert!(outcome.result.unwrap_err().is_cancelled());
    assert!(!is_running(&word));
}

fn unsupported(fixture: &Fixture) {
    guard(fixture);
    let mut spec = fixture.sh("true");
    spec.mounts.push(SandboxMount::Tmpfs {
        target: "/t".into(),
        size: None,
        mode: 0o755,
    });
    let error = execute(&spec).result.unwrap_err();
    assert!(matches!(error, SandboxError::Unsupported { .. }));
    assert_eq!(
        error.to_string(),
        "a mount at `/t` is not possible when running in place"
    );
}

/// A base image unpacked over `/` may replace or remove the executor and its libraries.
fn overwritten(fixture: &Fixture) {
    guard(fixture);
    if !cfg!(target_feature = "crt-static") {
        // This executable needs its loader; the shipped one is static.
        fs::remove_file("/test").unwrap();
        assert_eq!(fixture.output_of("echo still here"), "still here\n");
        return;
    }
    for directory in ["/lib", "/lib64", "/usr"] {
        let _ = fs::remove_dir_all(directory);
    }
    fs::remove_file("/test").unwrap();
    assert_eq!(fixture.output_of("echo still here"), "still here\n");
}
