//! Commands that are closures: what a RUN does, without a process.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kiln_sandbox::{Cancel, Exit, RunRoot, RunSpec, Runner, SandboxError, Stream};

/// What a command does: it may change files below the root, write lines, and ends somehow.
type Does = dyn Fn(&RunSpec, &mut dyn FnMut(Stream, &[u8])) -> Exit + Send + Sync;

/// Runs a closure in the place of every command, and remembers what it was asked to run.
pub struct FakeRunner {
    does: Box<Does>,
    asked: Mutex<Vec<RunSpec>>,
}

impl fmt::Debug for FakeRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRunner").finish_non_exhaustive()
    }
}

impl FakeRunner {
    /// Each command does this.
    pub fn new(
        does: impl Fn(&RunSpec, &mut dyn FnMut(Stream, &[u8])) -> Exit + Send + Sync + 'static,
    ) -> FakeRunner {
        FakeRunner {
            does: Box::new(does),
            asked: Mutex::default(),
        }
    }

    /// Everything that it was asked to run, in that order.
    pub fn asked(&self) -> Vec<RunSpec> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    /// The directory that a command of this job has as its root.
    pub fn root_of(spec: &RunSpec) -> PathBuf {
        match &spec.root {
            RunRoot::Directory(path) => path.clone(),
            RunRoot::Host => PathBuf::from("/"),
        }
    }
}

impl Runner for FakeRunner {
    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError> {
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(spec.clone());
        drop(asked);
        Ok((self.does)(spec, output))
    }
}
