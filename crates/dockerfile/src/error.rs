//! What can be wrong with a Dockerfile, and how it is shown.

use std::fmt;

use crate::chmod::ChmodError;
use crate::expand::ExpandError;
use crate::expose::ExposeError;
use crate::mount::MountError;
use crate::pattern::PatternError;
use crate::position::{Position, Span};
use crate::shorten::shortened;
use crate::signal::SignalError;
use crate::stage_error::StageError;
use crate::suggest::did_you_mean;

/// One fault of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where; `None` when the file as a whole is at fault.
    pub span: Option<Span>,
    /// First line of the logical instruction the fault is in, from 1; this is the line messages name (A15).
    pub line: Option<u32>,
    /// What is wrong.
    pub fault: Fault,
    /// The source line with a caret below the place; empty without a span.
    pub excerpt: String,
}

impl Diagnostic {
    /// A fault of the file as a whole.
    pub(crate) fn of_file(fault: Fault) -> Self {
        Self {
            span: None,
            line: None,
            fault,
            excerpt: String::new(),
        }
    }

    /// The exact place, which may be on a later line than the instruction begins on.
    pub fn position(&self) -> Option<Position> {
        self.span.map(|span| span.start)
    }

    /// The fault and its place as `FILE:LINE:COLUMN: what is wrong`, then the excerpt.
    fn write_in(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some(position) => write!(f, "{file}:{position}: {}", self.what())?,
            None if self.line.is_some() => {
                write!(f, "{file}:{}: {}", self.line.unwrap_or(1), self.what())?;
            }
            None => write!(f, "{file}: {}", self.what())?,
        }
        if let (Some(line), Some(position)) = (self.line, self.position())
            && line != position.line
        {
            write!(f, ", in the instruction on line {line}")?;
        }
        self.write_excerpt(f)
    }

    /// What is wrong; a fault that quotes a word of a megabyte does not show all of it.
    pub fn what(&self) -> String {
        shortened(&self.fault.to_string()).into_owned()
    }

    fn write_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.excerpt.is_empty() {
            write!(f, "\n{}", self.excerpt.trim_end_matches('\n'))?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "dockerfile parse error on line {line}: {}", self.what())?,
            None => write!(f, "dockerfile parse error: {}", self.what())?,
        }
        self.write_excerpt(f)
    }
}

/// A forgotten `\\` makes every line behind it an unknown instruction; nobody reads further than this.
const MOST_SHOWN: usize = 50;

/// Everything that is wrong with a file, in line order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// At least one.
    pub errors: Vec<Diagnostic>,
}

impl ParseError {
    /// The line of the first fault, from 1.
    pub fn line(&self) -> Option<u32> {
        self.errors.first().and_then(|e| e.line)
    }

    /// The text for whoever knows the name of the file: each fault begins with `FILE:LINE:COLUMN:`, which editors and
    /// people look for.
    pub fn in_file(&self, file: &str) -> impl fmt::Display {
        fmt::from_fn(move |f| self.write(f, |error, f| error.write_in(file, f)))
    }

    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        one: impl Fn(&Diagnostic, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        for (index, error) in self.errors.iter().take(MOST_SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            one(error, f)?;
        }
        match self.errors.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n\n... and {more} more errors"),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, fmt::Display::fmt)
    }
}

impl std::error::Error for ParseError {}

