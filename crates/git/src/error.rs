//! What goes wrong with repositories.

use std::path::PathBuf;

/// What git itself says.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why files of a repository cannot be had. No text holds a user's password or token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// A name that cannot be understood.
    #[error("`{text}` does not name a git repository: {reason}")]
    Reference {
        /// As written, without login.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The feature `fetch` is off.
    #[error(
        "cannot get files from the git repository `{remote}`: this program was built without git"
    )]
    BuiltWithout {
        /// The URL without login.
        remote: String,
    },
    /// The server cannot be asked.
    #[error("cannot ask `{remote}` for its references")]
    List {
        /// The URL without login.
        remote: String,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// There is no such branch or tag (J6).
    #[error("`{remote}` has no branch, tag or commit `{reference}`")]
    NoReference {
        /// The URL without login.
        remote: String,
        /// What was asked for.
        reference: String,
    },
    /// The commit is another one than `--checksum` or the query say (E47).
    #[error("`{remote}` is at commit {actual}, but {expected} is expected")]
    Commit {
        /// The URL without login.
        remote: String,
        /// The commit found.
        actual: String,
        /// What its id should begin with.
        expected: String,
    },
    /// The commit cannot be fetched.
    #[error("cannot fetch {what} from `{remote}`")]
    Fetch {
        /// The URL without login.
        remote: String,
        /// A reference or commit.
        what: String,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// The files cannot be written.
    #[error("cannot check out {commit} of `{remote}`")]
    Checkout {
        /// The URL without login.
        remote: String,
        /// The commit.
        commit: String,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// The directory asked for is none of the repository (E48).
    #[error("`{subdir}` is no directory of `{remote}`")]
    Subdirectory {
        /// The URL without login.
        remote: String,
        /// The path.
        subdir: String,
    },
    /// A submodule that cannot be used.
    #[error("submodule `{path}` of `{remote}` cannot be used: {reason}")]
    Submodule {
        /// The URL without login.
        remote: String,
        /// Where it should be.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written or removed.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}
