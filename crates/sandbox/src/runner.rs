//! How a command is run in a root: the seam for other ways than processes of this machine.

use std::fmt::Debug;

use crate::{Cancel, Exit, RunSpec, SandboxError, Stream, run};

/// Runs commands. One that prepares something around the command wraps another, and tells what went wrong with that as
/// [`SandboxError::Around`].
pub trait Runner: Debug + Send + Sync {
    /// Runs one command and returns how it ended, once every process it started is gone (D9).
    ///
    /// `output` gets each line, with its newline, as soon as it was written (D10). A run that is cancelled is an error
    /// that says so.
    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError>;
}

/// Commands as processes of this machine: in namespaces, or in the root that this process has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Processes;

impl Runner for Processes {
    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError> {
        run(spec, output, cancel)
    }
}
