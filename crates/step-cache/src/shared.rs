//! Equal steps of one build: executed once, by whichever stage gets there first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kiln_cache_key::CacheKey;
use kiln_store::layers::Layer;

/// What a step gave.
#[derive(Debug, Clone)]
pub struct Given {
    /// `None` when it made no layer.
    pub layer: Option<Layer>,
    /// The time of its history entry, RFC 3339.
    pub created: String,
}

/// What came of a step; `None` for a failure.
type Outcome = Arc<OnceLock<Option<Given>>>;

/// The steps that are being executed or were, by key.
#[derive(Debug, Default)]
pub struct SharedSteps(Mutex<HashMap<CacheKey, Outcome>>);

/// The right to execute a step; whoever waits for it hears of a failure when this is dropped.
#[derive(Debug)]
pub struct Claim(Outcome);

impl Claim {
    /// Hands the result to whoever waits.
    pub fn keep(self, given: Given) {
        // Nobody else sets it.
        let _ = self.0.set(Some(given));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Has no effect when there is an outcome.
        let _ = self.0.set(None);
    }
}

impl SharedSteps {
    /// The claim, for the first who asks; else what the step gave, which may have to be waited for, or nothing if it
    /// failed. `waiting` is called before it is waited for.
    /// Blocks; not for async code. No two stages wait for each other: a key holds those of all it reads.
    pub fn claim(&self, key: CacheKey, waiting: impl FnOnce()) -> Result<Claim, Option<Given>> {
        let outcome = Outcome::default();
        let known = {
            let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match steps.get(&key) {
                Some(known) => known.clone(),
                None => {
                    steps.insert(key, Arc::clone(&outcome));
                    return Ok(Claim(outcome));
                }
            }
        };
        if known.get().is_none() {
            waiting();
        }
        Err(known.wait().clone())
    }
}

#[cfg(test)]
mod tests {
    use kiln_cache_key::Parts;

    use super::*;

    fn given(created: &str) -> Given {
        Given {
            layer: None,
            created: created.to_owned(),
        }
    }

    // conformance: H18
    #[test]
    fn the_first_executes_and_the_others_take() {
        let steps = SharedSteps::default();
        let key = Parts::new().key(None);
        let claim = steps.claim(key, || {}).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| steps.claim(key, || {}).unwrap_err());
            claim.keep(given("then"));
            let taken = other.join().unwrap();
            assert_eq!(taken.map(|taken| taken.created).as_deref(), Some("then"));
        });
        let failing = Parts::new().with("a", "b").key(None);
        drop(steps.claim(failing, || {}).unwrap());
        assert!(steps.claim(failing, || {}).unwrap_err().is_none());
    }
}
