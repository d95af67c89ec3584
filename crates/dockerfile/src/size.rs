//! Sizes with a unit, as Docker writes them: `64m`, `1.5GiB`, `100` bytes.

/// The number of bytes; all units count in 1024s. `None` when the text is no size or too large.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let bytes = number.parse::<f64>().ok()? * f64::from(1_u32 << 20) * 2_f64.powi(shift - 20);
    // Above this a float is no exact count any more, and no size anyone means.
    (bytes < 2_f64.powi(60)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: D33
    #[test]
    fn sizes() {
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
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
