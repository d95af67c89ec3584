//! Whether the build's context has what the Dockerfile reads from it, asked before anything is executed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::foresee::{instructions, outline};
use super::{Build, Prepared, Start, Text};
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::stage::State;
use crate::step::Stepper;

impl Build<'_> {
    /// A file that is missing is known now; a build should not find it after minutes of RUN. With a cache, the keys have
    /// read all files already.
    pub(super) async fn check_sources(
        &self,
        prepared: &Prepared,
        plan_run: &Arc<PlanRun>,
    ) -> Result<(), BuildError> {
        if plan_run.run.cache.is_some() {
            return Ok(());
        }
        let (plan_run, text) = (Arc::clone(plan_run), prepared.text.clone());
        let starts = prepared.starts.clone();
        let looking = tokio::task::spawn_blocking(move || check(&plan_run, &text, &starts));
        let looking = async { looking.await.map_err(|_| BuildError::Lost)? };
        self.heed("looking for files of the build context", looking)
            .await
    }
}

/// Goes over all stages that are needed, with the variables as they will be.
fn check(
    plan_run: &Arc<PlanRun>,
    text: &Text,
    starts: &BTreeMap<usize, Start>,
) -> Result<(), BuildError> {
    let mut outlines: BTreeMap<usize, State> = BTreeMap::new();
    for (stage, start) in starts {
        let from = &plan_run.plan.dockerfile.stages[*stage].from;
        // Kept for the stages that start where this one ends, so it counts.
        let state = outline(plan_run, *stage, start, &outlines)
            .and_then(|state| {
                plan_run.run.text.charge(state.text_size())?;
                Ok(state)
            })
            .map_err(|error| BuildError::of_step(text, from.span, &from.source, error))?;
        let mut stepper = Stepper::new(plan_run, *stage, state);
        for (number, instruction) in instructions(plan_run, *stage, start).enumerate() {
            stepper.look_for_sources(instruction).map_err(|error| {
                let own = number >= start.triggers.len();
                let span = if own { instruction.span } else { from.span };
                BuildError::of_step(text, span, &instruction.source, error)
            })?;
        }
        outlines.insert(*stage, stepper.state);
    }
    Ok(())
}
