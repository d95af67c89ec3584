//! Text as people write it and may see it: durations and sizes; URLs without their secrets, what the system said without
//! its numbers, nothing that a terminal obeys, and an end.
//!
//! A URL that is kept for use is a [`SecretUrl`], which cannot be printed whole by accident. Text that may have URLs in
//! it, such as a line of a Dockerfile, goes through [`redact`] where it leaves the program.
//!
//! ```
//! use kiln_shown::{SecretUrl, redact};
//!
//! let url = SecretUrl::from("https://me:t0ken@host/f?sig=1a2b&ref=main");
//! assert_eq!(url.to_string(), "https://xxxxx:xxxxx@host/f?sig=xxxxx&ref=main");
//! assert_eq!(redact("ADD https://t0ken@host/f /"), "ADD https://xxxxx@host/f /");
//! ```

mod causes;
mod duration;
mod printable;
mod size;
mod system;
mod url;

use std::borrow::Cow;

pub use causes::with_causes;
pub use duration::{
    DurationError, go_duration, parse_duration, parse_duration_with_days, parse_nanos,
};
pub use size::{Units, byte_size, parse_size};
pub use system::{io_words, without_numbers};
pub use url::{MASK, SecretUrl, redact};

/// Text for people: [`redact`] and [`without_numbers`], no longer than anybody reads, and nothing that a terminal obeys.
pub fn for_people(text: &str) -> Cow<'_, str> {
    let shown = match redact(text) {
        Cow::Borrowed(text) => without_numbers(text),
        Cow::Owned(text) => Cow::Owned(without_numbers(&text).into_owned()),
    };
    if printable::is_printable(&shown) {
        shown
    } else {
        Cow::Owned(printable::printable(&shown))
    }
}

/// `1 layer`, `2 layers`.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
