//! Where something stands in the Dockerfile.

use std::fmt;

/// A place in the source text; both numbers start at 1 and the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Physical line, from 1.
    pub line: u32,
    /// Character within the line, from 1.
    pub column: u32,
}

impl Position {
    /// The position at `line` and `column`, both from 1.
    pub fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A stretch of source text: `end.line` is the last line it touches, `end.column` the column just
/// behind its last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First character.
    pub start: Position,
    /// Last line, and the column behind the last character on it.
    pub end: Position,
}

impl Span {
    /// The line that messages name: the first one.
    pub fn line(&self) -> u32 {
        self.start.line
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}
