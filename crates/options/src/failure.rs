//! How a failure reads on a terminal.

use std::error::Error;

use kiln_shown::for_people;

/// The text of a failure: message and causes in one chain, then the lines of the Dockerfile, then what to try.
pub fn failure_text(error: &dyn Error, excerpt: Option<&str>, hint: Option<&str>) -> String {
    let mut text = format!("error: {}", chain(error));
    for (label, part) in [("", excerpt), ("hint: ", hint)] {
        if let Some(part) = part.map(str::trim_end).filter(|part| !part.is_empty()) {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(label);
            text.push_str(&for_people(part));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// The failure as one line of a JSON log: the message with its causes, and the other parts under names of their own.
#[cfg(feature = "logging")]
pub(crate) fn failure_json(
    error: &dyn Error,
    excerpt: Option<&str>,
    hint: Option<&str>,
    time: String,
) -> String {
    let mut line = serde_json::Map::new();
    line.insert("level".to_owned(), "error".into());
    line.insert("msg".to_owned(), chain(error).trim_end().into());
    line.insert("time".to_owned(), time.into());
    for (name, part) in [("excerpt", excerpt), ("hint", hint)] {
        if let Some(part) = part.map(str::trim_end).filter(|part| !part.is_empty()) {
            line.insert(name.to_owned(), for_people(part).into());
        }
    }
    serde_json::Value::Object(line).to_string()
}

/// An error and its causes, each said once.
fn chain(error: &dyn Error) -> String {
    let mut said = for_people(&error.to_string()).into_owned();
    let mut text = said.clone();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = for_people(&inner.to_string()).into_owned();
        // A transparent wrapper says what its cause says.
        if !more.is_empty() && !said.ends_with(&more) {
            text.push_str(if more.contains('\n') { ":\n" } else { ": " });
            text.push_str(&more);
            said = more;
        }
        cause = inner.source();
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

    fn linked(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        Link {
            text,
            cause: (!rest.is_empty()).then(|| Box::new(linked(rest))),
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
            (
                &["a", "denied (os error 13) at path \"/x (y)\""],
                None,
                None,
                "error: a: denied at path \"/x (y)\"",
            ),
            (
                &["denied (os error 13)", "odd (os error x)"],
                None,
                None,
                "error: denied: odd (os error x)",
            ),
            (&["a"], Some(""), Some(""), "error: a"),
        ];
        assert!(!table.is_empty());
        for (texts, excerpt, hint, expected) in table {
            assert_eq!(failure_text(&linked(texts), *excerpt, *hint), *expected);
        }
    }

    #[cfg(feature = "logging")]
    #[test]
    fn json_is_one_line() {
        let line = failure_json(
            &linked(&["a", "b\nc\n"]),
            Some(" 1 | FROM x\n"),
            None,
            "now".to_owned(),
        );
        assert_eq!(
            line,
            r#"{"level":"error","msg":"a:\nb\nc","time":"now","excerpt":" 1 | FROM x"}"#
        );
    }
}
