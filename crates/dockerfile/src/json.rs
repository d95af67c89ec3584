//! The JSON form of arguments: an array of strings and nothing else (A20).

use std::iter::Peekable;
use std::str::Chars;

/// Arrays nested deeper than this are not taken for JSON; no instruction allows nesting at all.
const DEEPEST: usize = 64;

/// What a text is, as far as instructions care.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with something else in it.
    OtherArray,
    /// Not JSON, or not an array: the shell form.
    None,
}

/// Looks at the whole of `text`.
pub(crate) fn parse_array(text: &str) -> Json {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Json::None;
    }
    let mut reader = Reader {
        chars: text.chars().peekable(),
    };
    reader
        .array()
        .filter(|_| reader.at_end())
        .unwrap_or(Json::None)
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self
            .chars
            .next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
            .is_some()
        {}
    }

    fn at_end(&mut self) -> bool {
        self.blanks();
        self.chars.peek().is_none()
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.chars.next_if_eq(&wanted).map(|_| ())
    }

    /// The outermost array.
    fn array(&mut self) -> Option<Json> {
        let mut strings = Vec::new();
        let mut only_strings = true;
        self.items('[', ']', |reader| {
            if reader.chars.peek() == Some(&'"') {
                strings.push(reader.string()?);
            } else {
                only_strings = false;
                reader.value(1)?;
            }
            Some(())
        })?;
        Some(if only_strings {
            Json::Strings(strings)
        } else {
            Json::OtherArray
        })
    }

    /// `open item, item, ... close`
    fn items(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.blanks();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            self.blanks();
            item(self)?;
            self.blanks();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(',')?;
        }
    }

    /// Any value, only to see that it is one.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match self.chars.peek()? {
            '"' => self.string().map(|_| ()),
            '[' => self.items('[', ']', |reader| reader.value(depth + 1)),
            '{' => self.items('{', '}', |reader| {
                reader.string()?;
                reader.blanks();
                reader.take(':')?;
                reader.blanks();
                reader.value(depth + 1)
            }),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        word.chars().try_for_each(|c| self.take(c))
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take('-');
        if self.take('0').is_none() {
            self.digits()?;
        }
        if self.take('.').is_some() {
            self.digits()?;
        }
        if self.chars.next_if(|c| matches!(c, 'e' | 'E')).is_some() {
            self.chars.next_if(|c| matches!(c, '+' | '-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.chars.next_if(char::is_ascii_digit)?;
        while self.chars.next_if(char::is_ascii_digit).is_some() {}
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.chars.next()? {
                '"' => return Some(text),
                '\\' => self.escape(&mut text)?,
                c if c < ' ' => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = match self.chars.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.hex4()?;
                self.code_point(unit, text)?
            }
            _ => return None,
        };
        text.push(c);
        Some(())
    }

    /// A character from its UTF-16 form; half a surrogate pair becomes U+FFFD, as in Go.
    fn code_point(&mut self, mut unit: u32, text: &mut String) -> Option<char> {
        loop {
            if !(0xd800..0xdc00).contains(&unit) {
                return Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            let mut ahead = self.chars.clone();
            if ahead.next() != Some('\\') || ahead.next() != Some('u') {
                return Some(char::REPLACEMENT_CHARACTER);
            }
            self.chars = ahead;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                return char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            }
            text.push(char::REPLACEMENT_CHARACTER);
            unit = low;
        }
    }

    fn hex4(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |value, _| {
            Some(value * 16 + self.chars.next()?.to_digit(16)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: A20, A21
    #[test]
    fn arrays() {
        let strings = |words: &[&str]| Json::Strings(words.iter().map(|w| (*w).into()).collect());
        let rows = [
            (r#"["a","b c"]"#, strings(&["a", "b c"])),
            (r#"  [ "a" , "b" ] "#, strings(&["a", "b"])),
            ("[]", strings(&[])),
            ("[ ]", strings(&[])),
            (
                r#"["\"\\\/\b\f\n\r\t\u0041\u00e9"]"#,
                strings(&["\"\\/\u{8}\u{c}\n\r\tA\u{e9}"]),
            ),
            (r#"["\ud83d\ude00"]"#, strings(&["\u{1f600}"])),
            (r#"["\ud83dx"]"#, strings(&["\u{fffd}x"])),
            (r#"["\ud83d\u0041"]"#, strings(&["\u{fffd}A"])),
            (r#"["a",1]"#, Json::OtherArray),
            (r#"["a",null,{"x":[1.5e-3,true]}]"#, Json::OtherArray),
            (r#"["a",01]"#, Json::None),
            ("['a']", Json::None),
            ("[]trailing", Json::None),
            (r#"["a",]"#, Json::None),
            (r#"["a"#, Json::None),
            (r#"["\x"]"#, Json::None),
            (r#"["C:\dir"]"#, Json::None),
            ("[\"a\tb\"]", Json::None),
            (r#"/a ["b"]"#, Json::None),
            (r#"{"a":1}"#, Json::None),
            ("", Json::None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_array(text), expected, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_not_json() {
        assert_eq!(parse_array(&"[".repeat(100_000)), Json::None);
    }
}
