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
    let wrong = || {
        ValueError::new(
            "a duration such as `336h` or `1h30m` (units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`)",
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
        total = total
            .checked_add(Duration::from_nanos(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

/// Reads a number of bytes such as `500MB`, `10Gi` or `1.5 TiB`; `k` and `M` are decimal, `Ki` and `Mi` binary.
pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    let wrong = || {
        ValueError::new(
            "a size such as `500MB` or `10Gi` (units: `k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi`, `Ti`)",
        )
    };
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let unit = unit.strip_suffix(['B', 'b']).unwrap_or(unit);
    let bytes = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    scaled(amount, bytes).ok_or_else(wrong)
}

/// The nanoseconds of the unit that `text` begins with, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    const UNITS: [(&str, u64); 9] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 24 * 3_600_000_000_000),
    ];
    UNITS
        .iter()
        .find_map(|(name, size)| Some((*size, text.strip_prefix(name)?)))
}

/// `amount` (digits with at most one point) times `unit`, without floats; digits beyond the sixth are not looked at.
fn scaled(amount: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let total = whole.checked_mul(unit)?;
    let mut millionths: u64 = 0;
    for place in 0..6 {
        let digit = fraction.as_bytes().get(place).copied().unwrap_or(b'0');
        millionths = millionths * 10 + u64::from(digit - b'0');
    }
    let part = u128::from(unit) * u128::from(millionths) / 1_000_000;
    total.checked_add(u64::try_from(part).ok()?)
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

    #[test]
    fn sizes() {
        let good: &[(&str, u64)] = &[
            ("0", 0),
            ("5", 5),
            ("5B", 5),
            ("500MB", 500_000_000),
            ("500 M", 500_000_000),
            ("10Gi", 10 << 30),
            ("10GiB", 10 << 30),
            ("1.5k", 1500),
            ("0.5Ki", 512),
            (".5TiB", 1 << 39),
            ("0.000001234G", 1000),
        ];
        assert!(!good.is_empty());
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(*bytes), "{text}");
        }
        for text in ["", "G", "-1", "1x", "1.2.3k", "1GG", "99999999999T", "ten"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
