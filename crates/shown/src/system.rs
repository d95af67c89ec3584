//! What the system said.

use std::borrow::Cow;
use std::io;

/// How std ends the text of an error of the system.
const NUMBER: &str = " (os error ";

/// What the system said, in words.
pub fn io_words(error: &io::Error) -> String {
    without_numbers(&error.to_string()).into_owned()
}

/// Drops the number that std adds to what the system says, wherever a library put it; it helps nobody.
pub fn without_numbers(text: &str) -> Cow<'_, str> {
    if !text.contains(NUMBER) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(NUMBER);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                kept.push_str(rest);
            }
            _ => {
                kept.push_str(NUMBER);
                kept.push_str(part);
            }
        }
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 49
    #[test]
    fn numbers_of_the_system_are_dropped() {
        let table = [
            ("no such file (os error 2)", "no such file"),
            (
                "denied (os error 13) at path \"/x (y)\"",
                "denied at path \"/x (y)\"",
            ),
            ("a (os error 1): b (os error 2). Try c", "a: b. Try c"),
            ("odd (os error x)", "odd (os error x)"),
            ("open (os error ", "open (os error "),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(without_numbers(text), expected);
        }
        let denied = io::Error::from_raw_os_error(13);
        assert_eq!(io_words(&denied), "Permission denied");
    }
}
