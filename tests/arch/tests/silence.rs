//! Libraries write to no log: what a user should know is an event, or a notice that becomes one.
//!
//! `debug!` and `trace!` are for those who look for a mistake of ours, and may stay. `options` sets up the log of the
//! binaries.

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use kiln_arch::tokens;

/// Sets the log up, and tests it.
const SETS_UP: &str = "options";

/// What writes to a log at a level that users see.
const LOUD: [&str; 3] = ["info", "warn", "error"];

/// The places in the code of a text that write to a log: a macro by its name, or another one with its level.
fn loud(text: &str) -> Vec<String> {
    let words = tokens(text);
    let level = |word: &str| LOUD.contains(&word.to_ascii_lowercase().as_str());
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", String::as_str);
        let before = |back: usize| at.checked_sub(back).map_or("", |at| words[at].as_str());
        let opens = words
            .get(at + 2)
            .is_some_and(|sign| "([{".contains(sign.as_str()));
        let is_macro = next == "!" && opens && level(word);
        let is_level = before(1) == "::" && before(2) == "Level" && level(word);
        // `use tracing::warn`, under whatever name it goes on.
        let is_import = before(1) == "::" && before(2) == "tracing" && level(word);
        if is_macro || is_level || is_import {
            found.push(format!("{word}{next}"));
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn libraries_write_to_no_log_that_users_see() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let mut looked_at = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        if folder.ends_with(SETS_UP) {
            continue;
        }
        for path in sources(&folder.join("src")) {
            looked_at += 1;
            let found = loud(&fs::read_to_string(&path).unwrap());
            wrong.extend(
                found
                    .iter()
                    .map(|word| format!("{}: {word}", path.display())),
            );
        }
    }
    assert!(looked_at > 100, "there are {looked_at} files");
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "make these events or notices:\n{wrong}");
}

#[test]
fn loud_words_are_found_and_quiet_ones_are_not() {
    let table = [
        ("tracing::warn!(\"x\")", 1),
        ("use tracing::info;\nfn f() { info!(\"x\") }", 2),
        ("tracing::event!(Level::ERROR, \"x\")", 1),
        ("tracing::debug!(%error, \"tracing::warn!(x)\")", 0),
        ("// tracing::warn!(x)\nlet wrong = error != info;", 0),
        ("#[cfg(test)] mod tests { fn f() { tracing::warn!(x) } }", 0),
    ];
    for (text, count) in table {
        assert_eq!(loud(text).len(), count, "{text}");
    }
}
