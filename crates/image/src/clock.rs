//! The times a build writes: of history entries, the config, and files that it makes up.

use jiff::Timestamp;

/// Where times come from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock, read anew for each step.
    Wall,
    /// One time for everything: `--reproducible` or `SOURCE_DATE_EPOCH` (conformance G42, G43).
    Fixed(i64),
}

impl Clock {
    /// The time to use when the caller asked for `--reproducible`, gave `SOURCE_DATE_EPOCH`, or neither.
    pub fn choose(reproducible: bool, source_date_epoch: Option<i64>) -> Clock {
        match (source_date_epoch, reproducible) {
            (Some(seconds), _) => Clock::Fixed(seconds),
            (None, true) => Clock::Fixed(0),
            (None, false) => Clock::Wall,
        }
    }

    /// Seconds since the epoch.
    pub fn seconds(self) -> i64 {
        match self {
            Clock::Wall => Timestamp::now().as_second(),
            Clock::Fixed(seconds) => seconds,
        }
    }

    /// RFC 3339 in UTC, as configs hold it.
    pub fn rfc3339(self) -> String {
        match self {
            Clock::Wall => Timestamp::now().to_string(),
            Clock::Fixed(seconds) => Timestamp::from_second(seconds)
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: G42 G43
    #[test]
    fn a_fixed_clock_stands_still() {
        assert_eq!(Clock::choose(true, None).rfc3339(), "1970-01-01T00:00:00Z");
        let given = Clock::choose(true, Some(1_700_000_000));
        assert_eq!(given.rfc3339(), "2023-11-14T22:13:20Z");
        assert_eq!(given.seconds(), 1_700_000_000);
        assert!(matches!(Clock::choose(false, None), Clock::Wall));
    }
}
