//! How much text a Dockerfile may make of itself: variables that hold variables grow without end, and every stage, step
//! and history entry has its own copy.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of expanded words, variables, labels and history in all stages of a build together. What is counted is held up
/// to three times.
const MOST_TEXT: usize = 32 << 20;

/// Bytes of the ARGs and ENVs that one stage sees; the kernel gives a command no more than two million.
pub(crate) const MOST_VARIABLES: usize = 1 << 20;

/// A build that makes more text than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMuchText {
    /// All of it.
    #[error(
        "the words of this build, with their variables replaced, take more than {MOST_TEXT} bytes, the limit MOST_TEXT: \
         put what is long into files"
    )]
    Build,
    /// The variables of one stage.
    #[error(
        "the ARGs and ENVs of a stage take more than {MOST_VARIABLES} bytes, the limit MOST_VARIABLES: put what is long \
         into files"
    )]
    Variables,
}

/// Counts what was made so far.
#[derive(Debug, Default)]
pub struct TextBudget(AtomicUsize);

impl TextBudget {
    /// Counts some more.
    pub fn charge(&self, bytes: usize) -> Result<(), TooMuchText> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MOST_TEXT {
            return Err(TooMuchText::Build);
        }
        Ok(())
    }

    /// Forgets what a look ahead made, which is gone.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Whether variables of this size may be.
pub fn check_variables(bytes: usize) -> Result<(), TooMuchText> {
    if bytes > MOST_VARIABLES {
        return Err(TooMuchText::Variables);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 11
    #[test]
    fn text_has_an_end() {
        let budget = TextBudget::default();
        assert_eq!(budget.charge(MOST_TEXT), Ok(()));
        assert_eq!(budget.charge(1), Err(TooMuchText::Build));
        budget.reset();
        assert_eq!(budget.charge(usize::MAX), Err(TooMuchText::Build));
        assert_eq!(check_variables(MOST_VARIABLES), Ok(()));
        assert!(check_variables(MOST_VARIABLES + 1).is_err());
    }
}
