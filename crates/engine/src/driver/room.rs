//! Whether the image wants the directory that the context is in, which matters in place only.
//!
//! Known before anything runs from what the Dockerfile says: where it works, copies to, and what its commands name. What
//! only shows later, because a base has files there, is found when they are unpacked (`roots/in_place`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kiln_dockerfile::{Command, CommandLine, Instruction, Span};
use kiln_layer::ImagePath;

use super::foresee::{Foreseen, instructions};
use super::{Build, Start, Text};
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::stage::State;
use crate::step::StepError;
use kiln_plan::plan::Source;
use kiln_rootfs::RootError;

impl Build<'_> {
    /// Makes room for the image where the context is, if the image wants it; an error before anything runs if that
    /// cannot be done.
    pub(super) async fn make_room(
        &self,
        text: &Text,
        plan_run: &Arc<PlanRun>,
        foreseen: &Foreseen,
        starts: &BTreeMap<usize, Start>,
    ) -> Result<(), BuildError> {
        if !plan_run.run.roots.one_at_a_time() {
            return Ok(());
        }
        let runs = starts
            .iter()
            .any(|(stage, start)| runs(plan_run, foreseen, *stage, start));
        if runs {
            let plan_run = Arc::clone(plan_run);
            let holding = tokio::task::spawn_blocking(move || plan_run.run.sources.hold_named());
            let held = holding.await.map_err(|_| BuildError::Lost)?;
            held.map_err(|error| BuildError::Finish(Box::new(error.into())))?;
        }
        let Some(claim) = claim(plan_run, foreseen, starts) else {
            return Ok(());
        };
        let aside = Arc::clone(&plan_run.run.aside);
        let moving = tokio::task::spawn_blocking(move || aside.make_room());
        match moving.await.map_err(|_| BuildError::Lost)? {
            Ok(()) => Ok(()),
            // It works beside the context, not in it.
            Err(RootError::ContextInTheWay { .. }) if claim.touch == Touch::Around => Ok(()),
            Err(RootError::Interrupted) => Err(BuildError::Cancelled {
                during: "moving the context out of the image's way",
            }),
            Err(error) => Err(BuildError::of_step(
                text,
                claim.span,
                &claim.instruction,
                StepError::Root(error),
            )),
        }
    }

    /// Puts the context back, if it had to make room, however the build went so far.
    pub(super) async fn put_back(&self, plan_run: &Arc<PlanRun>) -> Result<(), BuildError> {
        let aside = Arc::clone(&plan_run.run.aside);
        let moving = tokio::task::spawn_blocking(move || aside.put_back());
        let moved = moving.await.map_err(|_| BuildError::Lost)?;
        moved.map_err(|error| BuildError::Finish(Box::new(StepError::Root(error))))
    }
}

/// How near the image comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    /// It uses a directory that the context is in.
    Around,
    /// It uses the context's directory itself, or what is in it.
    Within,
}

/// The instruction that comes nearest.
struct Claim {
    touch: Touch,
    span: Span,
    instruction: String,
}

fn claim(
    plan_run: &PlanRun,
    foreseen: &Foreseen,
    starts: &BTreeMap<usize, Start>,
) -> Option<Claim> {
    let place = ImagePath::from(plan_run.run.aside.dir());
    let mut nearest: Option<Claim> = None;
    for (stage, start) in starts {
        if !runs(plan_run, foreseen, *stage, start) {
            continue;
        }
        let from = &plan_run.plan.dockerfile.stages[*stage].from;
        let mut consider = |touch: Option<Touch>, span: Span, instruction: &str| {
            let Some(touch) = touch else { return };
            if nearest.as_ref().is_none_or(|known| known.touch < touch) {
                nearest = Some(Claim {
                    touch,
                    span,
                    instruction: instruction.to_owned(),
                });
            }
        };
        let (base, mut workdir) = from_base(plan_run, start, &place);
        consider(base, from.span, &from.source);
        for (number, instruction) in instructions(plan_run, *stage, start).enumerate() {
            let own = number >= start.triggers.len();
            let span = if own { instruction.span } else { from.span };
            let touch = of_instruction(instruction, &mut workdir, &place);
            consider(touch, span, &instruction.source);
        }
        let args = plan_run.build_args.values();
        let given = args.filter_map(|value| named_in(value, &place)).max();
        consider(given, from.span, &from.source);
    }
    nearest
}

/// Whether a command of the stage has to be executed.
fn runs(plan_run: &PlanRun, foreseen: &Foreseen, stage: usize, start: &Start) -> bool {
    let mut steps = instructions(plan_run, stage, start).enumerate();
    steps.any(|(number, instruction)| {
        matches!(instruction.command, Command::Run(_)) && foreseen.executes(stage, number)
    })
}

