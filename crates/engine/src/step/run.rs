//! RUN: a command in the stage's root, and the layer of what it changed (conformance section D).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_dockerfile::{CommandLine, Run, shortened};
use kiln_layer::{FileType, ImagePath, LayerError, LinkGroup, Node, NodeKind, Owners, Root};
use kiln_oci::Digest;
use kiln_sandbox::{Exit, Network, RunRoot, RunSpec, SandboxError, SandboxMount, Stream, User};
use kiln_snapshot::ChangeSet;

use super::mounts::Mounts;
use super::shown::write_private;
use super::{StepError, Stepper};
use kiln_copy::node::entry_of;
use kiln_events::Event;
use kiln_image::history;
use kiln_rootfs::RootError;
use kiln_rootfs::user::{Accounts, Identity};
use kiln_store::layers::Made;

/// Where the script of a heredoc with `#!` is shown to the command: in `/dev`, which no layer holds (D22).
const SCRIPT_DIR: &str = "/dev/pipes";

/// Where programs look for an SSH agent (D37).
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// No passwd or group file is read beyond this.
const ACCOUNT_FILE_LIMIT: u64 = 16 << 20;

/// What programs say when they give a file to an id that does not exist in their user namespace.
const EINVAL: &[u8] = b"Invalid argument";

/// What the sandbox runs, before it knows its root.
struct Job {
    argv: Vec<String>,
    /// The command as messages show it.
    shown: String,
    env: Vec<(String, String)>,
    user: String,
    cwd: PathBuf,
    network: Network,
}

impl Job {
    /// What the end of the command means for the step.
    fn judge(&self, exit: Result<Exit, SandboxError>, refused_id: bool) -> Result<(), StepError> {
        let command = self.shown.clone();
        match exit {
            Ok(Exit::Code(0)) => Ok(()),
            Ok(Exit::Code(code)) => Err(StepError::Exit {
                command,
                code,
                refused_id,
            }),
            Ok(Exit::Signal(signal)) => Err(StepError::Killed { command, signal }),
            Err(source) if source.is_cancelled() => Err(StepError::Cancelled),
            Err(SandboxError::Around(error)) if error.is::<RootError>() => Err(error
                .downcast::<RootError>()
                .map_or(StepError::Dependency, |error| StepError::Root(*error))),
            Err(source) => Err(StepError::Sandbox { command, source }),
        }
    }
}

