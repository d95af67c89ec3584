//! Commands in place: what their mounts show is moved there before, and back afterwards.

use std::sync::Arc;

use kiln_sandbox::{Cancel, Exit, RunSpec, Runner, SandboxError, Stream};

use super::placed::Placed;
use super::{RootError, Roots};

/// Runs commands in `/`, where nothing can be mounted.
#[derive(Debug)]
pub(super) struct Placing(pub(super) Arc<Roots>);

impl Runner for Placing {
    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError> {
        let around = |error: RootError| SandboxError::Around(Box::new(error));
        let mut spec = spec.clone();
        let mounts = std::mem::take(&mut spec.mounts);
        let placed = self.0.place(&self.0.work, &mounts).map_err(around)?;
        let exit = self.0.runner.run(&spec, output, cancel)?;
        Placed::take_back(placed).map_err(around)?;
        Ok(exit)
    }
}
