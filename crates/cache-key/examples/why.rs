//! Says why a step that copies these files has another key than it had the last time.
//!
//! ```sh
//! cargo run -p kiln-cache-key --example why -- STATE FILE...
//! ```
//!
//! `STATE` is a file that keeps the parts of the last time.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use kiln_cache_key::oci::Digest;
use kiln_cache_key::{FileId, FileSet, Parts, compare, part};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let state = arguments.next().ok_or("usage: why STATE FILE...")?;
    let now = parts(arguments.collect())?;
    println!("key {}", now.key(None));
    if let Ok(stored) = fs::read(&state) {
        let before: Parts = serde_json::from_slice(&stored)?;
        for change in compare(&before, &now) {
            println!("{change}");
        }
    }
    // The digest of all files counts; of long lists not every file is kept.
    fs::write(&state, serde_json::to_vec(&now.for_storage(1000))?)?;
    Ok(())
}

fn parts(files: Vec<OsString>) -> Result<Parts, Box<dyn Error>> {
    let mut ids = Vec::new();
    for file in files {
        let content = fs::read(&file)?;
        let digest = Digest::of(&content);
        ids.push(FileId::file(file.as_bytes(), content.len() as u64, digest));
    }
    Ok(Parts::new()
        .with(part::INSTRUCTION, "COPY . /app")
        .with(part::FILES, FileSet::new(ids)))
}