impl Stepper<'_> {
    pub(super) fn run(&mut self, run: &Run) -> Result<(), StepError> {
        let network = network(run)?;
        let mut mounts = Mounts::prepare(self, run)?;
        let argv = self.command(run, &mut mounts)?;
        let text = self.run_history(run);
        let config = &self.state.config.config;
        let mut env = self.state.scope.run_env(&config.env, self.build_args());
        // A secret's variable overrides everything of its name (D2, D34).
        env.retain(|(name, _)| mounts.env.iter().all(|(secret, _)| secret != name));
        env.append(&mut mounts.env);
        if let Some(socket) = mounts.agent_socket.take()
            && env.iter().all(|(name, _)| name != AGENT_VARIABLE)
        {
            env.push((AGENT_VARIABLE.to_owned(), socket));
        }
        check_lengths(&argv, &env)?;
        let job = Job {
            shown: shortened(&argv.join(" ")).into_owned(),
            argv,
            env,
            user: config.user.clone(),
            cwd: PathBuf::from(self.state.workdir()),
            network,
        };
        let mut changes = self.execute(&job, &mounts)?;
        drop(mounts);
        self.settle_doubts(&mut changes)?;
        self.add_names(&mut changes)?;
        self.keep(text, changes)
    }

    /// A scan records files that were touched and may be as before; the layers they came from decide, so that
    /// both isolations give the same layer (G11, G13).
    fn settle_doubts(&mut self, changes: &mut ChangeSet) -> Result<(), StepError> {
        let doubtful: Vec<ImagePath> = changes.doubtful().cloned().collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        let blobs = &self.plan_run.run.blobs;
        let tree = self.state.tree(blobs)?;
        let mut by_layer: BTreeMap<usize, BTreeMap<ImagePath, Vec<ImagePath>>> = BTreeMap::new();
        for path in doubtful {
            if let Some(node) = tree.get(&path) {
                let names = by_layer.entry(node.layer as usize).or_default();
                let source = node.source(&path).clone();
                names.entry(source).or_default().push(path);
            }
        }
        for (number, names) in by_layer {
            if let Some(layer) = self.state.layers.get(number) {
                let (reader, _) = blobs.reader(layer)?;
                changes.settle(reader, &names).map_err(RootError::from)?;
            }
        }
        Ok(())
    }

    /// Where a file has a new name, all its names come along, those too that an overlay forgot (G7).
    fn add_names(&mut self, changes: &mut ChangeSet) -> Result<(), StepError> {
        let joined: Vec<ImagePath> = changes.joined().cloned().collect();
        if joined.is_empty() {
            return Ok(());
        }
        let tree = self.state.tree(&self.plan_run.run.blobs)?;
        let group_of = |node: &Node| match node.kind {
            NodeKind::File { links, .. } => links,
            _ => None,
        };
        let mut names: BTreeMap<LinkGroup, Vec<ImagePath>> = BTreeMap::new();
        for (path, node) in tree.walk(&ImagePath::root()) {
            if let Some(group) = group_of(node) {
                names.entry(group).or_default().push(path);
            }
        }
        for path in joined {
            let group = tree.get(&path).and_then(group_of);
            if let Some(names) = group.and_then(|group| names.get(&group)) {
                changes.add_names(&path, names, |dir| {
                    Some(entry_of(dir.clone(), tree.get(dir)?))
                });
            }
        }
        Ok(())
    }

    /// Starts to pack what changed; nothing changed is no layer (G21).
    fn keep(&mut self, text: String, changes: ChangeSet) -> Result<(), StepError> {
        let number = (!changes.is_empty()).then_some(self.state.layers.len());
        if let Some(root) = &mut self.state.root {
            root.settle(number);
        }
        let in_background = !self.plan_run.run.roots.one_at_a_time();
        let layer = number.map(|_| {
            self.plan_run
                .run
                .packer
                .start(Made::Changes(changes), self.subject())
        });
        if let (Some(layer), false) = (&layer, in_background) {
            // The next command changes the files that are being packed. A failure shows at the end.
            drop(layer.describe());
        }
        self.record(text, layer)
    }

    fn execute(&mut self, job: &Job, mounts: &Mounts) -> Result<ChangeSet, StepError> {
        let plan_run = self.plan_run;
        if self.state.root.is_none() {
            self.state.root = Some(plan_run.run.roots.create(self.state.base_layers)?);
        }
        let Some(root) = &mut self.state.root else {
            return Err(StepError::Dependency);
        };
        let step = self.step.clone();
        let single_id = plan_run.run.roots.owners() == Owners::Ignore;
        let mut refused_id = false;
        let mut outcome = Err(StepError::Dependency);
        let changes = root.run(&self.state.layers, &mut |root, runner| {
            let mut output = |stream: Stream, line: &[u8]| {
                refused_id |= single_id && line.windows(EINVAL.len()).any(|part| part == EINVAL);
                let line = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
                let step = step.clone();
                plan_run
                    .run
                    .events
                    .event(Event::Output { step, stream, line });
            };
            let exit = specify(job, mounts, root, plan_run)
                .map(|spec| runner.run(&spec, &mut output, &plan_run.run.cancel));
            outcome = exit.and_then(|exit| job.judge(exit, refused_id));
            outcome.is_ok()
        })?;
        outcome?;
        changes.ok_or(StepError::Dependency)
    }

    /// The text of the history entry (F19).
    pub(super) fn run_history(&self, run: &Run) -> String {
        let line = match (&run.command, run.script()) {
            (CommandLine::Exec(_), _) => run.command.clone(),
            (_, Some(script)) if is_executable(&script.content) => {
                CommandLine::Shell(format!("<<{}", script.name))
            }
            (_, Some(script)) => CommandLine::Shell(script.content.clone()),
            (_, None) => CommandLine::Shell(run.shell_text()),
        };
        history::run(self.state.scope.args_listed(), &self.state.shell(), &line)
    }

    /// The argument list (D1, D21-D23).
    fn command(&mut self, run: &Run, mounts: &mut Mounts) -> Result<Vec<String>, StepError> {
        if let CommandLine::Exec(words) = &run.command {
            return Ok(words.clone());
        }
        let text = match run.script() {
            Some(script) if is_executable(&script.content) => {
                return Ok(vec![self.script_file(
                    &script.name,
                    &script.content,
                    mounts,
                )?]);
            }
            Some(script) => script.content.clone(),
            None => run.shell_text(),
        };
        let mut argv = self.state.shell();
        argv.push(text);
        Ok(argv)
    }

    /// Puts a script where the command can see it and no layer does.
    fn script_file(
        &self,
        name: &str,
        content: &str,
        mounts: &mut Mounts,
    ) -> Result<String, StepError> {
        let file = mounts.shown_file(self.plan_run, &Digest::of(name.as_bytes()).hex())?;
        write_private(&file, content.as_bytes(), 0o755)?;
        if self.plan_run.run.roots.one_at_a_time() {
            return Ok(file.to_string_lossy().into_owned());
        }
        let target = format!("{SCRIPT_DIR}/{name}");
        mounts.list.push(SandboxMount::Bind {
            source: file,
            target: PathBuf::from(&target),
            read_only: true,
            discard_writes: false,
        });
        Ok(target)
    }
}

