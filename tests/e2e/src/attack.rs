//! A build on hostile input: how it ends, how much memory it takes on the way, what it says and what it leaves.

use crate::{Build, Case, Leaks, Outcome, PeakMemory};

/// No attack may take more bytes of memory (docs/security.md, limits).
const MOST_MEMORY: u64 = 256_000_000;

/// More text than this about one mistake is no message.
const LONGEST_LOG: usize = 64 * 1024;

/// Runs `build` and prints its peak of memory, which docs/security.md gives. What has to hold of every attack is checked:
/// little memory, a short log that a terminal can show, nothing left behind. How it has to end is for the caller to say.
///
/// # Panics
///
/// When one of these does not hold.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures are for docs/security.md")]
pub fn attack(what: &str, case: &Case, build: &Build<'_>) -> Outcome {
    let leaks = Leaks::before(case);
    let build = build.clone().arg("--log-format=text");
    let mut running = build.start();
    let memory = PeakMemory::watch(running.pid());
    let outcome = running.wait();
    let (peak, line) = memory.finish();
    let last = outcome.log.lines().rfind(|line| line.contains("rror"));
    let last: String = last.unwrap_or_default().chars().take(160).collect();
    println!("{:>4} MB  {what}: {last}", peak / 1_000_000);
    assert!(peak < MOST_MEMORY, "{what}: {line}");
    // A build that goes well tells each of its steps.
    let longest = if outcome.code == Some(0) { 40 } else { 1 } * LONGEST_LOG;
    let length = outcome.log.len();
    assert!(length < longest, "{what}: {length} bytes of log");
    let escapes = outcome.log.contains('\u{1b}');
    assert!(!escapes, "{what}: escapes in the log");
    leaks.check_after(&outcome.log);
    outcome
}

/// How an attack has to end.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// In an image.
    Builds,
    /// With this in the message.
    Fails(&'static str),
    /// Either way; what counts is that it ends, and how much it takes.
    Somehow,
}

impl Ends {
    /// # Panics
    ///
    /// When it did not.
    #[track_caller]
    pub fn check(self, outcome: &Outcome) {
        match self {
            Ends::Builds => {
                outcome.ok();
            }
            Ends::Fails(text) => {
                outcome.failed(1, &[text]);
            }
            Ends::Somehow => {
                let ended = matches!(outcome.code, Some(0 | 1));
                assert!(ended, "{}\n{}", outcome.status, outcome.log);
            }
        }
    }
}

/// Runs each row, and tells all that went wrong, not only the first.
///
/// # Panics
///
/// When one did, with the names of those.
#[track_caller]
pub fn attack_all<T>(rows: impl IntoIterator<Item = (String, T)>, one: impl Fn(&str, T)) {
    let mut failed = Vec::new();
    let mut tried = 0;
    for (what, row) in rows {
        tried += 1;
        let run = std::panic::AssertUnwindSafe(|| one(&what, row));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(what);
        }
    }
    assert!(tried > 0, "a table without rows shows nothing");
    assert!(failed.is_empty(), "{failed:#?}");
}
