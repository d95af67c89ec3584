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

use fixture::Fixture;
use way::Way;

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
    drop(fixture);
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
    let (mut failed, mut passed) = (0, 0);
    for (test, way) in tests
        .iter()
        .flat_map(|test| test.ways.iter().map(move |way| (test, *way)))
    {
        let name = format!("{}::{}", test.name, way.name());
        let chosen = |filter: &&String| {
            if has("--exact") {
                **filter == name
            } else {
                name.contains(filter.as_str())
            }
        };
        if has("--ignored") || !(filters.is_empty() || filters.iter().any(chosen)) {
            continue;
        }
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        match way.run(test.name) {
            Ok(None) => passed += 1,
            Ok(Some(reason)) => {
                passed += 1;
                println!("test {name} ... skipped: {reason}");
            }
            Err(output) => {
                failed += 1;
                println!("test {name} ... FAILED\n{output}");
            }
        }
    }
    if !has("--list") {
        println!("test result: {passed} passed; {failed} failed");
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
