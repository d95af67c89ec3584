//! What a step depends on, said before it is executed: the parts of its key (conformance H1-H17).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use kiln_cache_key::{FileSet, Parts, Text, Value, part};
use kiln_context::FileView;
use kiln_dockerfile::{
    Chmod, Command, CommandLine, Instruction, Mount, MountType, PatternSet, Run,
};
use kiln_layer::TreeIndex;
use kiln_shown::redact;

use super::copy::Transfer;
use super::{StepError, Stepper};
use kiln_copy::{CopyRequest, CopySource, plan};
use kiln_plan::plan::Source;

/// Counts up whenever the same instruction on the same base gives another layer than it did in an earlier Kiln, so that
/// no cache brings the old one back.
const RULES: &str = "2";

/// A shorter value of a build arg is no secret: `1`, `yes`.
const SHORTEST_SECRET: usize = 4;

/// Which switch of the cache a step obeys (H30).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// COPY, ADD and WORKDIR.
    Copy,
    /// RUN.
    Run,
}

/// How the files of other stages enter a key.
#[derive(Clone, Copy)]
pub(crate) enum Foresight<'a> {
    /// By the key of what made them: known before anything runs. `None` where a key says nothing, because a
    /// command may give something else each time.
    ByKey(&'a dyn Fn(&Source) -> Option<Value>),
    /// By what they are: the stages must have run.
    ByContent,
}

/// What is known of a step that may make a layer.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) kind: Kind,
    /// `None` when a source has no key.
    pub(crate) parts: Option<Parts>,
    /// The stages it reads.
    pub(crate) stages: BTreeSet<usize>,
    /// The layer is the same whatever is below: `--link` (E35).
    pub(crate) independent: bool,
}

/// One source in another stage or image.
enum Given {
    Key(Value),
    Files(FileSet),
    Nothing,
}

