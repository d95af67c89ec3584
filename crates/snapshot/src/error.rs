//! What can go wrong while looking for changes or writing them.

use std::io;
use std::path::PathBuf;

use kiln_layer::{ImagePath, LayerError};
use rustix::io::Errno;
use thiserror::Error;

/// Bytes of a path in a layer.
const LONGEST_PATH: usize = 4095;

/// Refuses a path that no program could use. Each name on the way down has a path of its own, so that deep directories
/// cost their depth times their depth.
pub(crate) fn check_length(path: &[u8]) -> Result<(), SnapshotError> {
    if path.len() <= LONGEST_PATH {
        return Ok(());
    }
    Err(SnapshotError::PathTooLong {
        beginning: String::from_utf8_lossy(&path[..40]).into_owned(),
    })
}

/// Why changes could not be found or written.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A call to the kernel failed.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The path on the host.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A path that is longer than any program can ask the kernel for: directories that were made one inside the other.
    #[error(
        "a path below `{}...` has more than {LONGEST_PATH} bytes, the limit PATH_MAX: no layer can hold it",
        beginning
    )]
    PathTooLong {
        /// How it begins.
        beginning: String,
    },
    /// The overlay was mounted with `redirect_dir` or `metacopy`, so its upper directory is not the whole change.
    #[error("`{}` carries `{attribute}`: an overlay with redirects or metadata-only copies cannot be read", path.display())]
    Redirected {
        /// The path in the upper directory.
        path: PathBuf,
        /// The extended attribute that was met.
        attribute: String,
    },
    /// A file had another size when it was read than when it was found (conformance: G22, E50).
    #[error("`{path}` changed while it was read: expected {expected} bytes, found {actual}")]
    SizeChanged {
        /// The file.
        path: ImagePath,
        /// Its size when the change was found.
        expected: u64,
        /// Its size, or the bytes that could be read, now.
        actual: u64,
    },
    /// A file was removed, or became something else, between being found and being read.
    #[error("`{path}` was replaced or removed before it could be read")]
    Replaced {
        /// The file.
        path: ImagePath,
    },
    /// A line of `/proc/self/mountinfo` does not have the documented form.
    #[error("cannot understand this line of `/proc/self/mountinfo`: `{line}`")]
    MountInfo {
        /// The whole line.
        line: String,
    },
    /// The threads for a walk could not be started.
    #[error("cannot start {threads} threads for the walk")]
    Threads {
        /// How many were wanted; 0 means as many as there are processors.
        threads: usize,
        /// What the thread pool says.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// The links above an ignored path could not be followed because the root could not be opened.
    #[error("cannot resolve ignored paths in `{}`", root.display())]
    Resolve {
        /// The root.
        root: PathBuf,
        /// The cause.
        #[source]
        source: LayerError,
    },
    /// The layer could not be written, or (for [`ChangeSet::settle`](crate::ChangeSet::settle)) read.
    #[error("cannot {operation} the layer")]
    Layer {
        /// `write` or `read`.
        operation: &'static str,
        /// The cause.
        #[source]
        source: LayerError,
    },
}

impl SnapshotError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: errno.into(),
        }
    }
}
