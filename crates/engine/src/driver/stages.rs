//! Stages: one thread each, from FROM to the last instruction.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use kiln_dockerfile::{Command, Instruction, shortened};

use super::chain::{Chain, Decision};
use super::foresee::{Foreseen, instructions};
use super::{Build, Start, Text};
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::stage::{Finished, State};
use crate::step::{StepError, Stepper, items_of};
use kiln_events::{
    Event, StageOutcome, Step, StepLayer, StepOutcome, Subject, Turn, WaitingFor, WarningKind,
};
use kiln_image::clock::Clock;
use kiln_plan::plan::Source;
use kiln_plan::text::Location;
use kiln_step_cache::{Executed, Given};
use kiln_store::layers::{Layer, Made};

impl Build<'_> {
    /// Runs every needed stage, side by side where each has a root of its own.
    pub(super) async fn execute(
        &self,
        text: &Text,
        plan_run: &Arc<PlanRun>,
        foreseen: &Arc<Foreseen>,
        starts: BTreeMap<usize, Start>,
    ) -> Result<Arc<Finished>, BuildError> {
        let failures: Mutex<Vec<BuildError>> = Mutex::default();
        let text = Arc::new(text.clone());
        let run = |stages: Vec<(usize, Start)>| {
            let (plan_run, text) = (Arc::clone(plan_run), Arc::clone(&text));
            let foreseen = Arc::clone(foreseen);
            let failures = &failures;
            async move {
                let worker = tokio::task::spawn_blocking(move || {
                    let mut errors = Vec::new();
                    for (stage, start) in stages {
                        errors.extend(run_stage(&plan_run, &text, &foreseen, stage, &start).err());
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
        if plan_run.run.roots.one_at_a_time() {
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
        let target = plan_run.plan.targets.first().copied().unwrap_or_default();
        let finished = plan_run
            .outcomes
            .get(target)
            .and_then(Option::as_ref)
            .and_then(|outcome| outcome.wait().clone());
        finished.ok_or(BuildError::Lost)
    }
}

/// Runs one stage from its base to its end and leaves an outcome, whatever happens.
fn run_stage(
    plan_run: &Arc<PlanRun>,
    text: &Text,
    foreseen: &Foreseen,
    stage: usize,
    start: &Start,
) -> Result<(), BuildError> {
    let promised = plan_run
        .outcomes
        .get(stage)
        .cloned()
        .flatten()
        .unwrap_or_default();
    let _lost = FailOnDrop(Arc::clone(&promised));
    let (named, begun) = (plan_run.stage(stage), Instant::now());
    plan_run.run.events.event(Event::StageBegun {
        stage: named.clone(),
        steps: instructions(plan_run, stage, start).count(),
    });
    let outcome = steps(plan_run, text, foreseen, stage, start);
    plan_run.run.events.event(Event::StageEnded {
        stage: named,
        took: begun.elapsed(),
        outcome: match &outcome {
            Ok(_) => StageOutcome::Done,
            Err(error) if error.is_aftermath() => StageOutcome::Stopped,
            Err(_) => StageOutcome::Failed,
        },
    });
    match outcome {
        Ok((state, made)) => {
            // Nobody else sets it.
            let _ = promised.set(Some(Arc::new(state.finish())));
            // Others may go on already; a layer that cannot be packed still names its line.
            made.iter().try_for_each(Layered::check)
        }
        Err(error) => {
            let _ = promised.set(None);
            // The build has failed; what other stages do now is for nothing.
            plan_run.run.cancel.cancel();
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

struct FailOnDrop(Arc<OnceLock<crate::plan_run::StageOutcome>>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        // Has no effect when there is an outcome.
        let _ = self.0.set(None);
    }
}

fn steps(
    plan_run: &Arc<PlanRun>,
    text: &Text,
    foreseen: &Foreseen,
    stage: usize,
    start: &Start,
) -> Result<(State, Vec<Layered>), BuildError> {
    let from = &plan_run.plan.dockerfile.stages[stage].from;
    let state = begin(plan_run, stage, start)
        .and_then(|state| {
            plan_run.run.text.charge(state.text_size())?;
            Ok(state)
        })
        .map_err(|error| BuildError::of_step(text, from.span, &from.source, error))?;
    let first = match &start.base {
        Source::Stage(_) => state.content_key,
        image => plan_run.first_key(image),
    };
    let mut chain = Chain::new(plan_run, foreseen, stage, first);
    let mut stepper = Stepper::new(plan_run, stage, state);
    let mut made = Vec::new();
    let total = instructions(plan_run, stage, start).count();
    for (number, instruction) in instructions(plan_run, stage, start).enumerate() {
        // A trigger has no line of its own in this file; the FROM that fired it has.
        let span = if number < start.triggers.len() {
            from.span
        } else {
            instruction.span
        };
        let located = |error| BuildError::of_step(text, span, &instruction.source, error);
        if plan_run.run.cancel.is_cancelled() {
            return Err(located(StepError::Cancelled));
        }
        let layers = stepper.state.layers.len();
        take_turn(&mut stepper, chain.as_mut(), number, total, instruction).map_err(located)?;
        for remark in stepper.remarks.drain(..) {
            let place = format!("{}:{}", text.name, span.line());
            let text = format!("{place}: {remark}");
            let kind = WarningKind::Instruction;
            plan_run.run.events.event(Event::warning(kind, text));
        }
        made.extend(stepper.state.layers[layers..].iter().map(|layer| Layered {
            layer: layer.clone(),
            location: text.locate(span, &instruction.source),
        }));
    }
    stepper.state.content_key = chain.and_then(|chain| chain.content());
    Ok((stepper.state, made))
}

/// One step's turn, from waiting for others to its end.
fn take_turn(
    stepper: &mut Stepper<'_>,
    chain: Option<&mut Chain<'_>>,
    at: usize,
    total: usize,
    instruction: &Instruction,
) -> Result<(), StepError> {
    let plan_run = stepper.plan_run;
    stepper.step = Step {
        stage: plan_run.stage(stepper.stage),
        number: at + 1,
        total,
    };
    let mut turn = Turn::new(&plan_run.run.events, stepper.step.clone());
    if !chain.as_ref().is_some_and(|chain| chain.is_hit(at)) {
        wait_for_stages(plan_run, &mut turn, stepper.stage, instruction)?;
    }
    turn.begin(shortened(&instruction.source).into_owned());
    let before = stepper.state.layers.len();
    let outcome = step(stepper, chain, at, instruction, &mut turn);
    // Whatever it says, it was stopped.
    let outcome = outcome.map_err(|error| {
        if plan_run.run.cancel.is_cancelled() {
            StepError::Cancelled
        } else {
            error
        }
    });
    match &outcome {
        Ok(how) => {
            let layer = stepper.state.layers[before..].last();
            turn.end(*how, layer.map_or(StepLayer::None, Layer::known));
        }
        Err(error) if error.is_aftermath() => turn.end(StepOutcome::Stopped, StepLayer::None),
        Err(_) => turn.end(StepOutcome::Failed, StepLayer::None),
    }
    outcome.map(drop)
}

/// Waits for every stage that an instruction reads, before its step begins.
fn wait_for_stages(
    plan_run: &PlanRun,
    turn: &mut Turn<'_>,
    stage: usize,
    instruction: &Instruction,
) -> Result<(), StepError> {
    // What is wrong with a name is for the step to say.
    let sources = plan_run
        .plan
        .sources(stage, [instruction])
        .unwrap_or_default();
    for source in sources {
        let Source::Stage(number) = source else {
            continue;
        };
        let Some(outcome) = plan_run.outcomes.get(number).and_then(Option::as_ref) else {
            continue;
        };
        if outcome.get().is_some() {
            continue;
        }
        turn.tell_waiting(WaitingFor::Stage(plan_run.stage(number)));
        let then = Instant::now();
        let finished = outcome.wait().is_some();
        turn.waited_since(then);
        if !finished {
            return Err(StepError::Dependency);
        }
    }
    if plan_run.run.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    Ok(())
}

/// One step: taken from the cache, or executed and maybe kept.
fn step(
    stepper: &mut Stepper<'_>,
    chain: Option<&mut Chain<'_>>,
    at: usize,
    instruction: &Instruction,
    turn: &mut Turn<'_>,
) -> Result<StepOutcome, StepError> {
    let decision = match chain {
        Some(chain) => chain.decide(stepper, at, instruction)?,
        None => Decision::Execute,
    };
    match decision {
        Decision::Execute => execute(stepper, instruction),
        Decision::Take(hit) => {
            stepper.adopt(instruction, hit.layer(), &hit.step.created)?;
            turn.tell_cached(hit.place_name());
            Ok(StepOutcome::Cached)
        }
        Decision::Keep(executed) => execute_and_keep(stepper, *executed, instruction, turn),
    }
}

fn execute(stepper: &mut Stepper<'_>, instruction: &Instruction) -> Result<StepOutcome, StepError> {
    stepper.apply(instruction)?;
    Ok(match &instruction.command {
        Command::Run(_) => StepOutcome::Ran,
        _ => StepOutcome::Made,
    })
}

/// Executes a step and stores it, unless another stage of this build has the same one: then its layer is ours, too,
/// as it would be if it came from the cache.
fn execute_and_keep(
    stepper: &mut Stepper<'_>,
    mut executed: Executed,
    instruction: &Instruction,
    turn: &mut Turn<'_>,
) -> Result<StepOutcome, StepError> {
    let (Some(cache), Some(key)) = (&stepper.plan_run.run.cache, executed.keys.first()) else {
        return execute(stepper, instruction);
    };
    let mut waiting = None;
    let claimed = cache.shared.claim(*key, || {
        turn.tell_waiting(WaitingFor::SameStep);
        waiting = Some(Instant::now());
    });
    if let Some(then) = waiting {
        turn.waited_since(then);
    }
    let claim = match claimed {
        Ok(claim) => claim,
        Err(Some(given)) => {
            stepper.adopt(instruction, given.layer, &given.created)?;
            return Ok(StepOutcome::Shared);
        }
        // The other one failed; what it says is what the build says.
        Err(None) => return execute(stepper, instruction),
    };
    let layers = stepper.state.layers.len();
    let outcome = execute(stepper, instruction)?;
    executed.layer = stepper.state.layers.get(layers).cloned();
    let last = stepper.state.config.history.last();
    executed.created = match (stepper.plan_run.run.clock, last) {
        (Clock::Wall, Some(entry)) => entry.created.clone().unwrap_or_default(),
        // Whatever time the image is to have, the entry's age counts from now (H25); and a hit under a fixed clock
        // does not look at it.
        _ => Clock::Wall.rfc3339(),
    };
    claim.keep(Given {
        layer: executed.layer.clone(),
        created: executed.created.clone(),
    });
    cache.keep(executed, &stepper.state.config.platform());
    Ok(outcome)
}

/// The state that FROM gives.
fn begin(plan_run: &Arc<PlanRun>, stage: usize, start: &Start) -> Result<State, StepError> {
    match &start.base {
        Source::Scratch | Source::Files(_) => {
            let platform = plan_run
                .plan
                .platform_of(stage)
                .map_err(|(_, error)| error)?;
            let mut state = State::on_scratch(&platform);
            if let Source::Files(number) = &start.base {
                let view = plan_run.run.sources.named_view(*number)?;
                let items = items_of(plan_run, &view, "/", false)?;
                if !items.is_empty() {
                    let subject = Subject::Stage(plan_run.stage(stage));
                    let layer = plan_run.run.packer.start(Made::Items(items), subject);
                    let from = &plan_run.plan.dockerfile.stages[stage].from;
                    state.record(
                        plan_run.run.clock.rfc3339(),
                        from.source.clone(),
                        Some(layer),
                    );
                }
            }
            Ok(state)
        }
        Source::Stage(number) => {
            let outcome = plan_run.outcomes.get(*number).and_then(Option::as_ref);
            if outcome.is_some_and(|outcome| outcome.get().is_none()) {
                plan_run.run.events.event(Event::StageWaiting {
                    stage: plan_run.stage(stage),
                    on: plan_run.stage(*number),
                });
            }
            let finished = plan_run.wait_for(&start.base);
            Ok(finished.ok_or(StepError::Dependency)?.continued())
        }
        Source::Image(image, platform) => {
            let known = plan_run.images.get(&(image.clone(), platform.clone()));
            Ok(State::on_base(known.ok_or(StepError::Dependency)?))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use kiln_store::layers::PackError;

    fn failure(source: StepError) -> BuildError {
        let location = Location {
            file: "Dockerfile".to_owned(),
            line: 2,
            instruction: "RUN x".to_owned(),
            excerpt: String::new(),
        };
        BuildError::Step {
            location: Box::new(location),
            source: Box::new(source),
        }
    }

    /// What a failure ends is not its cause, a layer that was being packed no more than a step (finding 15).
    #[test]
    fn what_was_stopped_is_not_what_failed() {
        let exit = || {
            failure(StepError::Exit {
                code: 3,
                command: "x".to_owned(),
                refused_id: false,
            })
        };
        let packing = || failure(StepError::Pack(Arc::new(PackError::Cancelled)));
        for others in [
            vec![packing()],
            vec![packing(), failure(StepError::Cancelled)],
        ] {
            let failures = others.into_iter().chain([exit()]).collect();
            let cause = first_cause(failures).map(|error| kiln_shown::with_causes(&error));
            assert!(
                cause.as_ref().is_some_and(|cause| cause.contains('3')),
                "{cause:?}"
            );
        }
        assert!(first_cause(vec![packing()]).is_some_and(|error| error.is_aftermath()));
        assert!(first_cause(Vec::new()).is_none());
    }
}
