//! Dockerfile text to instructions with spans, stages, word expansion and ignore patterns.
//!
//! In goes text, out come values: nothing here touches files or the network. [`parse`] turns the
//! bytes of a Dockerfile into [`Stage`]s of typed [`Instruction`]s, each with the [`Span`] it came
//! from, or into a [`ParseError`] that lists every fault. Nothing is expanded while parsing, as values
//! are known only when a step runs: [`Expander`] does that word by word, [`Mount::parse`],
//! [`parse_expose`], [`Chmod::parse`] and [`validate_signal`] read what comes out. [`PatternSet`] is a
//! `.dockerignore` or a list of `--exclude`, [`Glob`] a source of `COPY`.
//!
//! Nothing that stands in the file is lost: comments ([`Dockerfile::comments`], [`Dockerfile::comments_above`]), the
//! places of directives ([`Directives::span`]), bodies of heredocs ([`Heredoc`]), and every line as it is written
//! ([`Dockerfile::lines`]). [`lint()`] says what is better written otherwise, by the rules in [`RULES`]. The example
//! `outline` shows all of this.
//!
//! ```
//! use kiln_dockerfile::{Command, Expander, parse};
//!
//! let file = parse(b"FROM alpine:3.22 AS build\nENV PATH=/opt/bin:$PATH\n")?;
//! let stage = &file.stages[0];
//! assert_eq!(stage.name.as_deref(), Some("build"));
//!
//! let Command::Env(pairs) = &stage.instructions[0].command else { unreachable!() };
//! let vars = [("PATH", "/bin")];
//! let value = Expander::new(file.directives.escape).word(&pairs[0].value, &vars)?;
//! assert_eq!(value.text, "/opt/bin:/bin");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod automaton;
mod chmod;
mod command;
mod comment;
mod directive;
mod dockerfile;
mod error;
mod excerpt;
mod expand;
mod expose;
mod flags;
mod glob;
mod heredoc;
mod instruction;
mod json;
mod limits;
mod lint;
mod logical;
mod lookup;
mod mount;
mod parse;
mod pattern;
mod pattern_syntax;
mod position;
mod shorten;
mod signal;
mod stage_error;
mod stage_lookup;
mod suggest;
mod truth;
mod wildcard;
mod words;

pub use chmod::{Chmod, ChmodError, ModeChange};
pub use command::{
    Add, ArgDef, Command, CommandLine, Copy, HealthTest, Healthcheck, Instruction, KeyValue,
    Onbuild, Run, Source,
};
pub use comment::Comment;
pub use dockerfile::{Check, Directives, Dockerfile, From, Stage};
pub use error::{Diagnostic, Fault, ParseError};
pub use expand::{ExpandError, ExpandFault, Expanded, Expander};
pub use expose::{ExposeError, parse_expose};
pub use glob::{Glob, GlobComponent};
pub use heredoc::Heredoc;
pub use kiln_shown::{DurationError, parse_duration};
pub use limits::{
    LONGEST_PATTERN, MOST_INSTRUCTIONS, MOST_LINES, MOST_MOUNTS, MOST_PATTERNS, MOST_STAGES,
    MOST_WORDS, MOST_WORK,
};
pub use lint::{BaseConfig, LintContext, RULES, Rule, Warning, lint};
pub use lookup::Lookup;
pub use mount::{Mount, MountError, MountType, Sharing};
pub use parse::{parse, parse_trigger};
pub use pattern::{PatternError, PatternSet};
pub use position::{Position, Span};
pub use shorten::shortened;
pub use signal::{SignalError, validate_signal};
pub use stage_error::StageError;
pub use stage_lookup::{copy_source, find_stage, find_target};
pub use suggest::closest;
