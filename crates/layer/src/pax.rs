//! PAX extended headers: `<length> <key>=<value>\n` records.

/// Appends one record; the length counts itself.
pub(crate) fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits the content of an extended header into keys and values; the error says what is wrong with it.
pub(crate) fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    // Some writers pad the records with NULs.
    while !data.is_empty() && data[0] != 0 {
        let space = data
            .iter()
            .take(12)
            .position(|&b| b == b' ')
            .ok_or("PAX record without a length")?;
        let length = decimal(&data[..space]).ok_or("PAX record whose length is no number")?;
        let length = usize::try_from(length).map_err(|_| "PAX record is too long")?;
        if length <= space + 1 || length > data.len() {
            return Err("PAX record whose length is wrong");
        }
        let record = &data[space + 1..length];
        let record = record
            .strip_suffix(b"\n")
            .ok_or("PAX record that does not end with a line feed")?;
        let equals = record
            .iter()
            .position(|&b| b == b'=')
            .ok_or("PAX record without `=`")?;
        records.push((&record[..equals], &record[equals + 1..]));
        data = &data[length..];
    }
    Ok(records)
}

/// A number in decimal digits, nothing else.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A time with an optional sign and fraction, cut down to whole seconds (conformance: G4).
pub(crate) fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole = i64::try_from(decimal(whole)?).ok()?;
    if !negative {
        return Some(whole);
    }
    let below = fraction.iter().any(|&b| b != b'0');
    (-whole).checked_sub(i64::from(below))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{push_record, records, seconds};

    #[test]
    fn the_length_counts_itself() {
        let rows: [(usize, usize); 5] = [(1, 6), (4, 9), (5, 11), (93, 99), (94, 101)];
        for (value, length) in rows {
            let mut out = Vec::new();
            push_record(&mut out, b"k", &vec![b'x'; value]);
            assert_eq!(out.len(), length, "{value}");
            assert!(out.starts_with(length.to_string().as_bytes()), "{value}");
        }
    }

    #[test]
    fn damaged_records_are_errors() {
        let rows: [&[u8]; 9] = [
            b"5 a=b\n",
            b"7 a=b\n",
            b"x a=b\n",
            b"6 ab\n",
            b" a=b\n",
            b"6a=b\n",
            b"99999999999999999999 a=b\n",
            b"6 a=bc",
            b"2 ",
        ];
        for row in rows {
            assert!(records(row).is_err(), "{}", row.escape_ascii());
        }
        assert_eq!(records(b"6 a=b\n\0\0"), Ok(vec![(&b"a"[..], &b"b"[..])]));
    }

    // conformance: G4
    #[test]
    fn times_are_cut_to_seconds() {
        let rows: [(&[u8], Option<i64>); 9] = [
            (b"12", Some(12)),
            (b"12.999999999", Some(12)),
            (b"-1", Some(-1)),
            (b"-1.5", Some(-2)),
            (b"-0.5", Some(-1)),
            (b"-1.000", Some(-1)),
            (b"", None),
            (b"1e9", None),
            (b"1.x", None),
        ];
        for (text, expected) in rows {
            assert_eq!(seconds(text), expected, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn records_round_trip(pairs in prop::collection::vec(("[a-z.]{1,20}", prop::collection::vec(any::<u8>(), 0..2000)), 0..5)) {
            let mut out = Vec::new();
            for (key, value) in &pairs {
                push_record(&mut out, key.as_bytes(), value);
            }
            let read = records(&out).unwrap();
            prop_assert_eq!(read.len(), pairs.len());
            for ((key, value), (k, v)) in pairs.iter().zip(read) {
                prop_assert_eq!(key.as_bytes(), k);
                prop_assert_eq!(&value[..], v);
            }
        }
    }
}
