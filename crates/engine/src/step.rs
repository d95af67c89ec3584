//! One instruction: from the state before it to the state after it.

mod add;
mod agent;
mod copy;
mod foresee;
mod metadata;
mod mounts;
mod run;
mod shown;
mod sources;
mod workdir;

pub(crate) use foresee::{Foresight, Inputs, Kind};
pub(crate) use shown::items_of;

use kiln_dockerfile::{Command, ExpandError, Instruction, MountError, shortened};
use kiln_sandbox::SandboxError;

use crate::held::SecretError;
use crate::plan_run::PlanRun;
use crate::sources::SourceError;
use crate::stage::{State, ViewUnavailable};
use kiln_copy::CopyError;
use kiln_events::{Step, Subject};
use kiln_image::clock::Clock;
use kiln_plan::budget::TooMuchText;
use kiln_plan::plan::PlanError;
use kiln_plan::scope::BuildArgs;
use kiln_rootfs::RootError;
use kiln_rootfs::user::{Accounts, UserError};
use kiln_store::blobs::BlobError;

/// Bytes of a path that the kernel takes, without the zero behind it: `PATH_MAX`.
const LONGEST_PATH: usize = 4095;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A word could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The Dockerfile makes more text of itself than it may.
    #[error(transparent)]
    Text(#[from] TooMuchText),
    /// The command's text, or one of its variables, is longer than the kernel takes.
    #[error("{what} has {length} bytes, and the kernel takes {limit} (the limit {name})")]
    TooLong {
        /// What is too long.
        what: String,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
        /// The kernel's name for the limit.
        name: &'static str,
    },
    /// `--from` leads nowhere.
    #[error(transparent)]
    Plan(#[from] Box<PlanError>),
    /// COPY or ADD cannot be done.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Files that are in no image cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A user or group is unknown.
    #[error(transparent)]
    User(#[from] UserError),
    /// The command ended with another code than 0 (conformance D6).
    #[error("process \"{command}\" did not complete successfully: exit code: {code}")]
    Exit {
        /// The command as BuildKit shows it.
        command: String,
        /// Its exit code.
        code: i32,
        /// Whether the kernel seems to have refused an id that this user namespace does not have.
        refused_id: bool,
    },
    /// A signal ended the command (conformance D6).
    #[error("process \"{command}\" did not complete successfully: killed by signal {signal}")]
    Killed {
        /// The command as BuildKit shows it.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// The command could not be started.
    #[error("cannot run \"{command}\"")]
    Sandbox {
        /// The command as BuildKit shows it.
        command: String,
        /// Why not.
        #[source]
        source: SandboxError,
    },
    /// The root filesystem could not be made or compared.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A layer cannot be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The files of another stage cannot be read.
    #[error(transparent)]
    View(#[from] ViewUnavailable),
    /// A file of the image cannot be read.
    #[error("cannot read the image")]
    Image(#[source] kiln_context::ViewError),
    /// A layer could not be packed.
    #[error(transparent)]
    Pack(#[from] std::sync::Arc<kiln_store::layers::PackError>),
    /// `--mount` cannot be understood.
    #[error("`--mount={mount}` cannot be used")]
    Mount {
        /// The mount as written.
        mount: String,
        /// What is wrong with it.
        #[source]
        source: MountError,
    },
    /// `required=true` and no such secret (conformance D35).
    #[error("secret {id}: not found")]
    SecretMissing {
        /// The secret's id.
        id: String,
    },
    /// `required=true` and no such agent (conformance D37).
    #[error("ssh agent {id}: not found; name one with `--ssh {id}` or `--ssh {id}=SOCKET`")]
    AgentMissing {
        /// The agent's id.
        id: String,
    },
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A bind mount's source is missing (conformance D28).
    #[error("mount source \"/{path}\": not found")]
    MountSource {
        /// The path in the context, stage or image.
        path: String,
    },
    /// A value of a flag is not allowed.
    #[error("`--{flag}={value}` is not allowed: {expected}")]
    Flag {
        /// The flag's name.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// Something that Dockerfiles may ask for and this version cannot do.
    #[error("{what} is not supported by this version")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// A step would put a file where a directory has to be, or the reverse (conformance F7).
    #[error("mkdir /{path}: not a directory")]
    NotADirectory {
        /// Path in the image.
        path: String,
    },
    /// A path of the image leads in circles.
    #[error("cannot resolve `{path}` in the image")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        #[source]
        source: kiln_layer::TreeError,
    },
    /// A word of VOLUME is empty after expansion: the configuration would hold a volume without a path.
    #[error("VOLUME specified can not be an empty string: `{written}` has no value")]
    EmptyVolume {
        /// The word as written.
        written: String,
    },
    /// EXPOSE names no port (conformance F2).
    #[error(transparent)]
    Expose(#[from] kiln_dockerfile::ExposeError),
    /// STOPSIGNAL names no signal (conformance F13).
    #[error(transparent)]
    Signal(#[from] kiln_dockerfile::SignalError),
    /// `--chmod` is no mode (conformance E29).
    #[error(transparent)]
    Chmod(#[from] kiln_dockerfile::ChmodError),
    /// `--exclude` is no pattern.
    #[error("`--exclude` cannot be used")]
    Exclude(#[source] kiln_dockerfile::PatternError),
    /// The work folder refuses.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file of the stage's root cannot be read.
    #[error("cannot read the stage's root filesystem")]
    Files(#[from] kiln_layer::LayerError),
    /// A stage that this one needs failed; its own error is the one to read.
    #[error("a stage that this one needs failed")]
    Dependency,
    /// The build was interrupted.
    #[error("interrupted")]
    Cancelled,
}

impl StepError {
    /// The exit code of a RUN, for those errors that are one (conformance D6).
    pub(crate) fn run_code(&self) -> Option<i32> {
        match self {
            StepError::Exit { code, .. } => Some(*code),
            StepError::Killed { signal, .. } => Some(128 + signal),
            StepError::Sandbox { source, .. } => source.shell_code(),
            _ => None,
        }
    }

    /// Whether another error is the cause that the user should see.
    pub(crate) fn is_aftermath(&self) -> bool {
        match self {
            StepError::Dependency
            | StepError::Cancelled
            | StepError::Source(
                SourceError::Cancelled | SourceError::Root(RootError::Interrupted),
            )
            | StepError::Root(RootError::Interrupted) => true,
            StepError::Sandbox { source, .. } => source.is_cancelled(),
            // A layer that nobody wants any more, because something else failed.
            StepError::Pack(source) => matches!(**source, kiln_store::layers::PackError::Cancelled),
            _ => false,
        }
    }

    /// What the user can try, if anything is known to help.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            StepError::Sandbox { source, .. } | StepError::Root(RootError::Mount(source)) => {
                source.hint()
            }
            StepError::Root(RootError::NoIsolation { .. }) => Some(
                "builds without RUN work here; for RUN, run as root in the executor's own image, or allow user namespaces"
                    .to_owned(),
            ),
            StepError::Root(RootError::ContextInTheWay { .. }) => Some(
                "give the context a place that the image does not use (`--context`; in a pod, the volume's mountPath), \
                 mounted so that it can be written to, or build where user namespaces are allowed"
                    .to_owned(),
            ),
            StepError::Root(RootError::ReadOnly) => Some(
                "leave out `readOnlyRootFilesystem` (docker: `--read-only`), or allow user namespaces: then a volume for \
                 the work folder is enough, such as an emptyDir at `/work` with `--kaniko-dir=/work`"
                    .to_owned(),
            ),
            StepError::Exit { code: 137, .. } | StepError::Killed { signal: 9, .. } => {
                Some("the command was killed, often for want of memory: raise the limit".to_owned())
            }
            StepError::Exit {
                refused_id: true, ..
            } => Some(
                "only one user id exists here, so that files cannot be given to another: install `newuidmap` and \
                 `newgidmap` (package uidmap) and give this user ranges in /etc/subuid and /etc/subgid, or run the \
                 executor as root"
                    .to_owned(),
            ),
            StepError::TooLong { name: "PATH_MAX", .. } => None,
            StepError::TooLong { .. } => Some(
                "put a long command into a script: a file of the build context, or a heredoc that begins with `#!/bin/sh`"
                    .to_owned(),
            ),
            StepError::Copy(CopyError::Dangling { .. }) => Some(
                "symlinks are followed inside the build context only: copy the file into it".to_owned(),
            ),
            StepError::Copy(CopyError::Source(error)) if error.is_not_found() => Some(
                "the path is looked up in the build context (or `--from`); check `.dockerignore`, too"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Executes the steps of one stage.
pub(crate) struct Stepper<'a> {
    pub(crate) plan_run: &'a std::sync::Arc<PlanRun>,
    /// The stage's number in the file.
    pub(crate) stage: usize,
    pub(crate) state: State,
    /// CMD was set in this stage, so that ENTRYPOINT does not clear it (F9).
    pub(crate) cmd_set: bool,
    /// The instruction being executed, for errors of its words.
    pub(crate) span: kiln_dockerfile::Span,
    /// The step being executed; with number 0 where steps are only looked at.
    pub(crate) step: Step,
    /// What the user should know of the step, which does not stop the build.
    pub(crate) remarks: Vec<String>,
}

impl std::fmt::Debug for Stepper<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepper")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl<'a> Stepper<'a> {
    pub(crate) fn new(
        plan_run: &'a std::sync::Arc<PlanRun>,
        stage: usize,
        state: State,
    ) -> Stepper<'a> {
        Stepper {
            plan_run,
            stage,
            state,
            cmd_set: false,
            span: plan_run.plan.dockerfile.stages[stage].from.span,
            step: Step {
                stage: plan_run.stage(stage),
                number: 0,
                total: 0,
            },
            remarks: Vec::new(),
        }
    }

    /// Takes over what an instruction made before, without executing it: its layer, and the time it was made.
    pub(crate) fn adopt(
        &mut self,
        instruction: &Instruction,
        layer: Option<kiln_store::layers::Layer>,
        created: &str,
    ) -> Result<(), StepError> {
        self.span = instruction.span;
        let text = match &instruction.command {
            Command::Add(add) => self.add_words(add, false)?.history(),
            Command::Copy(copy) => self.copy_words(copy)?.history(),
            Command::Run(run) => self.run_history(run),
            Command::Workdir(path) => {
                let Some(path) = self.joined_workdir(path)? else {
                    return Ok(());
                };
                self.state.config.config.working_dir.clone_from(&path);
                format!("WORKDIR {path}")
            }
            // Nothing else is ever cached.
            other => return self.change_config(other),
        };
        let created = match self.plan_run.run.clock {
            Clock::Wall => created.to_owned(),
            fixed @ Clock::Fixed(_) => fixed.rfc3339(),
        };
        self.plan_run.run.text.charge(text.len())?;
        self.state.record(created, text, layer);
        Ok(())
    }

    /// Executes one instruction.
    pub(crate) fn apply(&mut self, instruction: &Instruction) -> Result<(), StepError> {
        self.span = instruction.span;
        match &instruction.command {
            Command::Add(add) => self.add(add),
            Command::Copy(copy) => self.copy(copy),
            Command::Run(run) => self.run(run),
            Command::Workdir(path) => self.set_workdir(path),
            other => self.change_config(other),
        }
    }

    /// One word with the variables as they are before this instruction (B16).
    fn expand(&self, word: &str) -> Result<String, StepError> {
        let expanded = self.plan_run.plan.expander.word(word, &self.state.scope)?;
        self.plan_run.run.text.charge(expanded.text.len())?;
        Ok(expanded.text)
    }

    /// The value of a flag; one that is empty after expansion is as good as none.
    fn expand_option(&self, word: Option<&String>) -> Result<Option<String>, StepError> {
        let value = word.map(|word| self.expand(word)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// A path of the image has to be one that the kernel can be asked for; each directory on the way is an entry with a
    /// path of its own.
    fn check_path(what: &str, path: &str) -> Result<(), StepError> {
        if path.len() > LONGEST_PATH {
            return Err(StepError::TooLong {
                what: format!("the {what} `{}`", shortened(path)),
                length: path.len(),
                limit: LONGEST_PATH,
                name: "PATH_MAX",
            });
        }
        Ok(())
    }

    fn build_args(&self) -> &BuildArgs {
        &self.plan_run.build_args
    }

    /// The image's own users and groups, read only if `user` names one (E28).
    fn accounts_for(&mut self, user: &str) -> Result<Accounts, StepError> {
        /// No passwd file of an image is larger.
        const LIMIT: u64 = 16 << 20;
        if !Accounts::needed_for(user) {
            return Ok(Accounts::default());
        }
        let view = self
            .state
            .view(&self.plan_run.run.blobs, &self.plan_run.run.spool)?;
        let read = |path: &[u8]| {
            view.read_small(path, LIMIT)
                .map(Option::unwrap_or_default)
                .map_err(StepError::Image)
        };
        Ok(Accounts::parse(&read(b"etc/passwd")?, &read(b"etc/group")?))
    }

    /// Whom a layer of this step is for.
    fn subject(&self) -> Subject {
        Subject::Step(self.step.clone())
    }

    fn record(
        &mut self,
        created_by: String,
        layer: Option<kiln_store::layers::Layer>,
    ) -> Result<(), StepError> {
        self.plan_run.run.text.charge(created_by.len())?;
        let created = self.plan_run.run.clock.rfc3339();
        self.state.record(created, created_by, layer);
        Ok(())
    }
}
