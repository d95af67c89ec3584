//! The parsed file: directives, global arguments and stages.

use crate::command::Instruction;
use crate::comment::{self, Comment};
use crate::error::Diagnostic;
use crate::position::Span;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The `# key=value` lines at the top.
    pub directives: Directives,
    /// `ARG` lines before the first `FROM`, visible to `FROM` lines only (B17).
    pub global_args: Vec<Instruction>,
    /// The stages in file order; never empty.
    pub stages: Vec<Stage>,
    /// All comments in file order, those inside continued instructions too.
    pub comments: Vec<Comment>,
    /// Of instructions with blank lines among their continued ones, the line that each ends on (A11).
    pub empty_continuations: Vec<u32>,
    /// The source lines without their line ends, for excerpts.
    pub lines: Vec<String>,
}

impl Dockerfile {
    /// The numbered lines of `span` with two lines around them, marked with `>>>` (A16).
    pub fn excerpt(&self, span: Span) -> String {
        crate::excerpt::marked_lines(&self.lines, span)
    }

    /// The comments directly above the instruction or `FROM` at `span`, without a gap; what people take for its
    /// documentation.
    pub fn comments_above(&self, span: Span) -> &[Comment] {
        comment::block_above(&self.comments, span.line())
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
    /// Where they are, by lower-case name.
    pub(crate) spans: Vec<(&'static str, Span)>,
}

impl Directives {
    /// Where the directive `key` (`syntax`, `escape` or `check`) is: from its `#` to the end of its line.
    pub fn span(&self, key: &str) -> Option<Span> {
        let found = self.spans.iter().find(|(known, _)| *known == key);
        found.map(|(_, span)| *span)
    }

    /// Whether the line is a directive and no comment.
    pub(crate) fn has_line(&self, line: u32) -> bool {
        self.spans.iter().any(|(_, span)| span.line() == line)
    }
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
    /// `experimental=all`
    pub experimental_all: bool,
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
    /// Values that no build of this stage can take, whatever its variables are: wrong modes, ports, signals, checksums,
    /// references to stages that do not exist, `${...}` that is none. They do not make the file wrong, because a stage
    /// that nothing needs may have them (C8, C10).
    pub faults: Vec<Diagnostic>,
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
