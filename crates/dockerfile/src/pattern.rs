//! Ignore patterns.

/// A pattern that is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A37
    #[error("illegal exclusion pattern: \"!\"")]
    EmptyException,
    /// A37
    #[error("syntax error in pattern `{pattern}`")]
    Syntax {
        /// The pattern, lossily decoded.
        pattern: String,
    },
}

/// Compiled exclusion rules, in order (A36-A40, A44).
#[derive(Debug, Clone, Default)]
pub struct PatternSet {}

impl PatternSet {
    /// Reads a `.dockerignore` file.
    pub fn parse_ignore_file(_text: &[u8]) -> Result<Self, PatternError> {
        todo!()
    }

    /// Compiles patterns given one by one (`--exclude`).
    pub fn new<I, S>(_patterns: I) -> Result<Self, PatternError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        todo!()
    }

    /// Whether `path` is excluded, itself or through a parent (A39).
    pub fn is_excluded(&self, _path: &[u8]) -> bool {
        todo!()
    }

    /// False when `dir` is excluded and so is everything that could be below it.
    pub fn may_include_below(&self, _dir: &[u8]) -> bool {
        todo!()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}
