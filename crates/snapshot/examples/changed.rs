//! Runs a command and says what it changed in a directory.
//!
//! ```sh
//! cargo run -p kiln-snapshot --example changed -- DIRECTORY COMMAND [ARGUMENT]...
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use kiln_snapshot::{Filter, Scan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), Some(program)) = (arguments.next().map(PathBuf::from), arguments.next())
    else {
        return Err("usage: changed DIRECTORY COMMAND [ARGUMENT]...".into());
    };
    // No thread more than the machine has processors.
    let mut scan = Scan::take(&directory, &Filter::default(), 0)?;
    let status = Command::new(program).args(arguments).status()?;
    let changes = scan.diff(&directory)?;
    for entry in changes.entries() {
        println!("{} {:o} {}", entry.kind.name(), entry.mode, entry.path);
    }
    println!("{status}");
    Ok(())
}
