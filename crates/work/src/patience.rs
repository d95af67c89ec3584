//! How long somebody else who holds a lock is waited for. Who holds one may be slow, or stopped for ever.

use std::time::{Duration, Instant};

/// Longer than any transfer that is worth waiting for; after it the waiter does the work itself.
pub const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// How often is looked.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Waiting that has an end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    end: Instant,
}

impl Patience {
    /// Begins to wait, for `longest` at the most.
    pub fn of(longest: Duration) -> Patience {
        Patience {
            end: Instant::now() + longest,
        }
    }

    /// Waits a moment; `false` when it was long enough.
    pub async fn wait(self) -> bool {
        tokio::time::sleep(ASK_AGAIN).await;
        Instant::now() < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends() {
        assert!(!Patience::of(Duration::ZERO).wait().await);
        assert!(Patience::of(LONGEST_WAIT).wait().await);
    }
}
