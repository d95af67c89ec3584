//! Numbers of bytes as people write and read them.

/// What `k`, `M` and so on mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// `k` is 1000 and `Ki` is 1024, as in Kubernetes.
    Decimal,
    /// `k`, `kb`, `KiB` are all 1024, as in Docker.
    Binary,
}

impl Units {
    /// Bytes in a unit, which is written without a leading blank.
    fn bytes(self, unit: &str) -> Option<u64> {
        match self {
            Units::Decimal => decimal(unit.strip_suffix(['B', 'b']).unwrap_or(unit)),
            Units::Binary => binary(&unit.to_ascii_lowercase()),
        }
    }
}

fn decimal(unit: &str) -> Option<u64> {
    Some(match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    })
}

fn binary(unit: &str) -> Option<u64> {
    Some(match unit {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return None,
    })
}

/// Reads a number of bytes such as `500MB`, `10Gi` or `1.5 TiB`; `None` when the text is no size or too large.
pub fn parse_size(text: &str, units: Units) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let bytes = units.bytes(unit.strip_prefix(' ').unwrap_or(unit))?;
    scaled(amount, bytes)
}

/// Digits behind the point that are looked at: with them, no unit overflows.
const FRACTION: u32 = 18;

/// `amount` (digits with at most one point) times `unit`, rounded down.
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
    let mut part: u128 = 0;
    for place in 0..FRACTION as usize {
        let digit = fraction.as_bytes().get(place).copied().unwrap_or(b'0');
        part = part * 10 + u128::from(digit - b'0');
    }
    let part = u128::from(unit) * part / 10_u128.pow(FRACTION);
    whole
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}

/// `512 B`, `1.5 kB`, `2.3 GB`: decimal units, cut after one digit.
pub fn byte_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{Units, byte_size, parse_size};

    #[test]
    fn sizes_for_people() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1599, "1.5 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (2_345_678_901, "2.3 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(byte_size(bytes), expected);
        }
    }

    // conformance: D33
    #[test]
    fn sizes_with_binary_units() {
        let rows = [
            ("100", Some(100)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2 k", Some(2048)),
            ("0.5", Some(0)),
            ("5b", Some(5)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1.2.3", None),
            ("99999999999p", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_size(text, Units::Binary), expected, "{text}");
        }
    }

    #[test]
    fn sizes_with_decimal_units() {
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
            ("0.000001234G", 1234),
        ];
        assert!(!good.is_empty());
        for (text, bytes) in good {
            assert_eq!(parse_size(text, Units::Decimal), Some(*bytes), "{text}");
        }
        for text in ["", "G", "-1", "1x", "1.2.3k", "1GG", "99999999999T", "ten"] {
            assert_eq!(parse_size(text, Units::Decimal), None, "{text}");
        }
    }
}