impl Stepper<'_> {
    /// Goes over an instruction without executing it: changes the configuration as it would, and says what a layer
    /// of it would depend on. `None` for instructions that only change the configuration.
    pub(crate) fn foresee(
        &mut self,
        instruction: &Instruction,
        foresight: Foresight<'_>,
    ) -> Result<Option<Inputs>, StepError> {
        let inputs = self.inputs(instruction, foresight)?;
        self.pass(&instruction.command)?;
        Ok(inputs)
    }

    /// Changes the configuration as an instruction would, and makes no layer.
    pub(super) fn pass(&mut self, command: &Command) -> Result<(), StepError> {
        match command {
            Command::Workdir(path) => match self.joined_workdir(path)? {
                Some(path) => self.enter_workdir(path, None),
                None => Ok(()),
            },
            other => self.change_config(other),
        }
    }

    /// What a layer of the instruction depends on, in the state before it.
    pub(crate) fn inputs(
        &mut self,
        instruction: &Instruction,
        foresight: Foresight<'_>,
    ) -> Result<Option<Inputs>, StepError> {
        self.span = instruction.span;
        match &instruction.command {
            Command::Run(run) => self.run_inputs(run, foresight).map(Some),
            Command::Copy(copy) => {
                let transfer = self.copy_words(copy)?;
                let text = as_stored(transfer.written(), &instruction.source);
                self.copy_inputs(&transfer, text, copy.from.as_deref(), foresight)
                    .map(Some)
            }
            Command::Add(add) => {
                let transfer = self.add_words(add, false)?;
                let text = as_stored(transfer.written(), &instruction.source);
                self.copy_inputs(&transfer, text, None, foresight).map(Some)
            }
            Command::Workdir(path) => Ok(self.joined_workdir(path)?.map(|path| Inputs {
                kind: Kind::Copy,
                parts: Some(
                    self.standing_parts(as_stored(format!("WORKDIR {path}"), &instruction.source))
                        .with(part::USER, self.text(&self.state.config.config.user)),
                ),
                stages: BTreeSet::new(),
                independent: false,
            })),
            // These change the configuration only. An instruction that makes a layer says here what it depends on.
            Command::Arg(_)
            | Command::Cmd(_)
            | Command::Entrypoint(_)
            | Command::Env(_)
            | Command::Expose(_)
            | Command::Healthcheck(_)
            | Command::Label(_)
            | Command::Maintainer(_)
            | Command::Onbuild(_)
            | Command::Shell(_)
            | Command::Stopsignal(_)
            | Command::User(_)
            | Command::Volume(_) => Ok(None),
        }
    }

    /// What every step has: its text, the rules it is read by, and the times that its layer gets.
    fn own_parts(&self, instruction: Text) -> Parts {
        let parts = Parts::new()
            .with(part::INSTRUCTION, instruction)
            .with("rules", RULES);
        match self.plan_run.run.packer.times() {
            Some(times) => parts.with("times", times),
            None => parts,
        }
    }

    /// The same for a step that stands on what is below it. The chain of keys starts with the base, so naming it again
    /// tells no more steps apart; but a miss can say that it moved (H29).
    fn standing_parts(&self, instruction: Text) -> Parts {
        let parts = self.own_parts(instruction);
        let base = self.plan_run.plan.base(self.stage).ok();
        let image = base.filter(|base| matches!(base, Source::Image(..)));
        match image.and_then(|image| self.plan_run.base_key(&image)) {
            Some(base) => parts.with(part::BASE, base),
            None => parts,
        }
    }

    fn copy_inputs(
        &mut self,
        transfer: &Transfer,
        text: Text,
        from: Option<&str>,
        foresight: Foresight<'_>,
    ) -> Result<Inputs, StepError> {
        let mut stages = BTreeSet::new();
        let named_owner = transfer
            .chown
            .as_deref()
            .is_some_and(kiln_rootfs::user::Accounts::needed_for);
        let independent = transfer.link && !named_owner;
        let parts = if independent {
            self.own_parts(text)
        } else {
            self.standing_parts(text)
        };
        let parts = parts.with(part::WORKDIR, self.text(self.state.workdir()));
        let parts = match from {
            None => {
                let view = self.plan_run.run.sources.context_view()?;
                Some(parts.with(part::FILES, self.files(&view, transfer)?))
            }
            Some(from) => match self.given(from, foresight, &mut stages, Some(transfer))? {
                Given::Key(key) => Some(parts.with(part::SOURCE, key)),
                Given::Files(files) => Some(parts.with(part::FILES, files)),
                Given::Nothing => None,
            },
        };
        Ok(Inputs {
            kind: Kind::Copy,
            parts,
            stages,
            independent,
        })
    }

    fn run_inputs(&mut self, run: &Run, foresight: Foresight<'_>) -> Result<Inputs, StepError> {
        let config = &self.state.config.config;
        let effective = |pair: &String| {
            let (name, value) = pair.split_once('=')?;
            let value = kiln_dockerfile::Lookup::get(&self.state.scope, name).unwrap_or(value);
            Some((name.to_owned(), value.to_owned()))
        };
        let env: BTreeMap<String, String> = config.env.iter().filter_map(effective).collect();
        let args: BTreeMap<&str, &str> = self.state.scope.args_in_effect().collect();
        let written = written_run(run);
        let text = match redact(&written) {
            Cow::Borrowed(_) => Text::plain(written),
            Cow::Owned(shown) => Text::hidden_behind(written, shown),
        };
        let held = env.values().map(String::len).sum::<usize>();
        let held_by_args = args.values().map(|value| value.len()).sum::<usize>();
        self.plan_run.run.text.charge(held + held_by_args)?;
        let mut parts = self
            .standing_parts(text)
            .with(part::ENV, self.environment(env, &args))
            .with(part::ARGS, Value::hidden_variables(args))
            .with(part::USER, self.text(&config.user))
            .with(part::WORKDIR, self.text(self.state.workdir()));
        if matches!(run.command, CommandLine::Shell(_)) {
            parts = parts.with(part::SHELL, Value::list(self.state.shell()));
        }
        let ignored = self.plan_run.run.roots.ignored();
        if !ignored.is_empty() {
            parts = parts.with("ignored paths", Value::list(ignored));
        }
        let mut stages = BTreeSet::new();
        let mut parts = Some(parts);
        for (number, raw) in run.mounts.iter().enumerate() {
            let mount = self.parsed_mount(raw)?;
            let given = self.mount_given(&mount, foresight, &mut stages)?;
            parts = match (parts, given) {
                (Some(parts), None) => Some(parts),
                (Some(parts), Some(Given::Key(key))) => {
                    Some(parts.with(part::mount_source(number), key))
                }
                (Some(parts), Some(Given::Files(files))) => {
                    Some(parts.with(part::mount_files(number), files))
                }
                (None, _) | (_, Some(Given::Nothing)) => None,
            };
        }
        Ok(Inputs {
            kind: Kind::Run,
            parts,
            stages,
            independent: false,
        })
    }

    /// The environment as it is stored: what everybody can read in the Dockerfile or in an image is shown.
    fn environment(&self, env: BTreeMap<String, String>, args: &BTreeMap<&str, &str>) -> Value {
        let entry = |(name, value): (String, String)| {
            let shown = !args.contains_key(name.as_str()) && self.is_public(&name, &value);
            let text = if shown {
                Text::value(value)
            } else {
                Text::hidden_value(value)
            };
            (name, text)
        };
        Value::Map(env.into_iter().map(entry).collect())
    }

    fn is_public(&self, name: &str, value: &str) -> bool {
        if self.has_build_arg(value) {
            return false;
        }
        let written = |line: &String| line.contains(value);
        let pair = format!("{name}={value}");
        self.plan_run.plan.dockerfile.lines.iter().any(written)
            || self.plan_run.images.values().any(|image| {
                let mut env = image.config.env().iter();
                env.any(|known| *known == pair)
            })
    }

    /// Whether a text has in it what the caller gave, which may be a secret if it is not too short for one.
    fn has_build_arg(&self, text: &str) -> bool {
        let values = self.build_args().values();
        values
            .filter(|value| value.len() >= SHORTEST_SECRET)
            .any(|value| text.contains(value.as_str()))
    }

    /// A text of the configuration as it is stored.
    fn text(&self, text: &str) -> Text {
        if self.has_build_arg(text) {
            Text::hidden(text)
        } else {
            Text::plain(text)
        }
    }

    /// What a mount shows of a context, stage or image; the content of caches, secrets and sockets is nobody's
    /// business (H10).
    fn mount_given(
        &mut self,
        mount: &Mount,
        foresight: Foresight<'_>,
        stages: &mut BTreeSet<usize>,
    ) -> Result<Option<Given>, StepError> {
        match (mount.kind, &mount.from) {
            (MountType::Bind, None) => {
                let source = mount.source.as_deref().unwrap_or("/");
                let shown = Transfer {
                    sources: vec![CopySource::Path(source.as_bytes().to_vec())],
                    keep_owner: true,
                    ..Transfer::default()
                };
                let view = self.plan_run.run.sources.context_view()?;
                Ok(Some(Given::Files(self.files(&view, &shown)?)))
            }
            (MountType::Bind | MountType::Cache, Some(from)) => {
                self.given(from, foresight, stages, None).map(Some)
            }
            // What is in a cache, and what is secret, is in no key (D31, D36).
            (MountType::Cache, None)
            | (MountType::Tmpfs | MountType::Secret | MountType::Ssh, _) => Ok(None),
        }
    }

    /// How what `--from` names enters the key. Without `files`, a stage that ran counts by the key of its content:
    /// a mount may show all of it, and nobody knows which files a command reads.
    fn given(
        &mut self,
        from: &str,
        foresight: Foresight<'_>,
        stages: &mut BTreeSet<usize>,
        files: Option<&Transfer>,
    ) -> Result<Given, StepError> {
        let named = self
            .plan_run
            .plan
            .source_of(self.stage, from, self.span)
            .map_err(|(_, error)| error)?;
        if let Source::Stage(stage) = &named {
            stages.insert(*stage);
        }
        if let Source::Files(_) = named {
            let all = Transfer {
                sources: vec![CopySource::Path(b"/".to_vec())],
                ..Transfer::default()
            };
            let view = self.view_of(from)?;
            return Ok(Given::Files(self.files(&view, files.unwrap_or(&all))?));
        }
        match foresight {
            Foresight::ByKey(key_of) => Ok(key_of(&named).map_or(Given::Nothing, Given::Key)),
            Foresight::ByContent => match (&named, files) {
                (Source::Stage(_), Some(transfer)) => {
                    let view = self.view_of(from)?;
                    Ok(Given::Files(self.files(&view, transfer)?))
                }
                (Source::Stage(_), None) => {
                    let finished = self.plan_run.wait_for(&named);
                    let key = finished.ok_or(StepError::Dependency)?.content_key();
                    Ok(key.map_or(Given::Nothing, |key| Given::Key(key.into())))
                }
                (other, _) => Ok(self
                    .plan_run
                    .base_key(other)
                    .map_or(Given::Nothing, Given::Key)),
            },
        }
    }

    /// The files that a COPY or a mount reads, as they would be written below an empty directory.
    fn files(&self, view: &Arc<dyn FileView>, transfer: &Transfer) -> Result<FileSet, StepError> {
        /// Stands for the destination, which the instruction's text says already.
        const PLACE: &str = "/f/";
        let Some(cache) = &self.plan_run.run.cache else {
            return Ok(FileSet::new(Vec::new()));
        };
        let chown = transfer.chown.as_deref();
        let owner = match chown.filter(|chown| !kiln_rootfs::user::Accounts::needed_for(chown)) {
            Some(chown) => Some(kiln_rootfs::user::Accounts::default().owner(chown)?),
            // A name: the text and what is below decide what it means (H14).
            None => None,
        };
        let chmod = transfer.chmod.as_deref().map(Chmod::parse).transpose()?;
        let excludes = PatternSet::new(&transfer.excludes).map_err(StepError::Exclude)?;
        let request = CopyRequest {
            view,
            sources: &transfer.sources,
            destination: PLACE.as_bytes(),
            workdir: b"/",
            owner,
            keep_owner: transfer.keep_owner,
            chmod: chmod.as_ref(),
            excludes: &excludes,
            parents: transfer.parents,
            // An archive stands for what is in it.
            unpack_local: false,
            unpack_fetched: false,
            now: 0,
            spool: &self.plan_run.run.spool,
        };
        let items = plan(&request, &TreeIndex::default())?.items;
        let failed = |error| StepError::Pack(Arc::new(error));
        kiln_copy::Content::prefetch(items.values()).map_err(|(path, source)| {
            failed(kiln_store::layers::PackError::Read {
                path: path.to_string(),
                source,
            })
        })?;
        let below = PLACE.trim_matches('/').as_bytes();
        cache.digests.file_set(&items, below).map_err(failed)
    }
}

