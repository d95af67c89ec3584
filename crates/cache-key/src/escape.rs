//! Bytes as text that can be turned back: paths, link targets and extended attributes need not be UTF-8.
//!
//! Text stays as it is, but for `%`, which becomes `%25`, and control characters; these and every byte that is not part
//! of valid UTF-8 become `%` and two upper-case hex digits. So a path with a line feed cannot pass for two in a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The escaped form.
pub(crate) fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes)
        && !text.chars().any(must_escape)
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if must_escape(c) {
                let mut encoded = [0; 4];
                hex(&mut escaped, c.encode_utf8(&mut encoded).as_bytes());
            } else {
                escaped.push(c);
            }
        }
        hex(&mut escaped, chunk.invalid());
    }
    Cow::Owned(escaped)
}

fn must_escape(c: char) -> bool {
    c == '%' || c.is_control()
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

/// The bytes behind an escaped form; `None` if a `%` is not followed by two hex digits.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.as_bytes().split(|byte| *byte == b'%');
    let mut bytes = pieces.next()?.to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.push(byte[0]);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_needs_it_is_escaped() {
        let rows: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"src/main.rs", "src/main.rs"),
            ("größe/日本".as_bytes(), "größe/日本"),
            (b"100%", "100%25"),
            (b"a\nb\x7f\0", "a%0Ab%7F%00"),
            ("\u{85}".as_bytes(), "%C2%85"),
            (b"caf\xe9 x", "caf%E9 x"),
            (b"\xff\xc3\xbc\xc3", "%FFü%C3"),
        ];
        assert!(!rows.is_empty());
        for (bytes, text) in rows {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).unwrap(), bytes);
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        let rows = ["%", "a%2", "%2x", "%%25", "%ü"];
        assert!(!rows.is_empty());
        for text in rows {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }
    }
}
