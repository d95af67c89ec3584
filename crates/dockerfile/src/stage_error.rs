//! References to stages that cannot be followed.

use crate::suggest::did_you_mean;

/// A reference to a stage that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// C5: there is no `FROM` of that number.
    #[error("invalid stage index {index}")]
    NoIndex {
        /// The number given.
        index: String,
    },
    /// C5, C6: the stage is this one or a later one.
    #[error(
        "cannot copy from stage \"{name}\", it needs to be defined before current stage \"{current}\""
    )]
    NotBefore {
        /// The name or number given.
        name: String,
        /// The stage the reference is in.
        current: String,
    },
    /// C9
    #[error("target stage \"{name}\" could not be found{}", did_you_mean(suggestion.as_deref()))]
    NoTarget {
        /// The name given.
        name: String,
        /// A stage that looks like it.
        suggestion: Option<String>,
        /// Every stage that has a name, in order.
        stages: Vec<String>,
    },
}
