//! Durations as Go reads and writes them: `1h30m`, `1.5s`, `300ms`.

use std::time::Duration;

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Not a sequence of number and unit.
    #[error("invalid duration `{text}`: expected a number and a unit such as 30s, 1m30s or 500ms")]
    Invalid {
        /// The text given.
        text: String,
    },
    /// A number without its unit.
    #[error("missing unit in duration `{text}`: expected ns, us, ms, s, m or h")]
    MissingUnit {
        /// The text given.
        text: String,
    },
    /// A unit Go does not know.
    #[error("unknown unit `{unit}` in duration `{text}`: expected ns, us, ms, s, m or h")]
    UnknownUnit {
        /// The text given.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// Beyond what 64 bits of nanoseconds hold (about 292 years).
    #[error("duration `{text}` is too long")]
    TooLong {
        /// The text given.
        text: String,
    },
    /// Below zero where only time to come makes sense.
    #[error("duration `{text}` is negative")]
    Negative {
        /// The text given.
        text: String,
    },
}

/// Reads a duration that is zero or more.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    at_least_zero(text, parse_nanos(text)?)
}

/// The same with days, `14d`, which Go does not know.
pub fn parse_duration_with_days(text: &str) -> Result<Duration, DurationError> {
    let days = |unit: &str| (unit == "d").then_some(24 * HOUR);
    at_least_zero(
        text,
        parse_with(text, |unit| scale(unit).or_else(|| days(unit)))?,
    )
}

fn at_least_zero(text: &str, nanos: i64) -> Result<Duration, DurationError> {
    match u64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        Err(_) => Err(DurationError::Negative {
            text: text.to_owned(),
        }),
    }
}

/// Nanoseconds in an hour.
const HOUR: u128 = 3_600_000_000_000;

/// Nanoseconds in one of Go's units.
fn scale(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => HOUR,
        _ => return None,
    })
}

/// Nanoseconds, possibly negative.
pub fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    parse_with(text, scale)
}

fn parse_with(text: &str, scale: impl Fn(&str) -> Option<u128>) -> Result<i64, DurationError> {
    let owned = || text.to_owned();
    let invalid = || DurationError::Invalid { text: owned() };
    let too_long = || DurationError::TooLong { text: owned() };
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let whole = digits(rest);
        rest = &rest[whole.len()..];
        let fraction = match rest.strip_prefix('.') {
            Some(after) => {
                let fraction = digits(after);
                rest = &after[fraction.len()..];
                fraction
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_end);
        rest = after;
        if unit.is_empty() {
            return Err(DurationError::MissingUnit { text: owned() });
        }
        let scale = scale(unit).ok_or_else(|| DurationError::UnknownUnit {
            text: owned(),
            unit: unit.to_owned(),
        })?;
        total += scaled(whole, fraction, scale).ok_or_else(too_long)?;
        if total > i64::MAX as u128 {
            return Err(too_long());
        }
    }
    let nanos = i64::try_from(total).map_err(|_| too_long())?;
    Ok(if negative { -nanos } else { nanos })
}

fn digits(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    &text[..end]
}

/// `whole.fraction * scale`, rounded down; `None` when `whole` alone is too large.
fn scaled(whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = u128::from(whole) * scale;
    let mut unit = scale;
    // Below a nanosecond digits have no effect, so this ends after at most 13 of them.
    for digit in fraction.bytes() {
        if unit == 0 {
            break;
        }
        // The remainder of the division matters: 0.1m is 6 s, and 60e9 / 10 is exact for all units
        // down to single nanoseconds.
        unit /= 10;
        nanos += u128::from(digit - b'0') * unit;
    }
    Some(nanos)
}

/// Go's `time.Duration.String()`: `1m0s`, `1h0m0s`, `1.5s`, `20ms`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}µs", decimal(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", decimal(nanos, 1_000_000));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        (value / unit).to_string()
    } else {
        format!("{}.{fraction}", value / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: A28
    #[test]
    fn go_durations() {
        let rows: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5ms", 5_000_000),
            ("-1.5s", -1_500_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("0.1m", 6_000_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("2562047h47m16.854775807s", i64::MAX),
            ("336h", 1_209_600_000_000_000),
        ];
        assert!(!rows.is_empty());
        for (text, expected) in rows {
            assert_eq!(parse_nanos(text).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn no_durations() {
        let rows: &[(&str, &str)] = &[
            ("", "invalid duration"),
            ("s", "invalid duration"),
            ("-", "invalid duration"),
            (".s", "invalid duration"),
            ("3", "missing unit"),
            ("1h3", "missing unit"),
            ("3d", "unknown unit `d`"),
            ("1 s", "unknown unit ` s`"),
            ("2562048h", "too long"),
            ("99999999999999999999s", "too long"),
        ];
        assert!(!rows.is_empty());
        for (text, expected) in rows {
            let message = parse_nanos(text).map_err(|e| e.to_string());
            assert!(
                matches!(&message, Err(m) if m.contains(expected)),
                "{text}: {message:?}"
            );
        }
        assert_eq!(
            parse_duration("-1s"),
            Err(DurationError::Negative { text: "-1s".into() })
        );
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000_000, "1.5s"),
            (20_000_000, "20ms"),
            (90_500_000_000, "1m30.5s"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn days_where_they_are_allowed() {
        let rows = [
            ("14d", Some(14 * 24)),
            ("1d12h", Some(36)),
            ("336h0m0s", Some(336)),
            ("-1h", None),
            ("99999999999999h", None),
            ("two weeks", None),
        ];
        for (text, hours) in rows {
            let read = parse_duration_with_days(text).ok();
            let hours = hours.map(|hours| Duration::from_secs(hours * 3600));
            assert_eq!(read, hours, "{text}");
        }
    }
}
