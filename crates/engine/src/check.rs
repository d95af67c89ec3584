//! Checks a Dockerfile without building it: everything that is wrong with it, and everything that the lint finds.

mod json;
mod sarif;
mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_context::Context;
use kiln_dockerfile::{Diagnostic, Position, Span, Warning};

use crate::driver::look_up_bases;
use crate::error::BuildError;
use crate::settings::{BuildSettings, DockerfileSource};
use crate::starts::configs_for_lint;
use kiln_download as fetch;
use kiln_events::{Careful, EventSink};
use kiln_plan::lint::{Known, check_of};
use kiln_plan::plan::{Plan, PlanError, Source};
use kiln_plan::text::{Text, TextError};
use kiln_shown::with_causes;
use kiln_work::folder::{WorkError, WorkFolder};

/// What was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckReport {
    /// The Dockerfile as messages name it: a path or an address.
    pub file: String,
    /// What keeps the file from being built, in line order.
    pub problems: Vec<Problem>,
    /// What the lint finds, in line order; nothing if the file cannot be parsed.
    pub warnings: Vec<Warning>,
    /// Images that were not looked at, so that what they set, and whether they exist, is not known.
    pub unseen: Vec<String>,
    /// The lines of the file around each warning, as many as there are warnings.
    excerpts: Vec<String>,
}

/// Something that keeps a Dockerfile from being built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// Where; none if it is not a line of the file.
    pub span: Option<Span>,
    /// The line and what is marked on it.
    pub excerpt: String,
    /// What to try.
    pub hint: Option<String>,
}

impl CheckReport {
    /// Whether there is nothing to complain of.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.warnings.is_empty()
    }

    /// For people: every finding with its lines.
    pub fn text(&self) -> String {
        text::write(self)
    }

    /// For programs: the form that `docker build --call=check,format=json` has, with all problems instead of one and
    /// without the source of the file.
    pub fn json(&self) -> String {
        json::write(self)
    }

    /// For programs that show findings of many tools: SARIF 2.1.0.
    pub fn sarif(&self) -> String {
        sarif::write(self)
    }
}

/// Looks at the Dockerfile of a build, at all stages unless targets are given. Unless the settings ask for it, no image is
/// looked up: what a base image brings is not known then, and gives no findings. An error means that the file could not be read.
pub async fn check(
    settings: &BuildSettings,
    events: Arc<dyn EventSink>,
) -> Result<CheckReport, BuildError> {
    let events = Careful::before(events);
    let text = match read(settings).await {
        Ok(text) => text,
        Err(BuildError::Text(TextError::Parse { file, errors })) => {
            return Ok(CheckReport {
                file,
                problems: errors.errors.iter().map(Problem::of).collect(),
                warnings: Vec::new(),
                unseen: Vec::new(),
                excerpts: Vec::new(),
            });
        }
        Err(error) => return Err(error),
    };
    let mut report = CheckReport {
        file: text.name.clone(),
        problems: Vec::new(),
        warnings: Vec::new(),
        unseen: Vec::new(),
        excerpts: Vec::new(),
    };
    let context = Context::open(&settings.context_dir, None, text.path.as_deref());
    if let Err(error) = &context {
        report.problems.push(Problem::elsewhere(with_causes(error)));
    }
    match text.plan(settings) {
        Ok((mut plan, build_args)) => {
            let all_stages = settings.targets.is_empty();
            if all_stages {
                plan.targets = (0..plan.dockerfile.stages.len()).collect();
            }
            let bases = if settings.check_bases {
                match look_up_bases(settings, &text, &plan, &events).await? {
                    Ok(bases) => Some(bases),
                    Err(error) => {
                        report.problems.push(Problem::of_build(&text, &error));
                        None
                    }
                }
            } else {
                report.unseen = images(&plan);
                None
            };
            let known = Known {
                text: &text,
                plan: &plan,
                build_args: &build_args,
                context: context.as_ref().ok(),
                bases: bases.as_ref().map(configs_for_lint),
                all_stages,
            };
            let wanted = check_of(&known)?;
            report.warnings = known.lint(wanted);
            report.problems.extend(problems(&known));
        }
        Err(error) => report
            .problems
            .push(Problem::of_build(&text, &error.into())),
    }
    report
        .problems
        .sort_by_key(|problem| problem.span.map(|span| span.start));
    let excerpt = |warning: &Warning| text.dockerfile.excerpt(warning.span);
    report.excerpts = report.warnings.iter().map(excerpt).collect();
    Ok(report)
}

