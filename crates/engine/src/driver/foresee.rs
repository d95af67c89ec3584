//! The keys of all steps, derived before any of them is executed, and what follows from the hits: which stages have
//! to run at all (conformance H1-H21).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_cache_key::{CacheKey, Parts, Trail, TrailStep, Value, part};
use kiln_dockerfile::Instruction;

use super::{Start, Text};
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::stage::State;
use crate::step::{Foresight, Inputs, Kind, StepError, Stepper};
use kiln_events::Step;
use kiln_plan::plan::Source;
use kiln_step_cache::{Hit, LayerCache, Missed};

/// A step that may make a layer.
#[derive(Debug)]
pub(super) struct StepKey {
    pub(super) instruction: String,
    pub(super) inputs: Inputs,
    pub(super) parent: Option<CacheKey>,
    /// By definition; `None` after a source that has no key.
    pub(super) key: Option<CacheKey>,
}

impl StepKey {
    /// The step as one that no place had; `None` when there is no key to ask for.
    pub(super) fn missed(&self, stage: &str, number: usize) -> Option<Missed> {
        Some(Missed {
            stage: stage.to_owned(),
            number,
            instruction: self.instruction.clone(),
            key: self.key?,
            parts: self.inputs.parts.clone()?,
            asked_again: !self.inputs.stages.is_empty(),
        })
    }
}

/// The steps of one stage, by position; `None` for those that only change the configuration.
#[derive(Debug)]
pub(super) struct StageKeys {
    pub(super) steps: Vec<Option<StepKey>>,
    /// The key after the last step.
    last: Option<CacheKey>,
    /// A command of the stage, or of one below, is to run each time: its key says nothing of what it gives.
    varies: bool,
}

/// What is known before the first step.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    pub(super) stages: BTreeMap<usize, StageKeys>,
    pub(super) hits: BTreeMap<CacheKey, Hit>,
}

/// The instructions of a stage: the base's triggers, then its own.
pub(super) fn instructions<'a>(
    plan_run: &'a PlanRun,
    stage: usize,
    start: &'a Start,
) -> impl Iterator<Item = &'a Instruction> {
    let own = &plan_run.plan.dockerfile.stages[stage].instructions;
    start.triggers.iter().chain(own)
}

impl Foreseen {
    /// Whether a step will not come from the cache, as far as that is known.
    pub(super) fn executes(&self, stage: usize, number: usize) -> bool {
        let step = self.stages.get(&stage).map(|keys| keys.steps.get(number));
        let key = step.flatten().and_then(|step| step.as_ref()?.key);
        key.is_none_or(|key| !self.hits.contains_key(&key))
    }

    /// Derives the keys of all stages; reads the context, and what ADD fetches. Blocks; not for async code.
    pub(super) fn derive(
        plan_run: &Arc<PlanRun>,
        cache: &LayerCache,
        text: &Text,
        starts: &BTreeMap<usize, Start>,
    ) -> Result<Foreseen, BuildError> {
        let mut foreseen = Foreseen::default();
        let mut outlines: BTreeMap<usize, State> = BTreeMap::new();
        for (stage, start) in starts {
            let (keys, outline) =
                foreseen.stage(plan_run, cache, text, *stage, start, &outlines)?;
            foreseen.stages.insert(*stage, keys);
            outlines.insert(*stage, outline);
        }
        Ok(foreseen)
    }

    fn stage(
        &self,
        plan_run: &Arc<PlanRun>,
        cache: &LayerCache,
        text: &Text,
        stage: usize,
        start: &Start,
        outlines: &BTreeMap<usize, State>,
    ) -> Result<(StageKeys, State), BuildError> {
        let from = &plan_run.plan.dockerfile.stages[stage].from;
        let at_from = |error| BuildError::of_step(text, from.span, &from.source, error);
        let state = outline(plan_run, stage, start, outlines)
            .and_then(|state| {
                plan_run.run.text.charge(state.text_size())?;
                Ok(state)
            })
            .map_err(at_from)?;
        let mut keys = self.beginning(plan_run, start);
        let mut stepper = Stepper::new(plan_run, stage, state);
        for (number, instruction) in instructions(plan_run, stage, start).enumerate() {
            let key_of = |source: &Source| self.key_of(plan_run, source);
            let inputs = stepper
                .foresee(instruction, Foresight::ByKey(&key_of))
                .map_err(|error| {
                    let own = number >= start.triggers.len();
                    let span = if own { instruction.span } else { from.span };
                    BuildError::of_step(text, span, &instruction.source, error)
                })?;
            let step = inputs.map(|inputs| {
                keys.varies |= inputs.kind == Kind::Run && !cache.run;
                let parent = keys.last.filter(|_| !inputs.independent);
                let known = inputs.independent || parent.is_some();
                let key = inputs.parts.as_ref().filter(|_| known);
                let key = key.map(|parts| parts.key(parent));
                keys.last = keys
                    .last
                    .and_then(|last| key.map(|key| after(last, key, inputs.independent)));
                StepKey {
                    instruction: kiln_shown::redact(&instruction.source).into_owned(),
                    inputs,
                    parent,
                    key,
                }
            });
            keys.steps.push(step);
        }
        Ok((keys, stepper.state))
    }

