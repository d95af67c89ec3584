//! An error with what led to it.

use std::error::Error;
use std::fmt::Write as _;

use crate::for_people;

/// An error with its causes in one line, each said once, as people may see it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = for_people(&error.to_string()).into_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = for_people(&inner.to_string()).into_owned();
        if !text.ends_with(&more) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {more}");
        }
        cause = inner.source();
    }
    text
}
