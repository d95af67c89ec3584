//! Instructions that ask for too much.

use crate::command::{Command, CommandLine};
use crate::error::Fault;
use crate::limits::{MOST_MOUNTS, MOST_WORDS};

/// The fault of an instruction that asks for too much.
pub(crate) fn excess(command: &Command) -> Result<(), Fault> {
    let (words, heredocs) = match command {
        Command::Add(add) => (add.sources.len() + add.excludes.len(), 0),
        Command::Copy(copy) => (copy.sources.len() + copy.excludes.len(), 0),
        Command::Arg(args) => (args.len(), 0),
        Command::Env(pairs) | Command::Label(pairs) => (pairs.len(), 0),
        Command::Expose(words) | Command::Shell(words) | Command::Volume(words) => (words.len(), 0),
        Command::Cmd(line) | Command::Entrypoint(line) => (exec_words(line), 0),
        Command::Run(run) => (
            exec_words(&run.command) + run.devices.len(),
            run.heredocs.len(),
        ),
        Command::Healthcheck(_)
        | Command::Maintainer(_)
        | Command::Onbuild(_)
        | Command::Stopsignal(_)
        | Command::User(_)
        | Command::Workdir(_) => (0, 0),
    };
    if words + heredocs > MOST_WORDS {
        return Err(Fault::TooMany {
            what: "words in one instruction",
            limit: MOST_WORDS,
            name: "MOST_WORDS",
            remedy: "split it",
        });
    }
    let mounts = match command {
        Command::Run(run) => run.mounts.len(),
        _ => 0,
    };
    if mounts > MOST_MOUNTS {
        return Err(Fault::TooMany {
            what: "mounts in one RUN",
            limit: MOST_MOUNTS,
            name: "MOST_MOUNTS",
            remedy: "mount a directory that holds them",
        });
    }
    Ok(())
}

fn exec_words(line: &CommandLine) -> usize {
    match line {
        CommandLine::Shell(_) => 0,
        CommandLine::Exec(words) => words.len(),
    }
}
