//! Word expansion.
use std::collections::BTreeSet;

use crate::lookup::Lookup;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {fault}")]
pub struct ExpandError {
    /// The whole word.
    pub word: String,
    /// What is wrong with it.
    pub fault: ExpandFault,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandFault {
    /// B9
    #[error("unexpected end of statement while looking for matching {quote}-quote")]
    OpenQuote {
        /// `single` or `double`.
        quote: &'static str,
    },
}

/// An expanded word, and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The result, quotes removed.
    pub text: String,
    /// Names that had a value.
    pub used: BTreeSet<String>,
    /// Names that had none.
    pub unset: BTreeSet<String>,
}

/// Expands words under one `escape` directive.
#[derive(Debug, Clone, Copy)]
pub struct Expander {
    escape: char,
}

impl Expander {
    /// An expander for files with this escape character.
    pub fn new(escape: char) -> Self {
        Self { escape }
    }

    /// Expands one word; blanks stay what they are (B11).
    pub fn word(&self, _word: &str, _vars: &dyn Lookup) -> Result<Expanded, ExpandError> {
        let _ = self.escape;
        todo!()
    }

    /// Expands a word and splits the result at unquoted blanks (`EXPOSE`, B11).
    pub fn words(&self, _word: &str, _vars: &dyn Lookup) -> Result<Vec<String>, ExpandError> {
        todo!()
    }

    /// Expands the body of a `COPY` or `ADD` heredoc: quotes are ordinary text (B15).
    pub fn heredoc(&self, _body: &str, _vars: &dyn Lookup) -> Result<String, ExpandError> {
        todo!()
    }
}
