//! The parsed file: directives, global arguments and stages.

use crate::command::Instruction;
use crate::position::Span;
use crate::warning::Warning;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The `# key=value` lines at the top.
    pub directives: Directives,
    /// `ARG` lines before the first `FROM`, visible to `FROM` lines only (B17).
    pub global_args: Vec<Instruction>,
    /// The stages in file order; never empty.
    pub stages: Vec<Stage>,
    /// What is legal but better written otherwise; rules skipped by `# check` are left out.
    pub warnings: Vec<Warning>,
    /// The source lines without their line ends, for excerpts.
    pub lines: Vec<String>,
}

impl Dockerfile {
    /// The numbered lines of `span` with two lines around them, marked with `>>>` (A16).
    pub fn excerpt(&self, span: Span) -> String {
        crate::excerpt::marked_lines(&self.lines, span)
    }
}

/// The parser directives at the top of the file (A1-A6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`, accepted and ignored.
    pub syntax: Option<String>,
    /// `# escape=`: a backslash or a backtick.
    pub escape: char,
    /// `# check=`
    pub check: Option<Check>,
}

/// The `# check=` directive (A6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Rules to leave out.
    pub skip: Vec<String>,
    /// `skip=all`
    pub skip_all: bool,
    /// `error=true`: any warning fails the build, after all of them were shown.
    pub error: bool,
    /// Experimental rules to switch on.
    pub experimental: Vec<String>,
}

impl Check {
    /// Whether `rule` is not to be reported; names compare in any case.
    pub fn skips(&self, rule: &str) -> bool {
        self.skip_all || self.skip.iter().any(|name| name.eq_ignore_ascii_case(rule))
    }
}

/// One `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Position in the file, from 0.
    pub index: usize,
    /// The name behind `AS`, lower-cased.
    pub name: Option<String>,
    /// The `FROM` line.
    pub from: From,
    /// Everything up to the next `FROM`.
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// The name that messages use: its own, or `stage-N`.
    pub fn display_name(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("stage-{}", self.index))
    }
}

/// A `FROM` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// Image or stage, unexpanded.
    pub image: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// The lines it covers.
    pub span: Span,
    /// The logical line as written.
    pub source: String,
}
