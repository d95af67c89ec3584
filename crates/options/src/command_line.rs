//! The command lines of both binaries: clap underneath, kaniko's manners on top.

mod manners;
mod report;

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{ExecutorOptions, OptionError, PushImageOptions, WarmerOptions};

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
    /// Print the version
    Version,
}

/// The command line of the warmer.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "warmer",
    version,
    about = "Fetch base images into a folder that builds take them from"
)]
pub struct WarmerCommand {
    /// What is fetched.
    #[command(flatten)]
    pub options: WarmerOptions,
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

    /// Reads the arguments, the first of which is the program's name.
    fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let mut command = Self::adjusted();
        let parsed = command.try_get_matches_from_mut(arguments);
        parsed
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| report::explain(&command, &error))
    }
}

impl CommandLine for ExecutorCommand {}

impl CommandLine for WarmerCommand {
    fn adjusted() -> Command {
        // The shared groups leave short names to the binaries, which disagree about them.
        kaniko_manners(Self::command()).mut_arg("cache_dir", |arg| arg.short('c'))
    }
}
