//! Commands really run, in every way this machine can be entered.
//!
//! Each test is a process of its own, because `enter` changes the process: the runner starts this executable again
//! with the name of a test, under `setpriv` or `unshare` where the test wants fewer rights than root has. Without
//! root, the ways that need it are skipped, with the reason printed.
//!
//! * `outcome`: exit codes, errors, output (D1, D6, D7, D10)
//! * `process`: environment, ids, capabilities, what is left behind (D2 to D5, D8, D9, D12, D16)
//! * `filesystem`: what is supplied, stubs, mounts (D17 to D20, D26 to D28, D33, D40, D41)
//! * `overlays`: mounting overlays
//! * `in_place`: commands without namespaces, in a throw-away root
//! * `modes`: what `enter` chooses, and what outlives a killed executor
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and this is its own runner"
)]

mod filesystem;
mod fixture;
mod in_place;
mod modes;
mod outcome;
mod overlays;
mod process;
mod way;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use fixture::Fixture;
use way::{Finished, Outcome, Way};

/// A test: in which ways it is run, its name, and what it does in the process made for it.
struct Test {
    name: &'static str,
    ways: &'static [Way],
    body: fn(&Fixture),
}

/// One line of a table of tests.
const fn test(name: &'static str, ways: &'static [Way], body: fn(&Fixture)) -> Test {
    Test { name, ways, body }
}

fn main() -> ExitCode {
    kiln_sandbox::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, root, word] = arguments.as_slice()
        && flag == modes::EXECUTOR
    {
        modes::executor(root, word);
        return ExitCode::SUCCESS;
    }
    let tables = [
        outcome::TESTS,
        process::TESTS,
        filesystem::TESTS,
        overlays::TESTS,
        in_place::TESTS,
        modes::TESTS,
    ];
    assert!(tables.iter().all(|table| !table.is_empty()));
    let tests: Vec<&Test> = tables.into_iter().flatten().collect();
    if let [flag, name, way] = arguments.as_slice()
        && flag == way::INSIDE
    {
        return inside(&tests, name, way);
    }
    run_all(&tests, &arguments)
}

/// The process made for one test.
fn inside(tests: &[&Test], name: &str, way: &str) -> ExitCode {
    let test = tests
        .iter()
        .find(|test| test.name == name)
        .expect("known test");
    let way = Way::ALL
        .iter()
        .find(|known| known.name() == way)
        .expect("known way");
    let Some(fixture) = Fixture::enter(*way) else {
        return ExitCode::from(way::SKIPPED);
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        (test.body)(&fixture);
        fixture.check_nothing_left();
    }));
    fixture.remove();
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// As much of the usual runner as `cargo test` and `cargo nextest` need.
fn run_all(tests: &[&Test], arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut filters: Vec<&String> = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if matches!(
            word.as_str(),
            "--format" | "--test-threads" | "--color" | "--skip" | "-Z"
        ) {
            words.next();
        } else if !word.starts_with('-') {
            filters.push(word);
        }
    }
    let chosen = |name: &str| {
        let matches = |filter: &&String| {
            if has("--exact") {
                filter.as_str() == name
            } else {
                name.contains(filter.as_str())
            }
        };
        !has("--ignored") && (filters.is_empty() || filters.iter().any(matches))
    };
    let mut jobs: Vec<(String, &Test, Way)> = Vec::new();
    for (test, way) in tests
        .iter()
        .flat_map(|test| test.ways.iter().map(move |way| (*test, *way)))
    {
        let name = format!("{}::{}", test.name, way.name());
        if chosen(&name) {
            jobs.push((name, test, way));
        }
    }
    if has("--list") {
        for (name, ..) in jobs {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let failed = run_jobs(&jobs, has("--nocapture"));
    println!(
        "test result: {} passed; {failed} failed",
        jobs.len() - failed
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs tests side by side and returns how many failed.
fn run_jobs(jobs: &[(String, &Test, Way)], print_all: bool) -> usize {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8);
    let work = || {
        while let Some((name, test, way)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Finished { outcome, text } = way.run(test.name);
            match outcome {
                Outcome::Passed if print_all => println!("test {name} ... ok\n{text}"),
                Outcome::Passed => {}
                Outcome::Skipped => kiln_skip::skipped_as(name, text),
                Outcome::Failed => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("test {name} ... FAILED\n{text}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    failed.into_inner()
}
