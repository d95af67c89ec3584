//! How a failure reads on a terminal.

use std::error::Error;

/// The text of a failure: message and causes in one chain, then the lines of the Dockerfile, then what to try.
pub fn failure_text(error: &dyn Error, excerpt: Option<&str>, hint: Option<&str>) -> String {
    let mut text = format!("error: {error}");
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = without_number(inner.to_string());
        // A transparent wrapper says what its cause says.
        if !more.is_empty() && !said.ends_with(&more) {
            text.push_str(if more.contains('\n') { ":\n" } else { ": " });
            text.push_str(&more);
            said = more;
        }
        cause = inner.source();
    }
    for (label, part) in [("", excerpt), ("hint: ", hint)] {
        if let Some(part) = part.map(str::trim_end).filter(|part| !part.is_empty()) {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(label);
            text.push_str(part);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Drops the number that std adds to what the system says; it helps nobody.
fn without_number(mut text: String) -> String {
    if text.ends_with(')')
        && let Some(at) = text.rfind(" (os error ")
    {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        #[source]
        cause: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        Link {
            text,
            cause: (!rest.is_empty()).then(|| Box::new(chain(rest))),
        }
    }

    /// Messages of the chain, excerpt, hint, expected.
    type Row<'a> = (
        &'a [&'static str],
        Option<&'a str>,
        Option<&'a str>,
        &'a str,
    );

    #[test]
    fn parts() {
        let table: &[Row<'_>] = &[
            (&["a"], None, None, "error: a"),
            (&["a", "b", "c"], None, None, "error: a: b: c"),
            (&["a: b", "b", "c"], None, None, "error: a: b: c"),
            (
                &["a", "b\nc\n"],
                None,
                Some("try d"),
                "error: a:\nb\nc\nhint: try d",
            ),
            (
                &["a", "b"],
                Some(" 1 | FROM x\n"),
                Some("try d"),
                "error: a: b\n 1 | FROM x\nhint: try d",
            ),
            (
                &["a", "no such file (os error 2)"],
                None,
                None,
                "error: a: no such file",
            ),
            (&["a"], Some(""), Some(""), "error: a"),
        ];
        assert!(!table.is_empty());
        for (texts, excerpt, hint, expected) in table {
            assert_eq!(failure_text(&chain(texts), *excerpt, *hint), *expected);
        }
    }
}
