//! Tries from inside what a command of a RUN, or of a container, can reach.
//!
//! It writes one line `point: result` for everything that a sandbox should decide, to standard output or to the file that
//! it is given. A result is `ok`, the name of an error, or what was found. It says nothing about what is right:
//! `tests/e2e/tests/sandbox_points.rs` compares, and `docs/security.md` explains.
//!
//! Nothing it tries harms a machine that allows it: modes and owners of devices are set to what they are.
#![expect(
    clippy::print_stdout,
    reason = "printing is all that this program is for"
)]

mod call;
mod calls;
mod files;
mod process;
mod programs;

use std::cell::RefCell;
use std::fmt::Write as _;

thread_local! {
    /// What was found so far; written at the end, so that writing changes nothing that is looked at.
    static FOUND: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Started again by itself, as another user or with a file's capabilities.
    if arguments
        .first()
        .is_some_and(|word| word == programs::AGAIN)
    {
        println!("{}", process::ids_and_capabilities());
        return Ok(());
    }
    process::points();
    calls::points();
    files::points();
    programs::points();
    let found = FOUND.take();
    match arguments.first() {
        Some(path) => std::fs::write(path, found),
        None => {
            print!("{found}");
            Ok(())
        }
    }
}

/// Notes one line.
fn point(name: &str, result: impl std::fmt::Display) {
    FOUND.with_borrow_mut(|found| {
        // Writing to a string cannot fail.
        let _ = writeln!(found, "{name}: {result}");
    });
}

/// `ok`, or the name of the error.
fn outcome<T>(result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.raw_os_error().map_or_else(
            || error.to_string(),
            |number| format!("{:?}", nix::errno::Errno::from_raw(number)),
        ),
    }
}
