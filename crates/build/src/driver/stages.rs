//! Stages: one thread each, from FROM to the last instruction.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use kiln_dockerfile::{Dockerfile, Span};

use super::{Build, Start, Text};
use crate::error::{BuildError, Location};
use crate::event::Event;
use crate::layers::Layer;
use crate::plan::Source;
use crate::promise::Promise;
use crate::shop::Shop;
use crate::stage::{Finished, State};
use crate::step::{StepError, Stepper};

impl Build<'_> {
    /// Runs every needed stage, side by side where each has a root of its own.
    pub(super) async fn execute(
        &self,
        text: &Text,
        shop: &Arc<Shop>,
        starts: BTreeMap<usize, Start>,
    ) -> Result<Arc<Finished>, BuildError> {
        let failures: Mutex<Vec<BuildError>> = Mutex::default();
        let text = Arc::new((text.name.clone(), text.dockerfile.clone()));
        let run = |stages: Vec<(usize, Start)>| {
            let (shop, text) = (Arc::clone(shop), Arc::clone(&text));
            let failures = &failures;
            async move {
                let worker = tokio::task::spawn_blocking(move || {
                    let mut errors = Vec::new();
                    for (stage, start) in stages {
                        errors.extend(run_stage(&shop, &text, stage, &start).err());
                    }
                    errors
                });
                let errors = worker.await.unwrap_or_else(|_| vec![BuildError::Lost]);
                failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(errors);
            }
        };
        if shop.roots.one_at_a_time() {
            run(starts.into_iter().collect()).await;
        } else {
            join_all(starts.into_iter().map(|start| run(vec![start]))).await;
        }
        let failures = failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = first_cause(failures) {
            return Err(error);
        }
        let target = shop.plan.targets.first().copied().unwrap_or_default();
        let finished = shop
            .stages
            .get(target)
            .and_then(Option::as_ref)
            .and_then(Promise::wait);
        finished.ok_or(BuildError::Lost)
    }
}

/// Runs one stage from its base to its end and keeps its promise, whatever happens.
fn run_stage(
    shop: &Arc<Shop>,
    text: &(String, Dockerfile),
    stage: usize,
    start: &Start,
) -> Result<(), BuildError> {
    let promise = shop
        .stages
        .get(stage)
        .cloned()
        .flatten()
        .unwrap_or_else(Promise::new);
    let _lost = KeepOnDrop(promise.clone());
    let outcome = steps(shop, text, stage, start);
    match outcome {
        Ok((state, made)) => {
            promise.keep(Some(Arc::new(state.finish())));
            // Others may go on already; a layer that cannot be packed still names its line.
            made.iter().try_for_each(Layered::check)
        }
        Err(error) => {
            promise.keep(None);
            // The build has failed; what other stages do now is for nothing.
            shop.cancel.cancel();
            Err(error)
        }
    }
}

/// A layer and the instruction that made it.
struct Layered {
    layer: Layer,
    location: Location,
}

impl Layered {
    /// Waits until the layer is packed.
    fn check(&self) -> Result<(), BuildError> {
        match self.layer.describe() {
            Ok(_) => Ok(()),
            Err(error) => Err(BuildError::Step {
                location: Box::new(self.location.clone()),
                source: Box::new(StepError::Pack(error)),
            }),
        }
    }
}

struct KeepOnDrop(Promise<crate::shop::StageOutcome>);

impl Drop for KeepOnDrop {
    fn drop(&mut self) {
        // Has no effect when the promise was kept.
        self.0.keep(None);
    }
}

fn steps(
    shop: &Arc<Shop>,
    text: &(String, Dockerfile),
    stage: usize,
    start: &Start,
) -> Result<(State, Vec<Layered>), BuildError> {
    let located = |span: Span, line: &str, source: StepError| BuildError::Step {
        location: Box::new(Location::new(&text.0, &text.1, span, line)),
        source: Box::new(source),
    };
    let from = &shop.plan.dockerfile.stages[stage].from;
    let state =
        begin(shop, stage, start).map_err(|error| located(from.span, &from.source, error))?;
    let name = shop.plan.stage_name(stage);
    let mut stepper = Stepper::new(shop, stage, state);
    let mut made = Vec::new();
    let own = &shop.plan.dockerfile.stages[stage].instructions;
    let total = start.triggers.len() + own.len();
    for (number, instruction) in start.triggers.iter().chain(own).enumerate() {
        // A trigger has no line of its own in this file; the FROM that fired it has.
        let span = if number < start.triggers.len() {
            from.span
        } else {
            instruction.span
        };
        if shop.cancel.is_cancelled() {
            return Err(located(span, &instruction.source, StepError::Cancelled));
        }
        shop.events.event(Event::StepStarted {
            stage: name.clone(),
            number: number + 1,
            total,
            text: instruction.source.clone(),
        });
        let begun = Instant::now();
        let layers = stepper.state.layers.len();
        stepper.apply(instruction).map_err(|error| {
            // Whatever it says, it was stopped.
            let error = if shop.cancel.is_cancelled() {
                StepError::Cancelled
            } else {
                error
            };
            located(span, &instruction.source, error)
        })?;
        made.extend(stepper.state.layers[layers..].iter().map(|layer| Layered {
            layer: layer.clone(),
            location: Location::new(&text.0, &text.1, span, &instruction.source),
        }));
        shop.events.event(Event::StepFinished {
            stage: name.clone(),
            number: number + 1,
            took: begun.elapsed(),
        });
    }
    Ok((stepper.state, made))
}

/// The state that FROM gives.
fn begin(shop: &Arc<Shop>, stage: usize, start: &Start) -> Result<State, StepError> {
    match &start.base {
        Source::Scratch => {
            let platform = shop.plan.platform_of(stage).map_err(|(_, error)| error)?;
            Ok(State::on_scratch(&platform))
        }
        Source::Stage(_) => Ok(shop.wait_for(&start.base)?.continued()),
        Source::Image(image, platform) => {
            let known = shop.images.get(&(image.clone(), platform.clone()));
            Ok(known.ok_or(StepError::Dependency)?.state())
        }
    }
}

/// Of all failures the one that the others follow from; of an interrupted build, the step it was at.
fn first_cause(failures: Vec<BuildError>) -> Option<BuildError> {
    let mut aftermath = None;
    for failure in failures {
        if !failure.is_aftermath() {
            return Some(failure);
        }
        aftermath.get_or_insert(failure);
    }
    aftermath
}