/// What a base's configuration says, and its working directory.
fn from_base(plan_run: &PlanRun, start: &Start, place: &ImagePath) -> (Option<Touch>, ImagePath) {
    let Source::Image(image, platform) = &start.base else {
        return (None, ImagePath::root());
    };
    let Some(base) = plan_run.images.get(&(image.clone(), platform.clone())) else {
        return (None, ImagePath::root());
    };
    let state = State::on_base(base);
    let workdir = ImagePath::from(Path::new(state.workdir()));
    let env = state.config.config.env.iter();
    let named = env.filter_map(|pair| named_in(pair, place)).max();
    (named.max(touch(&workdir, place)), workdir)
}

fn of_instruction(
    instruction: &Instruction,
    workdir: &mut ImagePath,
    place: &ImagePath,
) -> Option<Touch> {
    let at = |workdir: &ImagePath, path: &str| {
        let named = named_in(path, place);
        let path = if path.starts_with('/') {
            ImagePath::from(path)
        } else {
            workdir.join(path)
        };
        named.max(touch(&path, place))
    };
    match &instruction.command {
        Command::Workdir(path) => {
            let touch = at(workdir, path);
            *workdir = if path.starts_with('/') {
                ImagePath::from(path.as_str())
            } else {
                workdir.join(path)
            };
            touch
        }
        Command::Copy(copy) => at(workdir, &copy.destination),
        Command::Add(add) => at(workdir, &add.destination),
        Command::Run(run) => {
            let line = match &run.command {
                CommandLine::Shell(text) => named_in(text, place),
                CommandLine::Exec(words) => {
                    let named = words.iter().filter_map(|word| named_in(word, place));
                    named.max()
                }
            };
            let heredocs = run.heredocs.iter();
            let texts = heredocs.map(|heredoc| &heredoc.content).chain(&run.mounts);
            line.max(texts.filter_map(|text| named_in(text, place)).max())
        }
        Command::Env(pairs) => {
            let values = pairs.iter().map(|pair| &pair.value);
            values.filter_map(|value| named_in(value, place)).max()
        }
        Command::Arg(args) => {
            let values = args.iter().filter_map(|arg| arg.default.as_ref());
            values.filter_map(|value| named_in(value, place)).max()
        }
        Command::Shell(words) => words.iter().filter_map(|word| named_in(word, place)).max(),
        Command::Cmd(_)
        | Command::Entrypoint(_)
        | Command::Expose(_)
        | Command::Healthcheck(_)
        | Command::Label(_)
        | Command::Maintainer(_)
        | Command::Onbuild(_)
        | Command::Stopsignal(_)
        | Command::User(_)
        | Command::Volume(_) => None,
    }
}

fn touch(path: &ImagePath, place: &ImagePath) -> Option<Touch> {
    if path.is_root() || place.is_root() {
        None
    } else if path.starts_with(place) {
        Some(Touch::Within)
    } else if place.starts_with(path) {
        Some(Touch::Around)
    } else {
        None
    }
}

/// The nearest of the absolute paths that a text names, as far as they can be seen in it.
fn named_in(text: &str, place: &ImagePath) -> Option<Touch> {
    let part_of_path =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@');
    // In front of a path's slash these belong to a longer path.
    let before_path = |c: char| part_of_path(c) || matches!(c, '}' | ')');
    let mut nearest = None;
    let mut previous = ' ';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first == '/' && !before_path(previous) {
            let end = rest.find(|c| !part_of_path(c)).unwrap_or(rest.len());
            nearest = nearest.max(touch(&ImagePath::from(&rest[..end]), place));
            end
        } else {
            first.len_utf8()
        };
        previous = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 16
    #[test]
    fn paths_in_texts() {
        let rows: &[(&str, &str, Option<Touch>)] = &[
            ("workspace", "cd /workspace && make", Some(Touch::Within)),
            ("workspace", "rm -rf /workspace/*", Some(Touch::Within)),
            ("workspace", "A=\"/workspace/x\"", Some(Touch::Within)),
            ("workspace", "target=/workspace,x", Some(Touch::Within)),
            ("workspace", "/workspace", Some(Touch::Within)),
            ("workspace", "//workspace/./x", Some(Touch::Within)),
            ("workspace", "cd /workspaces", None),
            ("workspace", "cd /srv/workspace", None),
            ("workspace", "cd $HOME/workspace", None),
            ("workspace", "cd ${HOME}/workspace", None),
            ("workspace", "get https://host/workspace", None),
            ("workspace", "ls /", None),
            ("tmp/context", "rm -rf /tmp/* /x", Some(Touch::Around)),
            ("tmp/context", "rm -rf /tmp/other", None),
            ("tmp/context", "/tmp /tmp/context", Some(Touch::Within)),
            ("", "/anything", None),
        ];
        assert!(!rows.is_empty());
        for (place, text, expected) in rows {
            let place = ImagePath::from(*place);
            assert_eq!(named_in(text, &place), *expected, "{place}: {text}");
        }
    }
}
