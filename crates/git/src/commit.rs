//! Commits, and what is wanted and had of them.

use std::path::PathBuf;

/// What comes with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// Whether submodules are checked out too.
    pub submodules: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_git_dir: false,
            submodules: true,
        }
    }
}

/// A commit, and by which name a server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The whole id.
    pub id: String,
    /// A full reference that points to it, if it was found by one.
    pub reference: Option<String>,
    /// The id of the annotated tag that this reference is, which `--checksum` may name as well.
    pub tag: Option<String>,
}

/// Files of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    /// The commit's id.
    pub commit: String,
    /// When it was made, in seconds since the epoch.
    pub time: i64,
    /// The directory that was asked for.
    pub path: PathBuf,
}
