//! What can go wrong while a context or another file view is read.

use std::io;
use std::path::PathBuf;

use kiln_dockerfile::PatternError;

/// A failure to read from a file view; it names the path inside the view.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The path does not exist in the view, or `.dockerignore` excludes it.
    #[error("\"/{path}\": not found")]
    NotFound {
        /// The path below the view's root.
        path: String,
    },
    /// More than 40 symlinks in one path.
    #[error("too many levels of symbolic links in `{path}`")]
    LinkLoop {
        /// The path as it was asked for.
        path: String,
    },
    /// A wildcard that is no valid pattern.
    #[error("`{pattern}` is not a valid pattern")]
    Pattern {
        /// The component of the path that is malformed.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: PatternError,
    },
    /// The operating system refused.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried: `read`, `list`, `open`, ...
        operation: &'static str,
        /// The path below the view's root, or of the host where there is no other.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of a directory could not be read.
    #[error("cannot {operation} `/{path}`")]
    Read {
        /// What was tried: `read`, `list`, `open`.
        operation: &'static str,
        /// The path below the view's root.
        path: String,
        /// Why it failed.
        #[source]
        source: Box<kiln_layer::LayerError>,
    },
    /// A layer behind the view could not be read.
    #[error("cannot read `{path}` from a layer")]
    Layer {
        /// The path below the view's root.
        path: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ViewError {
    /// Whether the failure is that there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ViewError::NotFound { .. })
    }
}

/// A context that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The directory is missing or is not a directory.
    #[error("build context `{path}` cannot be used")]
    Open {
        /// The directory as it was given.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// `--context-sub-path` leads out of the context or nowhere (conformance J9).
    #[error("context sub-path `{sub_path}` does not name a directory inside `{context}`")]
    SubPath {
        /// The sub-path as it was given.
        sub_path: PathBuf,
        /// The context's directory.
        context: PathBuf,
    },
    /// The ignore file has a malformed line.
    #[error("`{path}` cannot be used")]
    IgnoreFile {
        /// The ignore file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PatternError,
    },
    /// The ignore file exists but cannot be read.
    #[error("cannot read `{path}`")]
    ReadIgnoreFile {
        /// The ignore file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The context root itself cannot be opened for reading.
    #[error("cannot open the build context")]
    View(#[from] ViewError),
}