impl Transfer {
    /// The instruction as it acts: every word expanded, and told apart from its neighbours.
    fn written(&self) -> String {
        let mut text = self.name.to_owned();
        let mut flag = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = write!(text, " --{name}={}", quoted(value));
        };
        for (name, value) in [("chown", &self.chown), ("chmod", &self.chmod)] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
        for pattern in &self.excludes {
            flag("exclude", pattern);
        }
        let switches = [
            ("link", self.link),
            ("parents", self.parents),
            ("unpack", self.unpack_fetched),
            ("keep-archives", self.name == "ADD" && !self.unpack_local),
        ];
        for (name, on) in switches {
            if on {
                let _ = write!(text, " --{name}");
            }
        }
        for word in self.shown.iter().chain([&self.destination]) {
            let _ = write!(text, " {}", quoted(word));
        }
        text
    }
}

/// An instruction as it is stored: with the names of variables where it acts by their values.
fn as_stored(acts: String, written: &str) -> Text {
    let shown = redact(written);
    if written.contains('$') || shown != written {
        Text::hidden_behind(acts, shown)
    } else {
        Text::plain(acts)
    }
}

/// A word that cannot be taken for two.
fn quoted(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '"' && c != '\\';
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("{word:?}")
    }
}

/// The RUN as it acts: flags, command and heredocs.
fn written_run(run: &Run) -> String {
    let mut text = "RUN".to_owned();
    for mount in &run.mounts {
        let _ = write!(text, " --mount={}", quoted(mount));
    }
    for (name, value) in [("network", &run.network), ("security", &run.security)] {
        if let Some(value) = value {
            let _ = write!(text, " --{name}={}", quoted(value));
        }
    }
    match &run.command {
        CommandLine::Exec(words) => {
            let _ = write!(text, " {words:?}");
        }
        CommandLine::Shell(_) => {
            let _ = write!(text, " {}", run.shell_text());
        }
    }
    text
}
