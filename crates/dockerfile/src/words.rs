//! Splitting an instruction's arguments into words, quotes kept.

/// What separates words where quotes mean nothing.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Words between blanks.
pub(crate) fn blank_separated(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// The first word and the rest behind the blanks, if there are any.
pub(crate) fn split_first(text: &str) -> (&str, Option<&str>) {
    match text.split_once(is_blank) {
        Some((first, rest)) => (first, Some(rest.trim_start_matches(is_blank))),
        None => (text, None),
    }
}

/// Words of `ENV`, `LABEL` and `ARG`: a blank in quotes, or behind the escape character, does not end
/// a word. Quotes and escapes stay, the expander needs them.
pub(crate) fn quoted(text: &str, escape: char) -> QuotedWords<'_> {
    QuotedWords { rest: text, escape }
}

/// See [`quoted`].
#[derive(Debug)]
pub(crate) struct QuotedWords<'a> {
    rest: &'a str,
    escape: char,
}

impl<'a> Iterator for QuotedWords<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start();
        if text.is_empty() {
            return None;
        }
        let mut quote = None;
        let mut chars = text.char_indices();
        let mut end = text.len();
        self.rest = "";
        while let Some((at, c)) = chars.next() {
            if c == self.escape {
                // An escape with nothing behind it disappears.
                end = if chars.next().is_none() { at } else { end };
            } else if let Some(open) = quote {
                quote = (c != open).then_some(open);
            } else if c == '\'' || c == '"' {
                quote = Some(c);
            } else if c.is_whitespace() {
                end = at;
                self.rest = &text[at..];
                break;
            }
        }
        (end > 0).then_some(&text[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words() {
        let rows: &[(&str, char, &[&str])] = &[
            ("a=b c=d", '\\', &["a=b", "c=d"]),
            ("  a=b\t c=d  ", '\\', &["a=b", "c=d"]),
            ("a=\"b c\" d='e f'", '\\', &["a=\"b c\"", "d='e f'"]),
            ("a=b\\ c d=e", '\\', &["a=b\\ c", "d=e"]),
            ("a=b` c d=e", '`', &["a=b` c", "d=e"]),
            ("a='b\\' c=d", '\\', &["a='b\\' c=d"]),
            ("a=\"b\\\" c\" d", '\\', &["a=\"b\\\" c\"", "d"]),
            ("a=b \\", '\\', &["a=b"]),
            ("a=b\\", '\\', &["a=b"]),
            ("a b", '\\', &["a", "b"]),
            ("\u{e9}=\u{fc} x", '\\', &["\u{e9}=\u{fc}", "x"]),
            ("", '\\', &[]),
        ];
        assert!(!rows.is_empty());
        for (text, escape, expected) in rows {
            assert_eq!(
                quoted(text, *escape).collect::<Vec<_>>(),
                *expected,
                "{text}"
            );
        }
    }
}