    /// Where the chain of a stage starts.
    fn beginning(&self, plan_run: &PlanRun, start: &Start) -> StageKeys {
        let below = match &start.base {
            Source::Stage(stage) => self.stages.get(stage),
            Source::Scratch | Source::Image(..) | Source::Files(_) => None,
        };
        StageKeys {
            steps: Vec::new(),
            last: match &start.base {
                Source::Stage(_) => below.and_then(|below| below.last),
                image => plan_run.first_key(image),
            },
            varies: below.is_some_and(|below| below.varies),
        }
    }

    /// The key of what `--from` names.
    fn key_of(&self, plan_run: &PlanRun, source: &Source) -> Option<Value> {
        match source {
            Source::Stage(stage) => {
                let keys = self.stages.get(stage).filter(|keys| !keys.varies)?;
                keys.last.map(Value::from)
            }
            image => plan_run.base_key(image),
        }
    }

    /// Asks all places for all keys at once.
    pub(super) async fn probe(&mut self, cache: &Arc<LayerCache>) {
        let wanted = |step: &&StepKey| cached_kind(cache, step.inputs.kind);
        let steps = self
            .stages
            .values()
            .flat_map(|keys| keys.steps.iter().flatten());
        let keys: BTreeSet<CacheKey> = steps.filter(wanted).filter_map(|step| step.key).collect();
        self.hits = cache.probe(keys).await;
    }

    /// The hit for a step by its definition.
    pub(super) fn hit(&self, step: &StepKey) -> Option<&Hit> {
        self.hits.get(step.key.as_ref()?)
    }

    /// The stages that have to be there: the targets, what they start from, and what steps read that are no hits
    /// (H21).
    pub(super) fn needed(
        &self,
        targets: &[usize],
        starts: &BTreeMap<usize, Start>,
    ) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut pending = targets.to_vec();
        while let Some(stage) = pending.pop() {
            if !needed.insert(stage) {
                continue;
            }
            if let Some(Source::Stage(base)) = starts.get(&stage).map(|start| &start.base) {
                pending.push(*base);
            }
            let steps = self.stages.get(&stage).into_iter();
            for step in steps.flat_map(|keys| keys.steps.iter().flatten()) {
                if self.hit(step).is_none() {
                    pending.extend(&step.inputs.stages);
                }
            }
        }
        needed
    }

    /// The steps of these stages that no place had.
    pub(super) fn missed(
        &self,
        plan_run: &PlanRun,
        cache: &LayerCache,
        stages: &BTreeSet<usize>,
    ) -> Vec<(Step, Missed)> {
        let mut missed = Vec::new();
        let mut reading = BTreeSet::new();
        for (stage, number, step) in self.steps() {
            if !step.inputs.stages.is_empty() {
                reading.insert(stage);
            }
            let asked = stages.contains(&stage) && cached_kind(cache, step.inputs.kind);
            if asked && self.hit(step).is_none() {
                let named = Step {
                    stage: plan_run.stage(stage),
                    number,
                    total: self.stages.get(&stage).map_or(0, |keys| keys.steps.len()),
                };
                let step = step.missed(&named.stage.name, number);
                missed.extend(step.map(|step| {
                    let asked_again = reading.contains(&stage);
                    (
                        named,
                        Missed {
                            asked_again,
                            ..step
                        },
                    )
                }));
            }
        }
        missed
    }

    /// Every step that may make a layer: stage, position from 1, step.
    pub(super) fn steps(&self) -> impl Iterator<Item = (usize, usize, &StepKey)> {
        self.stages.iter().flat_map(|(stage, keys)| {
            let numbered = keys.steps.iter().enumerate();
            numbered.filter_map(move |(at, step)| Some((*stage, at + 1, step.as_ref()?)))
        })
    }

    /// What the next build compares itself with.
    pub(super) fn trail(&self, plan_run: &PlanRun) -> Trail {
        self.steps()
            .filter_map(|(stage, number, step)| {
                Some(TrailStep {
                    stage: plan_run.plan.stage_name(stage),
                    number,
                    instruction: step.instruction.clone(),
                    key: step.key?,
                    parent: step.parent,
                })
            })
            .collect()
    }
}

/// The chain after a step: its key, and for a step that does not depend on what is below, both.
pub(super) fn after(last: CacheKey, key: CacheKey, independent: bool) -> CacheKey {
    if independent {
        Parts::new().with(part::SOURCE, key).key(Some(last))
    } else {
        key
    }
}

/// Whether steps of this kind are looked up and stored (H30).
pub(super) fn cached_kind(cache: &LayerCache, kind: Kind) -> bool {
    match kind {
        Kind::Copy => cache.copy,
        Kind::Run => cache.run,
    }
}

/// Configuration and variables at the start of a stage.
pub(super) fn outline(
    plan_run: &PlanRun,
    stage: usize,
    start: &Start,
    outlines: &BTreeMap<usize, State>,
) -> Result<State, StepError> {
    match &start.base {
        Source::Scratch | Source::Files(_) => {
            let platform = plan_run
                .plan
                .platform_of(stage)
                .map_err(|(_, error)| error)?;
            Ok(State::on_scratch(&platform))
        }
        Source::Stage(base) => {
            let below = outlines.get(base).ok_or(StepError::Dependency)?;
            Ok(below.outline())
        }
        Source::Image(image, platform) => {
            let known = plan_run.images.get(&(image.clone(), platform.clone()));
            Ok(State::on_base(known.ok_or(StepError::Dependency)?))
        }
    }
}
