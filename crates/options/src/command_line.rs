//! The command lines of both binaries: clap underneath, kaniko's manners on top.

mod manners;
mod report;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    CacheOptions, ExecutorOptions, ExplainOptions, ListOptions, LogFormat, OptionError,
    PruneOptions, PushImageOptions, WarmerOptions, failure_text,
};

pub use manners::kaniko_manners;

/// The command line of the executor.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "executor",
    version,
    about = "Build a container image from a Dockerfile and push it, without a daemon",
    subcommand_negates_reqs = true
)]
pub struct ExecutorCommand {
    /// What is built.
    #[command(flatten)]
    pub options: ExecutorOptions,
    /// What is done instead of building.
    #[command(subcommand)]
    pub action: Option<ExecutorAction>,
}

/// What the executor can do besides building.
#[derive(Debug, Clone, Subcommand)]
pub enum ExecutorAction {
    /// Store credentials for a registry
    #[cfg(feature = "login")]
    Login(crate::LoginOptions),
    /// Push an image that was built before
    Push(Box<PushImageOptions>),
    /// Look at the layer cache
    #[command(subcommand, arg_required_else_help = false)]
    Cache(CacheAction),
    /// Print the version
    Version,
}

/// What the executor can do with its cache besides using it.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheAction {
    /// Say for each step whether it is cached, and what changed
    Explain(Box<ExplainOptions>),
}

/// The command line of the warmer.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "warmer",
    version,
    about = "Fetch base images into a folder that builds take them from",
    // A folder given before the subcommand would be overlooked.
    args_conflicts_with_subcommands = true
)]
pub struct WarmerCommand {
    /// What is fetched.
    #[command(flatten)]
    pub options: WarmerOptions,
    /// What is done instead of fetching.
    #[command(subcommand)]
    pub action: Option<WarmerAction>,
}

/// What the warmer can do besides fetching.
#[derive(Debug, Clone, Subcommand)]
pub enum WarmerAction {
    /// List the images in the folder
    List(ListOptions),
    /// Remove from the folder what is not needed any more; safe while others use it
    Prune(PruneOptions),
}

/// A command line that is complete without any work.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: the text for stdout.
    Print(String),
    /// The command line is wrong.
    Wrong(OptionError),
}

/// A command line that can be parsed with kaniko's manners.
pub trait CommandLine: CommandFactory + FromArgMatches {
    /// The command as clap knows it, with every adjustment.
    fn adjusted() -> Command {
        kaniko_manners(Self::command())
    }

    /// Refuses what clap accepts.
    fn check(_command: &Command, _matches: &ArgMatches) -> Result<(), OptionError> {
        Ok(())
    }

    /// Reads the arguments, the first of which is the program's name.
    fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let mut command = Self::adjusted();
        let parsed = command.try_get_matches_from_mut(arguments);
        let explain = |error| report::explain(&command, &error);
        let matches = parsed.map_err(explain)?;
        Self::check(&command, &matches).map_err(Stop::Wrong)?;
        Self::from_arg_matches(&matches).map_err(explain)
    }
}

impl CommandLine for ExecutorCommand {
    /// `cache explain` has the flags of a build as its own. One before these words would be read and forgotten, and
    /// the answer would be about another build.
    fn check(command: &Command, matches: &ArgMatches) -> Result<(), OptionError> {
        if matches.subcommand_name() != Some("cache") {
            return Ok(());
        }
        let misplaced = command.get_arguments().find(|arg| {
            !arg.is_global_set()
                && matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        match misplaced.and_then(clap::Arg::get_long) {
            Some(flag) => Err(OptionError::FlagBeforeCommand {
                flag: format!("--{flag}"),
                command: "cache explain",
            }),
            None => Ok(()),
        }
    }
}

impl CommandLine for WarmerCommand {
    fn adjusted() -> Command {
        // The shared groups leave short names to the binaries, which disagree about them.
        let command = kaniko_manners(Self::command()).mut_arg("cache_dir", |arg| arg.short('c'));
        CacheOptions::LAYER_ARGUMENTS
            .into_iter()
            .fold(command, |command, name| {
                command.mut_arg(name, |arg| arg.hide(true))
            })
    }
}

impl Stop {
    /// Prints what there is to say and gives the exit code: 0 after help, 1 after a mistake, usage included (K).
    /// `format` is that of the log, as far as it is known.
    pub fn report(&self, format: LogFormat) -> ExitCode {
        match self {
            Self::Print(text) => {
                // Nobody is left to tell when stdout is closed.
                let _ = write!(std::io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            Self::Wrong(error) => report_failure(format, error, None, error.hint().as_deref(), 1),
        }
    }
}

/// Prints a failure on stderr, in the form of [`failure_text`] or as a line of a JSON log, and gives `code` as exit code,
/// or 1 if it is none.
pub fn report_failure(
    format: LogFormat,
    error: &dyn std::error::Error,
    excerpt: Option<&str>,
    hint: Option<&str>,
    code: i32,
) -> ExitCode {
    let text = match format {
        #[cfg(feature = "logging")]
        LogFormat::Json => {
            let time = format!("{:.0}", jiff::Timestamp::now());
            crate::failure::failure_json(error, excerpt, hint, time)
        }
        _ => failure_text(error, excerpt, hint),
    };
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(
        u8::try_from(code)
            .ok()
            .filter(|code| *code != 0)
            .unwrap_or(1),
    )
}
