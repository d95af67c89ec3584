//! Numbers and durations on a command line.

use std::time::Duration;

use crate::value::ValueError;

/// Reads a decimal number with an optional sign.
pub(crate) fn number(text: &str) -> Result<i32, ValueError> {
    text.parse().map_err(|_| ValueError::new("a whole number"))
}

/// Reads a duration as Go prints it: numbers with units, largest first or not, such as `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || {
        ValueError::new(
            "a duration such as `336h` or `1h30m` (units: `ns`, `us`, `ms`, `s`, `m`, `h`)",
        )
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (amount, tail) = rest.split_at(digits);
        let (nanoseconds, tail) = unit(tail).ok_or_else(wrong)?;
        let part = scaled(amount, nanoseconds).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

/// The nanoseconds of the unit that `text` begins with, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    UNITS
        .iter()
        .find_map(|(name, size)| Some((*size, text.strip_prefix(name)?)))
}

/// `amount` (digits with at most one point) times `unit` nanoseconds, without rounding errors of floats.
fn scaled(amount: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(Duration::from_nanos(nanoseconds))
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
    fn durations() {
        let good: &[(&str, u64)] = &[
            ("336h", 336 * 3_600_000),
            ("336h0m0s", 336 * 3_600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("90m", 5_400_000),
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