async fn read(settings: &BuildSettings) -> Result<Text, BuildError> {
    let download = fetch::client(&settings.registry.user_agent).map_err(BuildError::Downloads)?;
    match &settings.dockerfile {
        source @ DockerfileSource::Path(_) => {
            let context = &settings.context_dir;
            Ok(Text::read(source, context, &download, std::path::Path::new("")).await?)
        }
        source @ DockerfileSource::Url(_) => {
            let work = WorkFolder::create(&settings.work_dir)?;
            let text = Text::read(source, &settings.context_dir, &download, work.path()).await;
            let path = work.path().to_owned();
            work.close()
                .map_err(|source| WorkError::Unusable { path, source })?;
            Ok(text?)
        }
    }
}

/// The images that the targets of a plan, and what they need, name.
fn images(plan: &Plan) -> Vec<String> {
    let mut names = BTreeSet::new();
    for stage in plan.needed_stages() {
        let instructions = &plan.dockerfile.stages[stage].instructions;
        let sources = instructions
            .iter()
            .filter_map(|instruction| plan.sources(stage, [instruction]).ok());
        for source in plan.base(stage).into_iter().chain(sources.flatten()) {
            if let Source::Image(image, _) = source {
                names.insert(image.to_string());
            }
        }
    }
    names.into_iter().collect()
}

/// What is wrong with the stages that are looked at.
fn problems(known: &Known<'_>) -> Vec<Problem> {
    let stages = &known.text.dockerfile.stages;
    let needed = known.plan.needed_stages();
    let mut problems = Vec::new();
    for stage in stages {
        if !known.all_stages && !needed.contains(&stage.index) {
            continue;
        }
        problems.extend(stage.faults.iter().map(Problem::of));
        let known_lines: Vec<u32> = stage.faults.iter().filter_map(|fault| fault.line).collect();
        let planned = unplannable(known.plan, stage.index);
        // A value that is wrong in any case is said with its column already.
        let new = planned
            .into_iter()
            .filter(|(span, _)| !known_lines.contains(&span.line()));
        problems.extend(new.map(|(span, source)| Problem {
            message: with_causes(&*source),
            span: Some(span),
            excerpt: known.text.dockerfile.excerpt(span),
            hint: None,
        }));
    }
    problems
}

/// What cannot be planned of a stage, line by line.
fn unplannable(plan: &Plan, stage: usize) -> Vec<(Span, Box<PlanError>)> {
    let instructions = &plan.dockerfile.stages[stage].instructions;
    let base = plan.base(stage).err();
    let others = instructions
        .iter()
        .filter_map(|instruction| plan.sources(stage, [instruction]).err());
    base.into_iter().chain(others).collect()
}

impl Problem {
    fn of(fault: &Diagnostic) -> Self {
        Self {
            message: fault.what(),
            span: fault.span,
            excerpt: fault.excerpt.clone(),
            hint: None,
        }
    }

    fn elsewhere(message: String) -> Self {
        Self {
            message,
            span: None,
            excerpt: String::new(),
            hint: None,
        }
    }

    fn of_build(text: &Text, error: &BuildError) -> Self {
        let cause = std::error::Error::source(error).map(with_causes);
        let location = error.location();
        let span = location.map(|location| {
            let start = Position::new(location.line, 1);
            let line = text.dockerfile.lines.get(location.line as usize - 1);
            let width = line.map_or(0, |line| line.chars().count());
            let end = Position::new(location.line, width as u32 + 1);
            Span { start, end }
        });
        Self {
            message: cause.unwrap_or_else(|| error.to_string()),
            span,
            excerpt: location.map_or_else(String::new, |location| location.excerpt.clone()),
            hint: error.hint(),
        }
    }
}
