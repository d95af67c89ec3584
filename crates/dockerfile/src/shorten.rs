//! Long text in messages.

use std::borrow::Cow;

/// What a message or a line of the log shows of one text.
const LONGEST: usize = 600;
/// Of that, the characters from its end.
const TAIL: usize = 100;

/// The text, or its beginning and end with what was left out between them: a command can have a megabyte, and nobody
/// reads that in a message.
pub fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let head = text.floor_char_boundary(LONGEST - TAIL);
    let tail = text.ceil_char_boundary(text.len() - TAIL);
    let left_out = tail - head;
    Cow::Owned(format!(
        "{} ... {left_out} bytes ... {}",
        &text[..head],
        &text[tail..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 14
    #[test]
    fn the_middle_of_long_texts_is_left_out() {
        for length in [0, 1, LONGEST] {
            let text = "x".repeat(length);
            assert_eq!(shortened(&text), text);
        }
        let text = format!("begin {} end", "\u{e9}".repeat(100_000));
        let short = shortened(&text);
        assert!(short.len() < 700, "{}", short.len());
        assert!(short.starts_with("begin \u{e9}") && short.ends_with("\u{e9} end"));
        assert!(short.contains(" bytes ... "));
    }
}
