//! Turns what clap says about a command line into our own errors.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Stop;
use crate::OptionError;
use crate::nearest::nearest;
use crate::value::{ValueError, alternatives};

pub(super) fn explain(command: &Command, error: &clap::Error) -> Stop {
    let argument = || text(error, ContextKind::InvalidArg);
    let wrong = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Stop::Print(error.to_string());
        }
        ErrorKind::UnknownArgument => unknown(command, argument()),
        ErrorKind::InvalidSubcommand => {
            unexpected(command, text(error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand => OptionError::MissingArgument {
            what: subcommands(error),
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => value(error),
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            OptionError::MissingValue {
                flag: flag(&argument()),
            }
        }
        ErrorKind::TooManyValues => OptionError::InvalidValue {
            flag: flag(&argument()),
            value: text(error, ContextKind::InvalidValue),
            expected: "no value".to_owned(),
            nearest: None,
        },
        ErrorKind::MissingRequiredArgument => OptionError::MissingArgument {
            what: required(error),
        },
        _ => OptionError::Usage {
            message: first_line(error),
        },
    };
    Stop::Wrong(wrong)
}

/// A flag, or a word where none belongs.
fn unknown(command: &Command, argument: String) -> OptionError {
    if argument.starts_with('-') {
        let flags: Vec<String> = command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
            .collect();
        let nearest = nearest(&argument, flags.iter().map(String::as_str)).map(str::to_owned);
        OptionError::UnknownFlag {
            flag: argument,
            nearest,
        }
    } else {
        unexpected(command, argument)
    }
}

fn unexpected(command: &Command, argument: String) -> OptionError {
    let names = subcommand_names(command, "");
    let nearest = nearest(&argument, names.iter().map(|(name, _)| name.as_str()))
        .and_then(|nearest| names.iter().find(|(name, _)| name == nearest))
        .map(|(_, path)| path.clone());
    OptionError::UnexpectedArgument { argument, nearest }
}

/// Every subcommand at any depth: its name, and the words that lead to it.
fn subcommand_names(command: &Command, before: &str) -> Vec<(String, String)> {
    let mut names = Vec::new();
    // What `help` has below it is the same again.
    for inner in command.get_subcommands() {
        let path = format!("{before}{}", inner.get_name());
        if inner.get_name() != "help" {
            names.extend(subcommand_names(inner, &format!("{path} ")));
        }
        names.push((inner.get_name().to_owned(), path));
    }
    names
}

fn value(error: &clap::Error) -> OptionError {
    let flag = flag(&text(error, ContextKind::InvalidArg));
    let value = text(error, ContextKind::InvalidValue);
    let known =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<ValueError>());
    match known {
        Some(ValueError { expected, nearest }) => OptionError::InvalidValue {
            flag,
            value,
            expected: expected.clone(),
            nearest: nearest.clone(),
        },
        None if value.is_empty() => OptionError::MissingValue { flag },
        None => OptionError::Usage {
            message: first_line(error),
        },
    }
}

/// `--flag` of `-f, --flag <VALUE>` or `--flag[=<BOOL>]`.
fn flag(usage: &str) -> String {
    let start = usage.find("--").unwrap_or(0);
    let flag = &usage[start..];
    flag[..flag.find([' ', '=', '[']).unwrap_or(flag.len())].to_owned()
}

fn required(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => format!("`{other}`"),
        None => "an argument".to_owned(),
    }
}

/// The subcommands of which one is missing.
fn subcommands(error: &clap::Error) -> String {
    let names: Vec<&str> = match error.get(ContextKind::ValidSubcommand) {
        Some(ContextValue::Strings(names)) => names.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let names: Vec<&str> = names.into_iter().filter(|name| *name != "help").collect();
    format!("the command {}", alternatives(&names))
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
