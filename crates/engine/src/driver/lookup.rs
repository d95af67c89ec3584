//! Which stages are needed, and what images they name: all looked up before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use kiln_dockerfile::{Command, Instruction, MOST_INSTRUCTIONS, Span, closest, shortened};
use kiln_registry::Client;
use kiln_tarball_cache::ImageCache;

use super::foresee::Foreseen;
use super::{Build, Prepared, Start, Text};
use crate::error::BuildError;
use crate::explain::{ExplainedStep, Explanation};
use crate::plan_run::PlanRun;
use crate::starts::Images;
use kiln_events::{Event, NoteKind, Step, WarningKind};
use kiln_oci::ImageSource;
use kiln_oci::oci_spec::image::Os;
use kiln_plan::plan::{Plan, Source};
use kiln_plan::text::TextError;
use kiln_shown::counted;
use kiln_step_cache::{Hit, LayerCache, Missed, Reason};
use kiln_store::base::{BaseError, Bases};

impl Build<'_> {
    /// Finds out which stages are needed and looks up every image they name, each once (C8, C24). ONBUILD
    /// triggers of images may need further stages, so this goes on until nothing new turns up.
    pub(super) async fn look_up(
        &self,
        text: &Text,
        plan: &Plan,
        client: &Client,
    ) -> Result<(BTreeMap<usize, Start>, Images), BuildError> {
        let cache = self.open_cache();
        let bases = Bases {
            client,
            cache: cache.as_ref(),
            events: self.events.as_ref(),
        };
        let mut images = Images::new();
        let mut starts: BTreeMap<usize, Start> = BTreeMap::new();
        let mut wanted: BTreeSet<usize> = plan.targets.iter().copied().collect();
        loop {
            let new: Vec<usize> = wanted
                .iter()
                .copied()
                .filter(|s| !starts.contains_key(s))
                .collect();
            if new.is_empty() {
                return Ok((starts, images));
            }
            let mut named: Vec<(Source, Span, String)> = Vec::new();
            let mut froms = Vec::new();
            for stage in new {
                let from = &plan.dockerfile.stages[stage].from;
                let base = plan
                    .base(stage)
                    .map_err(|e| plan_error(text, &from.source, e))?;
                named.push((base.clone(), from.span, from.source.clone()));
                named.extend(own_sources(text, plan, stage)?);
                froms.push((stage, base));
            }
            self.fetch_images(text, &bases, &named, &mut images).await?;
            for (stage, base) in froms {
                let span = plan.dockerfile.stages[stage].from.span;
                let triggers = triggers(text, plan, span, &base, &images)?;
                let sources = plan
                    .sources(stage, &triggers)
                    .map_err(|e| plan_error(text, "ONBUILD", e))?;
                let extra: Vec<_> = sources
                    .into_iter()
                    .map(|source| (source, span, "ONBUILD".to_owned()))
                    .collect();
                self.fetch_images(text, &bases, &extra, &mut images).await?;
                named.extend(extra);
                starts.insert(stage, Start { base, triggers });
            }
            wanted.extend(named.iter().filter_map(|(source, ..)| match source {
                Source::Stage(stage) => Some(*stage),
                Source::Scratch | Source::Image(..) | Source::Files(_) => None,
            }));
        }
    }

    /// Derives the keys of all steps and asks the cache for them; gives the stages that are left to do.
    pub(super) async fn foresee(
        &self,
        prepared: &Prepared,
        plan_run: &Arc<PlanRun>,
    ) -> Result<(Foreseen, BTreeMap<usize, Start>), BuildError> {
        let mut starts = prepared.starts.clone();
        let Some(cache) = &plan_run.run.cache else {
            return Ok((Foreseen::default(), starts));
        };
        let foreseen = derive_and_probe(prepared, plan_run, cache).await?;
        let needed = foreseen.needed(&plan_run.plan.targets, &starts);
        let skipped = starts.len() - needed.len();
        starts.retain(|stage, _| needed.contains(stage));
        if skipped > 0 {
            let stages = counted(skipped, "stage");
            let text = format!("{stages} left out: what reads from there is cached");
            self.events.event(Event::note(NoteKind::Cache, text));
        }
        self.say_why(cache, foreseen.missed(plan_run, cache, &needed));
        Ok((foreseen, starts))
    }

    /// Every step with what the cache says of it.
    pub(super) async fn explain_steps(
        &self,
        prepared: &Prepared,
        plan_run: &Arc<PlanRun>,
    ) -> Result<Explanation, BuildError> {
        let Some(cache) = &plan_run.run.cache else {
            return Ok(Explanation { steps: Vec::new() });
        };
        let foreseen = derive_and_probe(prepared, plan_run, cache).await?;
        let needed = foreseen.needed(&plan_run.plan.targets, &prepared.starts);
        let trail = cache.trail().await;
        let mut steps = Vec::new();
        for (stage, number, step) in foreseen.steps() {
            let hit = foreseen.hit(step);
            let mut explained = ExplainedStep {
                stage: plan_run.plan.stage_name(stage),
                number,
                instruction: step.instruction.clone(),
                key: step.key.map(|key| key.to_string()),
                cached_in: hit.map(Hit::place_name),
                needed: needed.contains(&stage),
                reason: None,
                changes: Vec::new(),
            };
            if let (None, Some(missed)) = (hit, step.missed(&explained.stage, number)) {
                explained.explain(&cache.explain(trail.as_ref(), &missed).await);
            }
            steps.push(explained);
        }
        Ok(Explanation { steps })
    }

    /// Tells beside the build why steps were not in the cache.
    fn say_why(&self, cache: &Arc<LayerCache>, missed: Vec<(Step, Missed)>) {
        if missed.is_empty() {
            return;
        }
        let (cache_too, events) = (Arc::clone(cache), Arc::clone(self.events));
        let telling = async move {
            let trail = cache_too.trail().await;
            if trail.is_none() {
                let text = format!(
                    "{} not cached: {}",
                    counted(missed.len(), "step"),
                    Reason::FirstBuild
                );
                return events.event(Event::note(NoteKind::Cache, text));
            }
            let explain = |step| cache_too.explain(trail.as_ref(), step);
            let reasons = join_all(missed.iter().map(|(_, missed)| explain(missed))).await;
            for ((step, missed), reason) in missed.iter().zip(reasons) {
                events.event(Event::StepMissed {
                    step: step.clone(),
                    text: shortened(&missed.instruction).into_owned(),
                    reason: if missed.asked_again {
                        format!("{reason}; looked up again when the other stage is done")
                    } else {
                        reason.to_string()
                    },
                });
            }
        };
        // A short build waits for it, and leaves no new trail before the old one is read.
        let (interrupt, under_way) = (self.interrupt.clone(), cache.begin());
        let telling = async move {
            interrupt.unless_raised(telling).await;
            drop(under_way);
        };
        tokio::spawn(telling);
    }

    fn open_cache(&self) -> Option<ImageCache> {
        let settings = &self.settings.cache;
        let dir = settings.dir.as_ref().filter(|dir| dir.is_dir())?;
        match ImageCache::open(dir, kiln_tarball_cache::Access::ReadOnly) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let text = format!("no images are taken from `{}`: {error}", dir.display());
                self.events.event(Event::note(NoteKind::ImageSource, text));
                None
            }
        }
    }

    /// Looks up at once whatever of `named` is an image that is not known yet.
    async fn fetch_images(
        &self,
        text: &Text,
        bases: &Bases<'_>,
        named: &[(Source, Span, String)],
        images: &mut Images,
    ) -> Result<(), BuildError> {
        let mut missing = BTreeMap::new();
        for (source, span, line) in named {
            if let Source::Image(image, platform) = source {
                let key = (image.clone(), platform.clone());
                if !images.contains_key(&key) {
                    missing.entry(key).or_insert((*span, line.clone()));
                }
            }
        }
        for ((image, _), (span, _)) in &missing {
            // Said before anybody is asked: where there is no network, the answer takes long.
            if let Some(stage) = similar_stage(text, *span, image) {
                let (file, line) = (&text.name, span.line());
                let text = format!(
                    "{file}:{line}: no stage is called `{image}`, so it is looked for as an image; did you mean `{stage}`?"
                );
                let kind = WarningKind::SimilarStage;
                self.events.event(Event::warning(kind, text));
            }
        }
        let finds = missing.into_iter().map(|(key, place)| async move {
            let found = bases.find(&key.0, &key.1).await;
            (key, place, found)
        });
        for (key, (span, line), found) in join_all(finds).await {
            let found = found.and_then(|base| {
                if *base.config.as_ref().os() == Os::Windows {
                    let reference = key.0.to_string();
                    return Err(BaseError::Windows { reference });
                }
                Ok(base)
            });
            let base = found.map_err(|source| BuildError::Base {
                location: Box::new(text.locate(span, &line)),
                stage: similar_stage(text, span, &key.0),
                source: Arc::new(source),
            })?;
            images.insert(key, base);
        }
        Ok(())
    }
}

