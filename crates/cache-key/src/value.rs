//! What a part can be.

use std::collections::BTreeMap;

use kiln_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{CacheKey, FileSet, Text};

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
