//! Dockerfile text to instructions with spans, stages, word expansion and ignore patterns.

mod chmod;
mod command;
mod dockerfile;
mod duration;
mod error;
mod excerpt;
mod expand;
mod expose;
mod glob;
mod heredoc;
mod lookup;
mod mount;
mod pattern;
mod position;
mod signal;
mod stage_lookup;
mod suggest;
mod warning;

pub use chmod::{Chmod, ChmodError, ModeChange};
pub use command::{
    Add, ArgDef, Command, CommandLine, Copy, HealthTest, Healthcheck, Instruction, KeyValue,
    Onbuild, Run, Source,
};
pub use dockerfile::{Check, Directives, Dockerfile, From, Stage};
pub use duration::{DurationError, parse_duration};
pub use error::{Diagnostic, Fault, ParseError};
pub use expand::{ExpandError, ExpandFault, Expanded, Expander};
pub use expose::{ExposeError, parse_expose};
pub use glob::{Glob, GlobComponent};
pub use heredoc::Heredoc;
pub use lookup::Lookup;
pub use mount::{Mount, MountError, MountType, Sharing};
pub use pattern::{PatternError, PatternSet};
pub use position::{Position, Span};
pub use signal::{SignalError, validate_signal};
pub use stage_lookup::{StageError, copy_source, find_stage, find_target};
pub use suggest::closest;
pub use warning::Warning;

/// Reads a whole Dockerfile.
pub fn parse(_text: &[u8]) -> Result<Dockerfile, ParseError> {
    todo!()
}

/// Reads the one instruction of an ONBUILD trigger.
pub fn parse_trigger(_text: &str, _escape: char) -> Result<Instruction, ParseError> {
    todo!()
}
