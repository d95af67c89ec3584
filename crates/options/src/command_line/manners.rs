//! Makes clap read flags as kaniko's parser does.

use std::any::TypeId;

use clap::{Arg, ArgAction, Command};

/// Adjusts a command and its subcommands: a boolean takes `--x` and `--x=false` and leaves the next word alone, any
/// other flag takes the next word whatever it looks like, and the last of a repeated flag wins.
///
/// Whoever flattens an option group into a command of their own should pass that command through here.
pub fn kaniko_manners(command: Command) -> Command {
    command
        .args_override_self(true)
        .max_term_width(120)
        .mut_args(adjust)
        .mut_subcommands(kaniko_manners)
}

fn adjust(arg: Arg) -> Arg {
    if arg.is_positional() {
        return arg;
    }
    if arg.get_value_parser().type_id() == TypeId::of::<bool>() {
        return boolean(arg);
    }
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

fn boolean(arg: Arg) -> Arg {
    let is_plain =
        matches!(arg.get_action(), ArgAction::SetTrue) && arg.get_default_values().is_empty();
    let arg = arg
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("BOOL")
        .value_parser(crate::value::boolean);
    if is_plain {
        arg.default_value("false").hide_default_value(true)
    } else {
        arg
    }
}
