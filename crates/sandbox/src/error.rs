//! What can go wrong, in words for the person whose build it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::setup_error::SetupError;

/// A command that could not be run, or a sandbox that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A system call of the executor itself failed.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `--isolation namespace` was asked for and this machine refuses it.
    #[error("namespaces are not available: {why}")]
    NoNamespaces {
        /// Which step was refused, and the setting that may be the reason.
        why: String,
    },
    /// `--isolation in-place` was asked for outside a throw-away container.
    #[error("refusing to build in place: {why}; everything in `/` may be overwritten")]
    NotInContainer {
        /// What speaks against it.
        why: String,
    },
    /// In-place isolation was asked for, but this process may not do what it takes.
    #[error("cannot build in place: {why}")]
    CannotRunInPlace {
        /// The missing user id or capabilities.
        why: String,
    },
    /// [`crate::enter`] was called when other threads existed already.
    #[error("isolation must be entered before threads are started, but there are {count}")]
    Threads {
        /// How many threads there are.
        count: usize,
    },
    /// Something that this mode of isolation cannot do.
    #[error("{what} is not possible when running {mode}")]
    Unsupported {
        /// The mount, network or flag asked for.
        what: String,
        /// The mode, as in "in place".
        mode: &'static str,
    },
    /// The command was never started, or its sandbox could not be prepared.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What a [`Runner`](crate::Runner) prepares around the command failed.
    #[error(transparent)]
    Around(Box<dyn std::error::Error + Send + Sync>),
    /// The helper process went away without a result.
    #[error("the sandbox helper ended unexpectedly ({status})")]
    HelperDied {
        /// Its exit status, as far as known.
        status: String,
    },
    /// The run was cancelled; all of its processes are gone.
    #[error("cancelled")]
    Cancelled,
}

impl SandboxError {
    /// Whether the run ended because [`crate::Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// The exit code a shell gives a command it cannot start: 127 if it is not found, 126 if it cannot be executed.
    pub fn shell_code(&self) -> Option<i32> {
        match self {
            Self::Setup(error) => error.shell_code(),
            _ => None,
        }
    }

    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setup(error) => error.hint(),
            Self::NotInContainer { .. } => {
                Some("run the executor in a container of its own, or pass `--force`".to_owned())
            }
            Self::NoNamespaces { .. } => Some(
                "allow user namespaces (seccomp profile `Unconfined`), add the capability SYS_ADMIN, or use \
                 `--isolation in-place` in a throw-away container"
                    .to_owned(),
            ),
            Self::Unsupported { .. } => Some("use `--isolation namespace` where mounts are allowed".to_owned()),
            _ => None,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            operation,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }
}
