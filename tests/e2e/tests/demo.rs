//! `make demo`, with the executor under test, as root and as an ordinary user.

use std::path::Path;
use std::process::Command;

use kiln_e2e::{Case, User, executor, is_root, kiln_only, skipped, userns_works};

fn demo(user: Option<User>) {
    let case = Case::new();
    let (words, program) = match user {
        Some(user) => user.enter(&case),
        None => (vec!["env".into()], executor()),
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .arg(script)
        .env("KILN_EXECUTOR", program);
    command
        .env("TMPDIR", case.path("tmp"))
        .env("HOME", case.path("home"))
        .stdin(std::process::Stdio::null());
    let ran = kiln_e2e::output(&mut command);
    for word in [
        "HELLO FROM AN IMAGE THAT KILN BUILT",
        "version 1, 36 bytes",
        "the same digest: sha256:",
    ] {
        assert!(
            ran.stdout.contains(word),
            "`{word}` is not in\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
    }
    let left: Vec<_> = std::fs::read_dir(case.path("tmp"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "the demo left {left:?}");
}

#[test]
fn the_demo_works() {
    kiln_only!();
    demo(None);
}

#[test]
fn the_demo_works_for_an_ordinary_user() {
    kiln_only!();
    if !is_root() || !userns_works() {
        skipped(
            "needs root to become somebody else, and a machine that lets users make namespaces",
        );
        return;
    }
    demo(Some(User::Ordinary));
}