/// The kinds of fault; the texts keep BuildKit's meaning, and its wording where people search for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A14
    #[error("the Dockerfile cannot be empty")]
    Empty,
    /// A14
    #[error("file with no instructions")]
    NoInstructions,
    /// A14
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// A14
    #[error("no build stage in current context: `{instruction}` stands before the first FROM")]
    BeforeFrom {
        /// The instruction's name in capitals.
        instruction: String,
    },
    /// The text is not UTF-8 outside a comment; no image config could hold it.
    #[error("line is not valid UTF-8")]
    NotUtf8,
    /// More of something than any file needs.
    #[error("more than {limit} {what}, the limit {name}: {remedy}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
        /// The limit's name in the documentation.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A3
    #[error("only one {key} parser directive can be used")]
    DuplicateDirective {
        /// The directive's name in lower case.
        key: &'static str,
    },
    /// A4
    #[error("invalid escape token '{value}' does not match ` or \\")]
    EscapeToken {
        /// The value given.
        value: String,
    },
    /// A6
    #[error(
        "invalid check option `{option}`: expected skip=RULE,..., error=true or experimental=RULE,..."
    )]
    CheckOption {
        /// The part that is not understood.
        option: String,
    },
    /// A15
    #[error("unknown instruction: {name}{}", did_you_mean(suggestion.as_deref()))]
    UnknownInstruction {
        /// As written.
        name: String,
        /// A known one that looks like it.
        suggestion: Option<String>,
    },
    /// A18
    #[error("unknown flag: --{name}{}{}", did_you_mean(suggestion.as_deref()), flag_of(*owner))]
    UnknownFlag {
        /// As written, without dashes.
        name: String,
        /// A known one that looks like it.
        suggestion: Option<String>,
        /// The instructions that do have a flag of this name.
        owner: Option<&'static str>,
    },
    /// A18
    #[error("duplicate flag specified: --{name}")]
    DuplicateFlag {
        /// Without dashes.
        name: String,
    },
    /// A19
    #[error("missing a value on flag: --{name}")]
    MissingFlagValue {
        /// Without dashes.
        name: String,
    },
    /// A19
    #[error("expecting boolean value for flag --{name}, not: {value}")]
    NotBoolean {
        /// Without dashes.
        name: String,
        /// The value given.
        value: String,
    },
    /// `RUN --network` or `--security` with a value nobody knows.
    #[error("invalid value `{value}` for flag --{name}: expected {expected}{}", did_you_mean(suggestion.as_deref()))]
    FlagValue {
        /// Without dashes.
        name: &'static str,
        /// The value given.
        value: String,
        /// The values that exist.
        expected: &'static str,
        /// A known one that looks like it.
        suggestion: Option<String>,
    },
    /// B14
    #[error(
        "'from' doesn't support variable expansion, define alias stage instead: `FROM {value} AS name`, then `--from=name`"
    )]
    FromVariable {
        /// The value given.
        value: String,
    },
    /// A20
    #[error("arrays must be comprised of strings only")]
    NotStrings,
    /// A21
    #[error("{instruction} requires the arguments to be in JSON form")]
    NotJson {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A27
    #[error("{instruction} requires at least one argument")]
    AtLeastOne {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A27
    #[error("{instruction} requires exactly one argument")]
    ExactlyOne {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A26
    #[error(
        "{instruction} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A26
    #[error("{instruction} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A32
    #[error("unterminated heredoc: no line consists of `{name}` alone")]
    UnterminatedHeredoc {
        /// The delimiter.
        name: String,
    },
    /// A23
    #[error("{instruction} must have two arguments")]
    TwoArguments {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A23
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoEquals {
        /// The word without `=`.
        word: String,
    },
    /// A23, A24
    #[error("{instruction} names can not be blank")]
    BlankName {
        /// The instruction's name in capitals.
        instruction: &'static str,
    },
    /// A25
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A25
    #[error(
        "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
    )]
    StageName {
        /// As written.
        name: String,
    },
    /// A27
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// A28
    #[error("Unknown type {name:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType {
        /// As written.
        name: String,
    },
    /// A28
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// A28
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// A28
    #[error("{problem} in flag --{name}")]
    Duration {
        /// Without dashes.
        name: &'static str,
        /// What is wrong with it.
        problem: kiln_shown::DurationError,
    },
    /// A28
    #[error("Interval {name:?} cannot be less than 1ms")]
    ShortInterval {
        /// Without dashes.
        name: &'static str,
    },
    /// A28
    #[error("--retries cannot be negative ({value})")]
    NegativeRetries {
        /// The value given.
        value: String,
    },
    /// A28
    #[error("--retries is not a number: `{value}`")]
    Retries {
        /// The value given.
        value: String,
    },
    /// A29
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    /// A29
    #[error("{name} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger {
        /// The instruction's name in capitals.
        name: &'static str,
    },
    /// E45
    #[error("source can't be a URL for COPY")]
    CopyUrl,
    /// A trigger text has to be one instruction.
    #[error("expected one instruction, found more")]
    MoreThanOne,
    /// D24
    #[error(transparent)]
    Mount(#[from] MountError),
    /// C5, C6
    #[error(transparent)]
    Stage(#[from] StageError),
    /// B8, B9: wrong whatever the variables are.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// E29
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// F2
    #[error(transparent)]
    Expose(#[from] ExposeError),
    /// F13
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// E6, E34
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// C13: `FROM --platform` with something that is no platform.
    #[error("`{value}` is not a platform: write `os/architecture` or `os/architecture/variant`")]
    Platform {
        /// The value given.
        value: String,
    },
    /// E46
    #[error("invalid value `{value}` for flag --checksum: {expected}")]
    Checksum {
        /// The value given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// ` (a flag of x)`, or nothing.
fn flag_of(owner: Option<&str>) -> String {
    owner
        .map(|owner| format!(" (a flag of {owner})"))
        .unwrap_or_default()
}
