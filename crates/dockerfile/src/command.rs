//! The typed instructions a Dockerfile line turns into.
//!
//! Nothing here is expanded: variables, and the quotes around them, are still in the text, because
//! the values they see are only known when the step runs (B12).

use std::time::Duration;

use crate::heredoc::Heredoc;
use crate::position::Span;

/// One instruction of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The lines it covers, heredoc bodies included.
    pub span: Span,
    /// The logical line as written, continuations joined, without heredoc bodies.
    pub source: String,
    /// What it asks for.
    pub command: Command,
}

/// What an instruction asks for; `FROM` is not among them, it opens a [`crate::Stage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `ADD`
    Add(Add),
    /// `ARG`, one or more in a line (A24)
    Arg(Vec<ArgDef>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Vec<KeyValue>),
    /// `EXPOSE`, the words as written; see [`crate::parse_expose`]
    Expose(Vec<String>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Vec<KeyValue>),
    /// `MAINTAINER`
    Maintainer(String),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`
    Shell(Vec<String>),
    /// `STOPSIGNAL`; see [`crate::validate_signal`] for the check after expansion
    Stopsignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

impl Command {
    /// The definitions of an `ARG`.
    pub fn args(&self) -> Option<&[ArgDef]> {
        match self {
            Self::Arg(args) => Some(args),
            _ => None,
        }
    }

    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// The two ways to write a command (A20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the shell.
    Shell(String),
    /// The JSON form: arguments as they are.
    Exec(Vec<String>),
}

/// One `ARG` definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDef {
    /// The name, unexpanded.
    pub name: String,
    /// The text behind `=`, unexpanded; `Some("")` and `None` differ (B21).
    pub default: Option<String>,
}

/// One pair of `ENV` or `LABEL`, quotes kept for the expander.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The text before the first `=`, unexpanded.
    pub key: String,
    /// The text behind it, unexpanded.
    pub value: String,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command; with heredocs, the text of the first line only.
    pub command: CommandLine,
    /// The bodies, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` values as written; see [`crate::Mount::parse`].
    pub mounts: Vec<String>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`: `sandbox` or `insecure`.
    pub security: Option<String>,
    /// `--device` values as written.
    pub devices: Vec<String>,
}

impl Run {
    /// The heredoc that alone is the script (`RUN <<EOF`, D21); `None` when a shell has to read the
    /// line as well.
    pub fn script(&self) -> Option<&Heredoc> {
        let CommandLine::Shell(text) = &self.command else {
            return None;
        };
        match self.heredocs.as_slice() {
            [only] if Heredoc::is_whole_text(text) => Some(only),
            _ => None,
        }
    }

    /// The text for the shell: the line, then each body and its terminator (D23); for the JSON form
    /// the arguments joined with blanks.
    pub fn shell_text(&self) -> String {
        let mut text = match &self.command {
            CommandLine::Shell(text) => text.clone(),
            CommandLine::Exec(words) => words.join(" "),
        };
        for heredoc in &self.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        text
    }
}

/// One source of `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, pattern or URL, unexpanded.
    Path(String),
    /// A file written in the Dockerfile itself (E49).
    Heredoc(Heredoc),
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// At least one.
    pub sources: Vec<Source>,
    /// Unexpanded.
    pub destination: String,
    /// `--from`, never expanded (B14).
    pub from: Option<String>,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded; see [`crate::Chmod`].
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude` patterns, unexpanded.
    pub excludes: Vec<String>,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Add {
    /// At least one.
    pub sources: Vec<Source>,
    /// Unexpanded.
    pub destination: String,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded; see [`crate::Chmod`].
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--exclude` patterns, unexpanded.
    pub excludes: Vec<String>,
    /// `--checksum`, unexpanded.
    pub checksum: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; absent means archives are, URLs are not (E37, E43).
    pub unpack: Option<bool>,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthTest {
    /// `HEALTHCHECK NONE`
    None,
    /// Text for the shell.
    Shell(String),
    /// Arguments as they are.
    Exec(Vec<String>),
}

/// `HEALTHCHECK`; a time or count that is absent or zero is inherited (A28).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// The check itself.
    pub test: HealthTest,
    /// `--interval`
    pub interval: Option<Duration>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--start-period`
    pub start_period: Option<Duration>,
    /// `--start-interval`
    pub start_interval: Option<Duration>,
    /// `--retries`
    pub retries: Option<u32>,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as written, heredoc bodies included (C18); see [`crate::parse_trigger`].
    pub trigger: String,
}