/// Bytes of one argument or variable that the kernel takes, with the zero behind it: `MAX_ARG_STRLEN`.
const LONGEST_ARGUMENT: usize = 32 * 4096;

/// Refuses what no exec takes, in words that say why; the kernel's own answer is `Argument list too long`.
fn check_lengths(argv: &[String], env: &[(String, String)]) -> Result<(), StepError> {
    let (name, limit) = ("MAX_ARG_STRLEN", LONGEST_ARGUMENT - 1);
    if let Some(long) = argv.iter().find(|word| word.len() > limit) {
        return Err(StepError::TooLong {
            what: "the command's text".to_owned(),
            length: long.len(),
            limit,
            name,
        });
    }
    let length_of = |(name, value): &(String, String)| name.len() + 1 + value.len();
    if let Some(long) = env.iter().find(|pair| length_of(pair) > limit) {
        return Err(StepError::TooLong {
            what: format!("the variable `{}`", shortened(&long.0)),
            length: length_of(long),
            limit,
            name,
        });
    }
    // Each string has a zero and a pointer besides.
    let strings = argv
        .iter()
        .map(String::len)
        .chain(env.iter().map(length_of));
    let length: usize = strings.map(|length| length + 1 + size_of::<usize>()).sum();
    let stack = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    let limit = most_arguments(stack);
    if length > limit {
        return Err(StepError::TooLong {
            what: "the command with its variables".to_owned(),
            length,
            limit,
            name: "ARG_MAX",
        });
    }
    Ok(())
}

/// What the kernel takes of arguments and variables together: a quarter of the stack, 6 MiB at most, 128 KiB at least.
fn most_arguments(stack: Option<u64>) -> usize {
    let quarter = stack.map_or(usize::MAX, |stack| {
        usize::try_from(stack / 4).unwrap_or(usize::MAX)
    });
    quarter.clamp(LONGEST_ARGUMENT, 6 << 20)
}

/// A script with an interpreter of its own (D22).
fn is_executable(script: &str) -> bool {
    script.starts_with("#!")
}

/// Fills in what depends on the root: who the user is there (D11), and the files supplied (D17).
fn specify(
    job: &Job,
    mounts: &Mounts,
    root: RunRoot,
    plan_run: &crate::plan_run::PlanRun,
) -> Result<RunSpec, StepError> {
    let dir = match &root {
        RunRoot::Directory(dir) => dir.clone(),
        RunRoot::Host => PathBuf::from("/"),
    };
    let identity = identity(&dir, &job.user)?;
    let mut env = job.env.clone();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".to_owned(), identity.home.clone()));
    }
    let words = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    Ok(RunSpec {
        env: env
            .into_iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        cwd: job.cwd.clone(),
        user: User {
            uid: identity.uid,
            gid: identity.gid,
            groups: identity.groups,
        },
        mounts: mounts.list.clone(),
        network: job.network,
        hosts: Some(plan_run.run.hosts_file.clone()),
        resolv_conf: plan_run.run.resolv_conf.clone(),
        ..RunSpec::new(root, words(&job.argv))
    })
}

/// Resolves USER in the files of the root that the command will see.
fn identity(dir: &Path, user: &str) -> Result<Identity, StepError> {
    let failed = |operation| {
        let path = dir.to_owned();
        move |source| StepError::Io {
            operation,
            path,
            source,
        }
    };
    let root = Root::open(dir)?;
    let read = |path: &[u8]| -> Result<Vec<u8>, StepError> {
        let found = root.resolve(path, true)?;
        if found.missing > 0 {
            return Ok(Vec::new());
        }
        let Some(file) = regular_file(&root, &found.path)? else {
            return Ok(Vec::new());
        };
        let mut content = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(file, ACCOUNT_FILE_LIMIT),
            &mut content,
        )
        .map_err(failed("read accounts of"))?;
        Ok(content)
    };
    let accounts = Accounts::parse(&read(b"etc/passwd")?, &read(b"etc/group")?);
    Ok(accounts.identity(user)?)
}

fn regular_file(root: &Root, path: &ImagePath) -> Result<Option<fs::File>, LayerError> {
    let found = root.stat(path)?;
    if !found.is_some_and(|found| found.file_type == FileType::File) {
        return Ok(None);
    }
    root.open_file(path, false).map(Some)
}

/// `--network` (D39); `--security` and `--device` are checked by the plan.
fn network(run: &Run) -> Result<Network, StepError> {
    match run.network.as_deref() {
        None | Some("default" | "host") => Ok(Network::Host),
        Some("none") => Ok(Network::None),
        Some(other) => Err(StepError::Flag {
            flag: "network",
            value: other.to_owned(),
            expected: "write `default`, `none` or `host`",
        }),
    }
}
