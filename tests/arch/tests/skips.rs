//! A test that does nothing says so in one way only, so that it is counted.

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let walk = WalkDir::new(dir).into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != "target") {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nobody_prints_a_skip_by_hand() {
    let mut files = Vec::new();
    for folder in ["bins", "crates", "examples", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut wrong = Vec::new();
    for path in files {
        let own = path.ends_with("skip/src/lib.rs") || path.ends_with("arch/tests/skips.rs");
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        let prints = |line: &str| line.contains("print") && line.contains("(\"skipped");
        if !own && text.lines().any(prints) {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "use kiln_skip::skipped: {wrong:?}");
}

/// What `make test` does with the notes: everything is shown, and what is not listed fails, in CI as root.
#[test]
fn a_skip_that_is_not_listed_fails_in_ci() {
    let dir = std::env::temp_dir().join(format!("kiln-skips-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (notes, allowed) = (dir.join("notes"), dir.join("allowed"));
    fs::write(&notes, "suite::one\twhy not\nother::two\tno room\n").unwrap();
    let judge = |list: &str, ci: &str| {
        fs::write(&allowed, list).unwrap();
        let mut command = Command::new(root().join("tests/skips"));
        let done = command
            .args([&notes, &allowed])
            .env("CI", ci)
            .output()
            .unwrap();
        (
            done.status.success(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    let is_root = fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let (passed, said) = judge("# a remark\nsuite::* | has its reason\n", "true");
    assert_eq!(passed, !is_root);
    assert!(said.contains("skipped suite::one: why not\n"), "{said}");
    assert!(
        said.contains("other::two: no room (not in tests/allowed-skips)"),
        "{said}"
    );
    assert!(
        said.contains("skips: 2, of which 1 are not expected"),
        "{said}"
    );
    assert!(judge("suite::one | a\nother::* | b\n", "true").0);
    assert!(judge("", "").0, "outside of CI a skip is shown only");
    fs::remove_dir_all(dir).unwrap();
}
