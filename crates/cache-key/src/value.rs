//! What a part can be.

use std::collections::BTreeMap;

use kiln_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::hidden::Hidden;
use crate::{CacheKey, FileSet};

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

/// The content of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// A text.
    Text(Text),
    /// A digest, or the key of another step.
    Digest(Digest),
    /// Texts whose order counts.
    List(Vec<String>),
    /// Named texts whose order does not count.
    Map(BTreeMap<String, Text>),
    /// Files whose order does not count.
    Files(FileSet),
}

impl Value {
    /// A map of variables, with long values hashed; of a name that is there twice the later value counts.
    pub fn variables<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let entry = |(name, value): (N, V)| (name.into(), Text::value(value));
        Self::Map(variables.into_iter().map(entry).collect())
    }

    /// A map of variables whose values are not stored; of a name that is there twice the later value counts.
    pub fn hidden_variables<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let entry = |(name, value): (N, V)| (name.into(), Text::hidden_value(value));
        Self::Map(variables.into_iter().map(entry).collect())
    }

    /// A list of texts.
    pub fn list<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Text::plain(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Text::Plain(text))
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Digest> for Value {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<CacheKey> for Value {
    fn from(key: CacheKey) -> Self {
        Self::Digest(Digest::from_bytes(*key.as_bytes()))
    }
}

impl From<BTreeMap<String, Text>> for Value {
    fn from(entries: BTreeMap<String, Text>) -> Self {
        Self::Map(entries)
    }
}

impl From<FileSet> for Value {
    fn from(files: FileSet) -> Self {
        Self::Files(files)
    }
}
