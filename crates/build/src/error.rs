//! What a failed build says: what failed, where, why, and what to try.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_context::ContextError;
use kiln_dockerfile::{Dockerfile, ParseError, Span, StageError};
use kiln_oci::Reference;
use kiln_registry::RegistryError;

use crate::base::BaseError;
use crate::fetch::{ClientError, FetchError};
use crate::format::FormatError;
use crate::output::OutputError;
use crate::plan::PlanError;
use crate::step::StepError;

/// A place in a Dockerfile, with the lines around it (conformance A16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The Dockerfile as it was named.
    pub file: String,
    /// First line of the instruction, from 1.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// The lines around it, numbered and marked.
    pub excerpt: String,
}

impl Location {
    pub(crate) fn new(file: &str, dockerfile: &Dockerfile, span: Span, instruction: &str) -> Self {
        Location {
            file: file.to_owned(),
            line: span.line(),
            instruction: instruction.to_owned(),
            excerpt: dockerfile.excerpt(span),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.instruction)
    }
}

/// A build that failed. Nothing of it is left: no mount, no process, no temporary file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile `{path}`")]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The Dockerfile cannot be fetched.
    #[error("cannot read the Dockerfile")]
    FetchDockerfile(#[source] FetchError),
    /// The client for downloads cannot be made.
    #[error("cannot prepare downloads")]
    Downloads(#[source] ClientError),
    /// The Dockerfile cannot be parsed.
    #[error("`{file}` cannot be parsed")]
    Parse {
        /// The Dockerfile as it was named.
        file: String,
        /// Every mistake found, with its line.
        #[source]
        source: ParseError,
    },
    /// `--target` names no stage.
    #[error(transparent)]
    Target(#[from] StageError),
    /// A line of the Dockerfile cannot be planned.
    #[error("{location}")]
    Plan {
        /// The line.
        location: Box<Location>,
        /// What is wrong with it.
        #[source]
        source: Box<PlanError>,
    },
    /// The image of a FROM or `--from` cannot be had.
    #[error("{location}")]
    Base {
        /// The line that names it.
        location: Box<Location>,
        /// Why not.
        #[source]
        source: Arc<BaseError>,
    },
    /// A step failed.
    #[error("{location}")]
    Step {
        /// The instruction.
        location: Box<Location>,
        /// Why it failed.
        #[source]
        source: Box<StepError>,
    },
    /// A warning of the Dockerfile counts as an error: `# check=error=true` (conformance A6).
    #[error("`{file}` has {count} warnings and says `check=error=true`")]
    Check {
        /// The Dockerfile as it was named.
        file: String,
        /// How many warnings there are.
        count: usize,
    },
    /// The image cannot have the form that was asked for.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The build context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The registry client cannot be made from the settings.
    #[error("the registry settings cannot be used")]
    Client(#[source] RegistryError),
    /// We may not push there, found out before building (conformance I29).
    #[error("cannot push to `{repository}`")]
    PushPermission {
        /// The repository.
        repository: String,
        /// What the registry said.
        #[source]
        source: RegistryError,
    },
    /// The image cannot be pushed.
    #[error("cannot push `{reference}`")]
    Push {
        /// The destination.
        reference: Reference,
        /// What the registry said.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The image cannot be written where it was asked for.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The work folder cannot be used.
    #[error("cannot use the work folder `{path}`")]
    WorkDir {
        /// The folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Isolation was asked for that cannot be had.
    #[error(transparent)]
    Isolation(#[from] kiln_sandbox::SandboxError),
    /// The build was interrupted.
    #[error("interrupted while {during}")]
    Cancelled {
        /// What the build was doing.
        during: &'static str,
    },
    /// The image could not be put together after the last step.
    #[error("cannot finish the image")]
    Finish(#[source] Box<StepError>),
    /// A thread of the build is gone.
    #[error("a thread of the build ended before it was done")]
    Lost,
}

impl BuildError {
    /// The process's exit code: that of the failing RUN, else 1 (conformance D6).
    pub fn exit_code(&self) -> i32 {
        match self {
            BuildError::Step { source, .. } => source.run_code().unwrap_or(1),
            _ => 1,
        }
    }

    /// Where in the Dockerfile it happened.
    pub fn location(&self) -> Option<&Location> {
        match self {
            BuildError::Plan { location, .. }
            | BuildError::Base { location, .. }
            | BuildError::Step { location, .. } => Some(location),
            _ => None,
        }
    }

    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            BuildError::Step { source, .. } => source.hint(),
            BuildError::Isolation(source) => source.hint(),
            BuildError::PushPermission { source, .. } if source.is_unauthorized() => Some(
                "check the credentials in `config.json`, or pass `--skip-push-permission-check`"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether another error is the cause that the user should see.
    pub(crate) fn is_aftermath(&self) -> bool {
        match self {
            BuildError::Step { source, .. } => source.is_aftermath(),
            BuildError::Cancelled { .. } => true,
            _ => false,
        }
    }
}
