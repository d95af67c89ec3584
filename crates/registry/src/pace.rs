//! How slow a transfer may be.

use std::pin::pin;
use std::time::{Duration, Instant};

/// A transfer that brings fewer bytes than this in [`TRANSFER_WINDOW`] is given up; it is far below any line on which
/// a build could be waited for.
pub const TRANSFER_FLOOR: u64 = 64 << 10;
/// The time in which [`TRANSFER_FLOOR`] has to come. A smaller document has to be there within it.
pub const TRANSFER_WINDOW: Duration = Duration::from_mins(1);

/// The least that a transfer has to bring, smaller in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Bytes in `window`.
    pub bytes: u64,
    /// How long is waited for them.
    pub window: Duration,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            bytes: TRANSFER_FLOOR,
            window: TRANSFER_WINDOW,
        }
    }
}

/// Why a transfer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Slow {
    /// Nothing came.
    #[error("nothing came for {} s", .after.as_secs_f64())]
    Silent {
        /// For so long.
        after: Duration,
    },
    /// Something came, but too little.
    #[error(
        "only {got} bytes came in {} s, and {} is the least a transfer has to bring in that time (TRANSFER_FLOOR)",
        .floor.window.as_secs_f64(), .floor.bytes
    )]
    Below {
        /// Bytes that came in the window.
        got: u64,
        /// What should have come.
        floor: Floor,
    },
}

/// Watches one transfer. Only time spent waiting for the other side counts, not that in which we had work to do.
#[derive(Debug)]
pub struct Pace {
    floor: Floor,
    /// The longest silence.
    patience: Duration,
    waited: Duration,
    got: u64,
}

impl Pace {
    /// For one answer; silence of more than `patience` ends it as well.
    pub fn new(floor: Floor, patience: Duration) -> Self {
        Self {
            floor,
            patience,
            waited: Duration::ZERO,
            got: 0,
        }
    }

    /// Waits for the next piece.
    pub async fn wait<T>(&mut self, piece: impl Future<Output = T>) -> Result<T, Slow> {
        let mut piece = pin!(piece);
        let mut silence = Duration::ZERO;
        loop {
            let left = self.floor.window.saturating_sub(self.waited);
            let limit = left.min(self.patience.saturating_sub(silence));
            let start = Instant::now();
            let done = tokio::time::timeout(limit, &mut piece).await;
            let passed = start.elapsed();
            self.waited += passed;
            silence += passed;
            if let Ok(done) = done {
                return Ok(done);
            }
            if silence >= self.patience {
                let after = self.patience;
                return Err(Slow::Silent { after });
            }
            self.turn()?;
        }
    }

    /// Notes the length of a piece that came.
    pub fn came(&mut self, bytes: u64) -> Result<(), Slow> {
        self.got += bytes;
        self.turn()
    }

    /// At the end of a window: was it enough?
    fn turn(&mut self) -> Result<(), Slow> {
        if self.waited < self.floor.window {
            return Ok(());
        }
        if self.got < self.floor.bytes {
            return Err(Slow::Below {
                got: self.got,
                floor: self.floor,
            });
        }
        self.waited = Duration::ZERO;
        self.got = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What becomes of a transfer whose pieces of `size` bytes come every `every`; time is not real here.
    fn transfer(size: u64, every: Duration, pieces: u32) -> Result<(), Slow> {
        let floor = Floor {
            bytes: 100,
            window: 10 * SECOND,
        };
        let mut pace = Pace::new(floor, 5 * SECOND);
        for _ in 0..pieces {
            // Not the test's clock: `Pace` asks the system's.
            pace.waited += every;
            pace.came(size)?;
        }
        Ok(())
    }

    // finding 8
    // conformance: I17
    #[test]
    fn a_drip_is_given_up_and_a_slow_line_is_not() {
        let rows = [
            ("a byte a second", 1, SECOND, false),
            ("just too slow", 9, SECOND, false),
            ("slow", 11, SECOND, true),
            ("in large pieces", 100, 9 * SECOND, true),
            ("at once", 1_000_000, Duration::ZERO, true),
        ];
        for (name, size, every, fine) in rows {
            let result = transfer(size, every, 200);
            assert_eq!(result.is_ok(), fine, "{name}: {result:?}");
        }
        let error = transfer(1, SECOND, 200).unwrap_err().to_string();
        assert_eq!(
            error,
            "only 10 bytes came in 10 s, and 100 is the least a transfer has to bring in that time (TRANSFER_FLOOR)"
        );
    }

    // conformance: I17
    #[tokio::test]
    async fn silence_ends_it_however_long_the_window_is() {
        let floor = Floor {
            bytes: 0,
            window: Duration::from_millis(3),
        };
        let patience = Duration::from_millis(20);
        let mut pace = Pace::new(floor, patience);
        let silent = pace.wait(std::future::pending::<()>()).await;
        assert_eq!(silent, Err(Slow::Silent { after: patience }));
    }
}
