//! What `enter` chooses, and that a killed executor leaves nothing running.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_sandbox::{
    Cancel, IdMap, Isolation, Mode, RunRoot, RunSpec, SandboxError, SandboxMount, enter, run,
};

use crate::fixture::{Fixture, is_running, tree, unique_seconds};
use crate::way::{NAMESPACES, Way};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test(
        "mode",
        &[
            Way::Plain,
            Way::Container,
            Way::User,
            Way::SubIds,
            Way::MaskedProc,
            Way::NoCapabilities,
            Way::InPlace,
        ],
        mode,
    ),
    test("threads", &[Way::NoCapabilities, Way::Plain], threads),
    test("killed_executor", NAMESPACES, killed_executor),
    test("killed_executor_in_place", &[Way::InPlace], killed_executor),
];

fn mode(fixture: &Fixture) {
    let reason = &fixture.entered.reason;
    println!("{reason}");
    match (&fixture.entered.mode, fixture.way) {
        (Mode::Namespace { userns, ids, .. }, way) => {
            let expected = match way {
                Way::Plain if fixture.is_root_of_machine() => (false, IdMap::Full),
                Way::Container => (true, IdMap::Full),
                Way::SubIds => (true, IdMap::SubIds),
                Way::MaskedProc => {
                    assert!(reason.contains("/proc of the container"), "{reason}");
                    (true, IdMap::Single)
                }
                _ => (true, *ids),
            };
            assert_eq!((*userns, *ids), expected, "{reason}");
        }
        (Mode::InPlace, way) => assert_eq!(way, Way::InPlace),
        (Mode::None { reason }, way) => {
            assert_eq!(way, Way::NoCapabilities);
            assert!(reason.contains("namespaces are not available"), "{reason}");
        }
    }
}

fn threads(fixture: &Fixture) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let error = enter(Isolation::Namespace, &fixture.work, false).unwrap_err();
            assert!(
                matches!(error, SandboxError::Threads { count: 2 }),
                "{error}"
            );
        });
    });
}

/// First argument of a process that does nothing but run one command.
pub(crate) const EXECUTOR: &str = "--executor";

/// The process that is killed; it lives in the namespaces of the test that started it.
pub(crate) fn executor(root: &str, word: &str) {
    let root = if root == "/" {
        RunRoot::Host
    } else {
        RunRoot::Directory(root.into())
    };
    let script =
        format!("trap '' TERM; (setsid sleep {word} &); echo ready; sleep {word}; sleep {word}");
    let mut spec = RunSpec::new(root, ["/bin/sh", "-c", &script].map(Into::into).to_vec());
    spec.env.push(("PATH".into(), "/bin".into()));
    if spec.root != RunRoot::Host {
        spec.mounts.push(SandboxMount::Tmpfs {
            target: "/a/b".into(),
            size: None,
            mode: 0o755,
        });
    }
    let exit = run(
        &spec,
        &mut |_, line| print!("{}", String::from_utf8_lossy(line)),
        &Cancel::new(),
    );
    println!("{exit:?}");
}

// conformance: D8
fn killed_executor(fixture: &Fixture) {
    let in_place = fixture.way == Way::InPlace;
    let before = (!in_place).then(|| tree(&fixture.root));
    let word = unique_seconds();
    let root = if in_place {
        "/".into()
    } else {
        fixture.root.clone()
    };
    let mut executor = Command::new("/proc/self/exe")
        .arg(EXECUTOR)
        .arg(root)
        .arg(&word)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(executor.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    executor.kill().unwrap();
    executor.wait().unwrap();
    wait_until(|| !is_running(&word));
    // The init of the command outlives the executor just long enough to tidy up.
    wait_until(|| before.is_none() || before == Some(tree(&fixture.root)));
}

fn wait_until(condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < limit, "still not so after 20 seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}
