//! Numbers and durations on a command line.

use std::time::Duration;

use crate::value::ValueError;

/// Reads a decimal number with an optional sign.
pub(crate) fn number(text: &str) -> Result<i32, ValueError> {
    text.parse().map_err(|_| ValueError::new("a whole number"))
}

/// Reads how many of something there may be at once.
pub(crate) fn at_least_one(text: &str) -> Result<usize, ValueError> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(ValueError::new("a whole number above 0")),
    }
}

/// Reads a duration as Go prints it: numbers with units, largest first or not, such as `1h30m`; and days, `14d`.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    kiln_shown::parse_duration_with_days(text).map_err(|_| {
        ValueError::new(
            "a duration such as `336h` or `1h30m` (units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`)",
        )
    })
}

/// Reads a number of bytes such as `500MB`, `10Gi` or `1.5 TiB`; `k` and `M` are decimal, `Ki` and `Mi` binary.
pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    kiln_shown::parse_size(text, kiln_shown::Units::Decimal).ok_or_else(|| {
        ValueError::new(
            "a size such as `500MB` or `10Gi` (units: `k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi`, `Ti`)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [("0", 0), ("-1", -1), ("+5", 5), ("22", 22)] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in ["", "x", "1.5", "99999999999"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(at_least_one("12"), Ok(12));
        for text in ["", "0", "-1", "x"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        let good: &[(&str, u64)] = &[
            ("336h", 336 * 3_600_000),
            ("336h0m0s", 336 * 3_600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("90m", 5_400_000),
            ("14d", 336 * 3_600_000),
            ("1d12h", 36 * 3_600_000),
            ("250ms", 250),
            ("2000us", 2),
            ("2000µs", 2),
            ("0", 0),
            ("+1s", 1000),
        ];
        assert!(!good.is_empty());
        for (text, milliseconds) in good {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(*milliseconds)),
                "{text}"
            );
        }
        let bad = [
            "",
            "5",
            "h",
            "1x",
            "1h5",
            "-1h",
            ".s",
            "1.2.3s",
            "99999999999999h",
            "two weeks",
        ];
        for text in bad {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
