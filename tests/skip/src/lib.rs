//! The one way in which a test of ours says that it did nothing here.
//!
//! A test that cannot do its work passes, because the harness knows nothing else. So that nobody takes it for a test
//! that held, it says so here: the reason is printed, and noted in the file that `KILN_SKIPS` names. `tests/run-all`
//! prints what was noted and, where every test should be able to run, fails for what `tests/allowed-skips` does not
//! list.
#![allow(clippy::print_stderr, clippy::missing_panics_doc)]

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Names the file that skips are noted in, one line each: the test, a tab, the reason.
pub const NOTES: &str = "KILN_SKIPS";

/// Says that the test of this thread does nothing, or leaves out a part, and why.
pub fn skipped(reason: impl Display) {
    let thread = std::thread::current();
    skipped_as(thread.name().unwrap_or("?"), reason);
}

/// The same for a test with a runner of its own, which knows the name.
pub fn skipped_as(test: &str, reason: impl Display) {
    let line = line(&binary(), test, &reason.to_string());
    eprintln!("SKIPPED: {line}");
    if let Some(notes) = std::env::var_os(NOTES) {
        let noted = note(Path::new(&notes), &line);
        // A skip that is not counted is what this crate is there to prevent.
        assert!(noted.is_ok(), "{NOTES} cannot be written: {noted:?}");
    }
}

/// One write below the size of a pipe's buffer at the end of the file: lines of tests side by side do not mix.
fn note(notes: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(notes)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn line(binary: &str, test: &str, reason: &str) -> String {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{binary}::{test}\t{reason}")
}

/// The name of the test's file, without what cargo adds to it.
fn binary() -> String {
    let executable = std::env::current_exe().unwrap_or_default();
    let name = executable.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    name.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_one_line_that_names_the_test() {
        assert_eq!(
            line(&binary(), "module::test", "two\n lines"),
            "kiln_skip::module::test\ttwo lines"
        );
    }

    #[test]
    fn notes_of_many_tests_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let notes = dir.path().join("notes");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let notes = &notes;
                scope.spawn(move || {
                    for number in 0..50 {
                        note(notes, &format!("{thread}-{number}")).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(notes).unwrap();
        let lines: std::collections::BTreeSet<_> = text.lines().collect();
        assert_eq!(lines.len(), 400);
    }
}
