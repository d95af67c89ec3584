//! Comments, kept for whoever shows, documents or rewrites a file.

use crate::position::Span;

/// A whole-line comment (A10); parser directives and lines of heredoc bodies are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// What is behind the `#`, without blanks around it.
    pub text: String,
    /// From the `#` to the end of the line.
    pub span: Span,
}

impl Comment {
    /// Number of its line, from 1.
    pub fn line(&self) -> u32 {
        self.span.line()
    }
}

/// The comments on the lines directly above `line`, without a gap.
pub(crate) fn block_above(comments: &[Comment], line: u32) -> &[Comment] {
    let end = comments.partition_point(|comment| comment.line() < line);
    let mut start = end;
    let mut next = line;
    while start > 0 && comments[start - 1].line() + 1 == next {
        start -= 1;
        next -= 1;
    }
    &comments[start..end]
}
