//! A text in a part: kept, reduced to its digest, or hidden.

mod hidden;

use kiln_oci::Digest;
use serde::{Deserialize, Serialize};

pub use hidden::Hidden;

/// Values of variables are kept as text up to this number of bytes.
pub const PLAIN_MAX: usize = 256;

/// A text, or only what is needed to see that it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Text {
    /// A text that others must not read, and cannot find by trying either.
    #[serde(rename = "hidden")]
    Hidden(Hidden),
    /// Its digest: an explanation can say that it changed, but not from what to what.
    #[serde(rename = "hashed")]
    Hashed(Digest),
    /// The text itself.
    #[serde(untagged)]
    Plain(String),
}

impl Text {
    /// A text that is kept, however long it is.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// A text of which only the digest is kept.
    ///
    /// That keeps it out of sight, but is no protection for what can be guessed; secrets belong in no key.
    pub fn hashed(text: impl AsRef<[u8]>) -> Self {
        Self::Hashed(Digest::of(text))
    }

    /// A text that is in the key and is not stored; see [`Hidden`].
    pub fn hidden(text: impl Into<String>) -> Self {
        Self::Hidden(Hidden::of(Self::Plain(text.into()), None))
    }

    /// The same, with another text that explanations show in its place.
    pub fn hidden_behind(text: impl Into<String>, shown: impl Into<String>) -> Self {
        Self::Hidden(Hidden::of(Self::Plain(text.into()), Some(shown.into())))
    }

    /// Whether it is the same text, as far as can be told: entries of before did not hide what is hidden now.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden(_), Self::Hidden(_)) => self == other,
            (Self::Hidden(hidden), plain) | (plain, Self::Hidden(hidden)) => {
                Hidden::of(plain.clone(), None).number() == hidden.number()
            }
            _ => self == other,
        }
    }

    /// The value of a variable that is nobody else's business.
    pub fn hidden_value(text: impl Into<String>) -> Self {
        Self::Hidden(Hidden::of(Self::value(text), None))
    }

    /// The value of a variable: kept up to [`PLAIN_MAX`] bytes, hashed if it is longer.
    pub fn value(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.len() > PLAIN_MAX {
            Self::hashed(text)
        } else {
            Self::Plain(text)
        }
    }
}
