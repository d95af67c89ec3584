//! What a build would do: stages, steps, what depends on what, and what is left out. `--dryrun` ends here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kiln_dockerfile::{Command, Instruction, shortened};
use serde::Serialize;

use crate::explain::Explanation;
use kiln_plan::plan::{Plan, Source};

/// A build before its first step.
#[derive(Debug, Clone, Serialize)]
pub struct BuildPlan {
    /// The Dockerfile as messages name it.
    pub dockerfile: String,
    /// The platform of the image.
    pub platform: String,
    /// Images that are read, each with the digest that it has now.
    pub images: Vec<PlannedImage>,
    /// All stages of the file, in its order.
    pub stages: Vec<PlannedStage>,
    /// Where the image would be pushed.
    pub destinations: Vec<String>,
}

/// An image that a build reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PlannedImage {
    /// As the Dockerfile or `--build-context` says it.
    pub name: String,
    /// The digest of its manifest for the platform.
    pub digest: String,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStage {
    /// Its name, or its number when it has none.
    pub name: String,
    /// What its FROM says, expanded.
    pub base: String,
    /// Whether it is what the build is for.
    pub target: bool,
    /// Why it is not built; none if it is.
    pub skipped: Option<String>,
    /// Stages that it continues or reads from.
    pub waits_for: Vec<String>,
    /// The steps, with those that ONBUILD of the base brings first; none for a stage that nothing needs.
    pub steps: Vec<PlannedStep>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Position in the stage, from 1.
    pub number: usize,
    /// The instruction as it is written.
    pub instruction: String,
    /// What happens to it.
    pub action: Action,
    /// Stages, images and named contexts that it reads from.
    pub reads: Vec<String>,
    /// The place of the cache that has it.
    pub cached_in: Option<String>,
    /// Why it is not cached, if that was asked.
    pub not_cached: Option<String>,
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// A command is run.
    Run,
    /// Files are copied.
    Copy,
    /// The image's configuration changes.
    Configure,
    /// The layer comes from the cache.
    Cached,
    /// Nothing: the stage is left out.
    Skip,
}

/// A stage as a plan has it: its base, and what runs.
pub(crate) struct Planned<'a> {
    pub(crate) base: &'a Source,
    pub(crate) instructions: Vec<&'a Instruction>,
}

/// How a source is called in a plan.
fn name_of(plan: &Plan, source: &Source) -> String {
    match source {
        Source::Scratch => "scratch".to_owned(),
        Source::Stage(stage) => plan.stage_name(*stage),
        Source::Image(image, _) => image.to_string(),
        Source::Files(number) => {
            let context = plan.contexts.get(*number);
            context.map_or_else(String::new, |context| context.name.clone())
        }
    }
}

/// One stage; `planned` is none for a stage that nothing needs.
pub(crate) fn planned_stage(
    plan: &Plan,
    stage: usize,
    planned: Option<&Planned<'_>>,
    found: Option<&Explanation>,
) -> PlannedStage {
    let name = plan.stage_name(stage);
    let written = || plan.dockerfile.stages[stage].from.image.clone();
    let Some(planned) = planned else {
        return PlannedStage {
            name,
            base: written(),
            target: false,
            skipped: Some("nothing needs it".to_owned()),
            waits_for: Vec::new(),
            steps: Vec::new(),
        };
    };
    let mut waits_for = BTreeSet::new();
    if let Source::Stage(base) = planned.base {
        waits_for.insert(*base);
    }
    let mut steps = Vec::new();
    for (number, instruction) in planned.instructions.iter().enumerate() {
        let sources = plan.sources(stage, [*instruction]).unwrap_or_default();
        waits_for.extend(sources.iter().filter_map(|source| match source {
            Source::Stage(stage) => Some(*stage),
            _ => None,
        }));
        let mut step = PlannedStep {
            number: number + 1,
            instruction: instruction.source.clone(),
            action: action(&instruction.command),
            reads: sources.iter().map(|source| name_of(plan, source)).collect(),
            cached_in: None,
            not_cached: None,
        };
        step.look_up(&name, found);
        steps.push(step);
    }
    let mut planned = PlannedStage {
        base: name_of(plan, planned.base),
        target: plan.targets.contains(&stage),
        skipped: None,
        waits_for: waits_for
            .into_iter()
            .map(|stage| plan.stage_name(stage))
            .collect(),
        steps,
        name,
    };
    planned.skip_what_is_not_needed(found);
    planned
}

impl PlannedStep {
    fn look_up(&mut self, stage: &str, found: Option<&Explanation>) {
        let steps = found.iter().flat_map(|found| &found.steps);
        let mut own = steps.filter(|step| step.stage == stage && step.number == self.number);
        if let Some(step) = own.next() {
            self.cached_in.clone_from(&step.cached_in);
            self.not_cached.clone_from(&step.reason);
            if self.cached_in.is_some() {
                self.action = Action::Cached;
            }
        }
    }
}

impl PlannedStage {
    /// A stage whose readers are all cached is not built.
    fn skip_what_is_not_needed(&mut self, found: Option<&Explanation>) {
        let mut own = found
            .iter()
            .flat_map(|found| &found.steps)
            .filter(|step| step.stage == self.name)
            .peekable();
        if own.peek().is_none() || own.any(|step| step.needed) {
            return;
        }
        self.skipped = Some("what reads it is cached".to_owned());
        for step in &mut self.steps {
            step.action = Action::Skip;
        }
    }
}

fn action(command: &Command) -> Action {
    match command {
        Command::Run(_) => Action::Run,
        Command::Copy(_) | Command::Add(_) | Command::Workdir(_) => Action::Copy,
        _ => Action::Configure,
    }
}

impl BuildPlan {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("plan of {} for {}\n", self.dockerfile, self.platform);
        for image in &self.images {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "image {} is {}", image.name, image.digest);
        }
        for stage in &self.stages {
            stage.write(&mut text);
        }
        let _ = match self.destinations.as_slice() {
            [] => writeln!(text, "nothing is pushed"),
            all => writeln!(text, "then push to {}", all.join(", ")),
        };
        text
    }
}

impl PlannedStage {
    fn write(&self, text: &mut String) {
        let mut notes = vec![format!("from {}", self.base)];
        if self.target {
            notes.push("the target".to_owned());
        }
        if !self.waits_for.is_empty() {
            notes.push(format!("waits for {}", self.waits_for.join(", ")));
        }
        if let Some(why) = &self.skipped {
            notes.push(format!("skipped: {why}"));
        }
        let _ = writeln!(text, "stage {}: {}", self.name, notes.join("; "));
        for step in &self.steps {
            let first = shortened(step.instruction.lines().next().unwrap_or_default());
            let what = match step.action {
                Action::Run => "run",
                Action::Copy => "copy",
                Action::Configure => "configure",
                Action::Cached => "cached",
                Action::Skip => "skip",
            };
            let _ = writeln!(text, "  {:>2} {what:9} {first}", step.number);
            let mut note = |line: String| {
                let _ = writeln!(text, "               {line}");
            };
            if !step.reads.is_empty() {
                note(format!("reads {}", step.reads.join(", ")));
            }
            if let Some(place) = &step.cached_in {
                note(format!("in {place}"));
            }
            if let (Some(why), true) = (&step.not_cached, step.action != Action::Skip) {
                note(format!("not cached: {why}"));
            }
        }
    }
}