/// The stage before `span` that an image's name may be a misspelling of.
fn similar_stage(text: &Text, span: Span, image: &ImageSource) -> Option<String> {
    let name = image.to_string();
    let name = name.strip_suffix(":latest").unwrap_or(&name);
    let stages = text.dockerfile.stages.iter();
    let before = stages.take_while(|stage| stage.from.span < span);
    closest(name, before.filter_map(|stage| stage.name.as_deref())).map(str::to_owned)
}

async fn derive_and_probe(
    prepared: &Prepared,
    plan_run: &Arc<PlanRun>,
    cache: &Arc<LayerCache>,
) -> Result<Foreseen, BuildError> {
    let (plan_run_too, cache_too) = (Arc::clone(plan_run), Arc::clone(cache));
    let (text, all) = (prepared.text.clone(), prepared.starts.clone());
    let deriving = tokio::task::spawn_blocking(move || {
        Foreseen::derive(&plan_run_too, &cache_too, &text, &all)
    });
    let mut foreseen = deriving.await.map_err(|_| BuildError::Lost)??;
    foreseen.probe(cache).await;
    Ok(foreseen)
}

/// The ONBUILD instructions that the FROM at `span` fires (C16-C18).
fn triggers(
    text: &Text,
    plan: &Plan,
    span: Span,
    base: &Source,
    images: &Images,
) -> Result<Vec<Instruction>, BuildError> {
    let (name, triggers): (String, Vec<String>) = match base {
        Source::Scratch | Source::Files(_) => return Ok(Vec::new()),
        Source::Image(image, platform) => {
            let known = images.get(&(image.clone(), platform.clone()));
            let triggers = known.map(|base| base.config.on_build().to_vec());
            (image.to_string(), triggers.unwrap_or_default())
        }
        Source::Stage(stage) => {
            let own = plan.dockerfile.stages[*stage].instructions.iter();
            let triggers = own.filter_map(|instruction| match &instruction.command {
                Command::Onbuild(onbuild) => Some(onbuild.trigger.clone()),
                _ => None,
            });
            (plan.stage_name(*stage), triggers.collect())
        }
    };
    if triggers.len() > MOST_INSTRUCTIONS {
        return Err(BuildError::Base {
            location: Box::new(text.locate(span, "FROM")),
            stage: None,
            source: Arc::new(BaseError::TooManyTriggers {
                reference: name,
                count: triggers.len(),
            }),
        });
    }
    let escape = plan.dockerfile.directives.escape;
    let parse = |trigger: &String| {
        kiln_dockerfile::parse_trigger(trigger, escape).map_err(|source| BuildError::Base {
            location: Box::new(text.locate(span, &format!("ONBUILD {trigger}"))),
            stage: None,
            source: Arc::new(BaseError::Trigger {
                reference: name.clone(),
                trigger: trigger.clone(),
                source,
            }),
        })
    };
    triggers.iter().map(parse).collect()
}

pub(super) fn plan_error(
    text: &Text,
    line: &str,
    (span, source): (Span, Box<kiln_plan::plan::PlanError>),
) -> BuildError {
    let location = Box::new(text.locate(span, line));
    TextError::Plan { location, source }.into()
}

/// What the instructions of a stage read from elsewhere, each with the line that says so.
fn own_sources(
    text: &Text,
    plan: &Plan,
    stage: usize,
) -> Result<Vec<(Source, Span, String)>, BuildError> {
    let mut named = Vec::new();
    for instruction in &plan.dockerfile.stages[stage].instructions {
        let sources = plan
            .sources(stage, [instruction])
            .map_err(|error| plan_error(text, &instruction.source, error))?;
        named.extend(
            sources
                .into_iter()
                .map(|source| (source, instruction.span, instruction.source.clone())),
        );
    }
    Ok(named)
}
