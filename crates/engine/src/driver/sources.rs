//! Whether the build's context has what the Dockerfile reads from it, asked before anything is executed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::foresee::{instructions, outline};
use super::{Build, Prepared, Start, Text};
use crate::error::BuildError;
use crate::shop::Shop;
use crate::stage::State;
use crate::step::Stepper;

impl Build<'_> {
    /// A file that is missing is known now; a build should not find it after minutes of RUN. With a cache, the keys have
    /// read all files already.
    pub(super) async fn check_sources(
        &self,
        prepared: &Prepared,
        shop: &Arc<Shop>,
    ) -> Result<(), BuildError> {
        if shop.cache.is_some() {
            return Ok(());
        }
        let (shop, text) = (Arc::clone(shop), prepared.text.clone());
        let starts = prepared.starts.clone();
        let looking = tokio::task::spawn_blocking(move || check(&shop, &text, &starts));
        let looking = async { looking.await.map_err(|_| BuildError::Lost)? };
        self.heed("looking for files of the build context", looking)
            .await
    }
}

/// Goes over all stages that are needed, with the variables as they will be.
fn check(shop: &Arc<Shop>, text: &Text, starts: &BTreeMap<usize, Start>) -> Result<(), BuildError> {
    let mut outlines: BTreeMap<usize, State> = BTreeMap::new();
    for (stage, start) in starts {
        let from = &shop.plan.dockerfile.stages[*stage].from;
        // Kept for the stages that start where this one ends, so it counts.
        let state = outline(shop, *stage, start, &outlines)
            .and_then(|state| {
                shop.text.charge(state.text_size())?;
                Ok(state)
            })
            .map_err(|error| BuildError::of_step(text, from.span, &from.source, error))?;
        let mut stepper = Stepper::new(shop, *stage, state);
        for (number, instruction) in instructions(shop, *stage, start).enumerate() {
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
