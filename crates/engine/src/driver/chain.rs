//! One stage's way along its keys: which steps are hits, and under which keys the others are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_cache_key::{CacheKey, Parts};
use kiln_dockerfile::Instruction;

use super::foresee::{Foreseen, StepKey, after, cached_kind};
use crate::plan_run::PlanRun;
use crate::step::{Foresight, StepError, Stepper};
use kiln_step_cache::{Executed, Hit, LayerCache};

/// Where a stage is in the two chains of its keys: by definition, which is foreseen, and by content, which is known
/// only as far as the stages that it reads have run (H9).
pub(super) struct Chain<'a> {
    cache: &'a Arc<LayerCache>,
    foreseen: &'a Foreseen,
    stage: usize,
    content: Option<CacheKey>,
    /// Hits by content.
    probed: BTreeMap<CacheKey, Option<Hit>>,
}

/// What is done with a step.
pub(super) enum Decision {
    /// It makes no layer, or is not cached.
    Execute,
    /// Its layer is there.
    Take(Box<Hit>),
    /// It is executed and kept.
    Keep(Box<Executed>),
}

impl<'a> Chain<'a> {
    /// At the start of a stage; `None` without a cache.
    pub(super) fn new(
        plan_run: &'a PlanRun,
        foreseen: &'a Foreseen,
        stage: usize,
        start: Option<CacheKey>,
    ) -> Option<Chain<'a>> {
        Some(Chain {
            cache: plan_run.run.cache.as_ref()?,
            foreseen,
            stage,
            content: start,
            probed: BTreeMap::new(),
        })
    }

    /// The key by content after the steps so far.
    pub(super) fn content(&self) -> Option<CacheKey> {
        self.content
    }

    fn step(&self, at: usize) -> Option<&'a StepKey> {
        self.foreseen
            .stages
            .get(&self.stage)?
            .steps
            .get(at)?
            .as_ref()
    }

    /// Whether the step at a position is a hit by its definition, so that no other stage is read for it.
    pub(super) fn is_hit(&self, at: usize) -> bool {
        self.step(at).is_some_and(|step| {
            let wanted = cached_kind(self.cache, step.inputs.kind);
            wanted && self.foreseen.hit(step).is_some()
        })
    }

    /// Decides on the step at a position, whose state is that of `stepper`.
    pub(super) fn decide(
        &mut self,
        stepper: &mut Stepper<'_>,
        at: usize,
        instruction: &Instruction,
    ) -> Result<Decision, StepError> {
        let Some(step) = self.step(at) else {
            return Ok(Decision::Execute);
        };
        let wanted = cached_kind(self.cache, step.inputs.kind);
        if let Some(hit) = self.foreseen.hit(step).filter(|_| wanted) {
            let content = hit.step.content_key.or_else(|| {
                let parts = step.inputs.parts.as_ref();
                parts
                    .filter(|_| step.inputs.stages.is_empty())
                    .and_then(|parts| self.key(step, parts))
            });
            self.advance(step, content);
            return Ok(Decision::Take(Box::new(hit.clone())));
        }
        let parts = self.content_parts(step, stepper, instruction)?;
        let content = parts.as_ref().and_then(|parts| self.key(step, parts));
        let found = content
            .filter(|_| wanted && content != step.key)
            .and_then(|key| self.probe(at, key));
        let parent = self.content.filter(|_| !step.inputs.independent);
        self.advance(step, content);
        if let Some(hit) = found {
            if let Some(key) = step.key {
                self.cache.add_key(&hit, key);
            }
            return Ok(Decision::Take(Box::new(hit)));
        }
        let mut keys: Vec<CacheKey> = step.key.into_iter().chain(content).collect();
        keys.dedup();
        let known = step.inputs.parts.clone().filter(|_| step.key.is_some());
        let Some(parts) = known.or(parts).filter(|_| wanted && !keys.is_empty()) else {
            return Ok(Decision::Execute);
        };
        Ok(Decision::Keep(Box::new(Executed {
            keys,
            parts,
            parent: if step.key.is_some() {
                step.parent
            } else {
                parent
            },
            content_key: content,
            instruction: step.instruction.clone(),
            created: String::new(),
            layer: None,
        })))
    }

    /// The parts of a key by content: those by definition where no other stage is read.
    fn content_parts(
        &self,
        step: &StepKey,
        stepper: &mut Stepper<'_>,
        instruction: &Instruction,
    ) -> Result<Option<Parts>, StepError> {
        if self.content.is_none() && !step.inputs.independent {
            return Ok(None);
        }
        if step.inputs.stages.is_empty() {
            return Ok(step.inputs.parts.clone());
        }
        let inputs = stepper.inputs(instruction, Foresight::ByContent)?;
        Ok(inputs.and_then(|inputs| inputs.parts))
    }

    fn key(&self, step: &StepKey, parts: &Parts) -> Option<CacheKey> {
        if step.inputs.independent {
            return Some(parts.key(None));
        }
        self.content.map(|parent| parts.key(Some(parent)))
    }

    fn advance(&mut self, step: &StepKey, key: Option<CacheKey>) {
        let last = self.content;
        self.content =
            key.and_then(|key| last.map(|last| after(last, key, step.inputs.independent)));
    }

    /// Looks a key up, and with it those that follow from it without another stage: one question for all.
    fn probe(&mut self, at: usize, key: CacheKey) -> Option<Hit> {
        if let Some(known) = self.probed.get(&key) {
            return known.clone();
        }
        let mut keys = vec![key];
        let mut last = key;
        for next in (at + 1..).map_while(|at| self.foreseen.stages.get(&self.stage)?.steps.get(at))
        {
            let Some(step) = next else { continue };
            let plain = step.inputs.stages.is_empty() && !step.inputs.independent;
            let Some(parts) = step.inputs.parts.as_ref().filter(|_| plain) else {
                break;
            };
            last = parts.key(Some(last));
            if cached_kind(self.cache, step.inputs.kind) {
                keys.push(last);
            }
        }
        let mut hits = self.cache.probe_blocking(keys.iter().copied());
        for key in keys {
            self.probed.insert(key, hits.remove(&key));
        }
        self.probed.get(&key).cloned().flatten()
    }
}
