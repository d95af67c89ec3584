//! What lies where: little at the top, crates that one person can read, names that say something.

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// What the project is made of.
const PARTS: &[&str] = &["bins", "crates", "deploy", "docs", "examples", "tests"];
/// What a tool, or a host of repositories, looks for at the top and nowhere else.
const FOR_TOOLS: &[&str] = &[
    ".ci",
    ".config",
    ".gitignore",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
];
/// What is made here and is in no commit.
const NOT_KEPT: &[&str] = &[".git", "target"];

/// Lines of a crate's `src`; a larger one has more than one subject.
const MOST_LINES: usize = 9_000;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Every crate but the excepted one, as `crates/x`.
fn crates() -> Vec<String> {
    let paths = entries(&root().join("crates"));
    let crates = paths.iter().map(|path| format!("crates/{}", name(path)));
    crates.collect()
}

/// The folder and all that is below it.
fn below(folder: &Path) -> Vec<PathBuf> {
    let all = WalkDir::new(folder).sort_by_file_name().into_iter();
    all.map(|entry| entry.unwrap().into_path()).collect()
}

#[test]
fn the_top_has_what_the_project_is_made_of_and_what_tools_require() {
    let names: Vec<String> = entries(&root()).iter().map(|path| name(path)).collect();
    let known = |name: &String| [PARTS, FOR_TOOLS, NOT_KEPT].concat().contains(&&**name);
    let others: Vec<&String> = names.iter().filter(|name| !known(name)).collect();
    assert!(others.is_empty(), "these belong into a folder: {others:?}");
    for part in [PARTS, FOR_TOOLS].concat() {
        assert!(names.contains(&part.to_owned()), "`{part}` is not there");
    }
}

#[test]
fn no_crate_is_too_large_to_be_read() {
    let crates = crates();
    assert!(!crates.is_empty());
    for one in crates {
        let files = below(&root().join(&one).join("src"));
        let sources = files
            .iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
        let lines: usize = sources
            .map(|path| fs::read_to_string(path).unwrap().lines().count())
            .sum();
        assert!(lines > 0, "{one} has no source");
        assert!(lines <= MOST_LINES, "{one} has {lines} lines: split it");
    }
}

/// All of the program builds; such a name says nothing about what is inside, and tools take it for their output.
#[test]
fn no_folder_is_called_build() {
    for one in crates() {
        let all = below(&root().join(one));
        let mut folders = all.iter().filter(|path| path.is_dir());
        let found = folders.find(|path| path.ends_with("build"));
        assert_eq!(found, None, "name it after what it builds");
    }
}
