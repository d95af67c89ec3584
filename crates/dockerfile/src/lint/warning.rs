//! Findings that do not stop a build.

use std::fmt;

use super::rules::Rule;
use crate::position::Span;

/// A lint finding; it never changes the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule that was broken.
    pub rule: &'static Rule,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where.
    pub span: Span,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (line {})",
            self.rule,
            self.message,
            self.span.line()
        )
    }
}
