//! The command lines of both binaries: every flag, every check, and the texts people read.

#![expect(
    clippy::unwrap_used,
    reason = "clippy sees the helpers of an integration test as ordinary code"
)]

mod cache;
mod checks;
mod environment;
mod flags;
mod texts;

use std::ffi::OsString;
use std::path::Path;

use kiln_options::{
    BuildSettings, CommandLine, ExecutorCommand, OptionError, Resolved, Stop, WarmSettings,
    WarmerCommand,
};

/// A folder with a context (`ctx/Dockerfile`, `ctx/sub/Dockerfile`) and a file `secret`.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("ctx/sub")).unwrap();
        for file in ["ctx/Dockerfile", "ctx/sub/Dockerfile", "secret"] {
            std::fs::write(temp.path().join(file), "FROM scratch\n").unwrap();
        }
        Self(temp)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `@/` in an argument stands for the folder.
    fn expand(&self, arguments: &[&str]) -> Vec<String> {
        let folder = self.path().to_str().unwrap();
        arguments
            .iter()
            .map(|argument| argument.replace("@/", &format!("{folder}/")))
            .collect()
    }

    /// Parses and resolves an executor command line, with the context given unless the arguments give one.
    fn build(
        &self,
        arguments: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Resolved<BuildSettings>, OptionError> {
        let mut all = self.expand(&["-c=@/ctx"]);
        all.extend(self.expand(arguments));
        let command: ExecutorCommand = parse(&all)?;
        command.options.resolve(&lookup(env))
    }

    fn settings(&self, arguments: &[&str], env: &[(&str, &str)]) -> BuildSettings {
        self.build(arguments, env)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
            .settings
    }

    fn warm(&self, arguments: &[&str], env: &[(&str, &str)]) -> Result<WarmSettings, OptionError> {
        let command: WarmerCommand = parse(&self.expand(arguments))?;
        command.options.resolve(&lookup(env))
    }
}

fn lookup(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
    |name| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    }
}

fn parse<T: CommandLine>(arguments: &[String]) -> Result<T, OptionError> {
    let all = std::iter::once("program")
        .chain(arguments.iter().map(String::as_str))
        .map(OsString::from);
    T::read(all).map_err(|stop| match stop {
        Stop::Wrong(error) => error,
        Stop::Print(text) => panic!("help instead of a parse: {text}"),
    })
}

fn executor(arguments: &[&str]) -> Result<ExecutorCommand, OptionError> {
    parse(
        &arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect::<Vec<_>>(),
    )
}

fn warmer(arguments: &[&str]) -> Result<WarmerCommand, OptionError> {
    parse(
        &arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect::<Vec<_>>(),
    )
}
