//! What reading any JSON document of an image can run into.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;

use crate::MediaType;

/// Manifests, indexes and configs larger than this are not believed; the specification asks for 4 MiB.
pub const MAX_DOCUMENT: u64 = 8 << 20;
/// Values in one document, by the commas and brackets around them. Each takes many times its text in memory.
pub const MAX_JSON_VALUES: usize = 250_000;
/// Layers of one image. An overlay has room for half as many, docker for an eighth.
pub const MAX_LAYERS: usize = 1000;

/// A manifest, index or config that cannot be used.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Not JSON, or not of the expected shape.
    #[error("{document} is not valid")]
    Json {
        /// `image manifest`, `image index` or `image config`.
        document: &'static str,
        /// Where and why; serde gives line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Docker manifest schema 1, which has no config and no usable digests (I23).
    #[error(
        "{document} is of docker schema 1, which is not supported: push the image again with a current tool"
    )]
    Schema1 {
        /// `image manifest` or `image index`.
        document: &'static str,
    },
    /// The document can be read as two different things, and tools would not agree on which (I23).
    #[error(
        "{document} also has a field `{field}`: it could be read as two different images and is refused"
    )]
    Ambiguous {
        /// What was expected.
        document: &'static str,
        /// The field that such a document does not have.
        field: String,
    },
    /// More of something than any image has.
    #[error("{document} has more than {limit} {what} ({name})")]
    TooMany {
        /// `image manifest`, `image index` or `image config`.
        document: &'static str,
        /// `layers` or `values`.
        what: &'static str,
        /// How many are granted.
        limit: usize,
        /// The name of the limit in this crate.
        name: &'static str,
    },
    /// The document says it is something else.
    #[error("{document} has media type `{}`", shortened(actual.as_str()))]
    MediaType {
        /// What was expected.
        document: &'static str,
        /// What the document says.
        actual: MediaType,
    },
}

pub(crate) fn parse<T: DeserializeOwned>(
    document: &'static str,
    bytes: &[u8],
) -> Result<T, DocumentError> {
    bounded(document, bytes)?;
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { document, source })
}

/// How many values a JSON text has, at the most, by its commas and opening brackets: known before anything is read into
/// memory, where each takes many times its text.
pub fn json_values(bytes: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

/// Refuses a document with so many values that reading it takes more memory than it is worth: an empty object is two
/// bytes of JSON and a hundred of ours.
pub(crate) fn bounded(document: &'static str, bytes: &[u8]) -> Result<(), DocumentError> {
    if json_values(bytes) <= MAX_JSON_VALUES {
        return Ok(());
    }
    Err(DocumentError::TooMany {
        document,
        what: "values",
        limit: MAX_JSON_VALUES,
        name: "MAX_JSON_VALUES",
    })
}

/// Refuses a document with a field of a document of another kind, or with a field that differs from a known one in
/// case only: tools written in Go take one for the other.
pub(crate) fn unambiguous(
    document: &'static str,
    bytes: &[u8],
    known: &[&str],
    foreign: &[&str],
) -> Result<(), DocumentError> {
    let fields: BTreeMap<String, Option<IgnoredAny>> = parse(document, bytes)?;
    let odd = |field: &str, value: &Option<IgnoredAny>| {
        let among = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(field));
        (among(foreign) && value.is_some()) || (among(known) && !known.contains(&field))
    };
    match fields.iter().find(|(field, value)| odd(field, value)) {
        Some((field, _)) => Err(DocumentError::Ambiguous {
            document,
            field: shortened(field),
        }),
        None => Ok(()),
    }
}

/// An error if there are more layers than any image has.
pub(crate) fn check_layers(document: &'static str, layers: usize) -> Result<(), DocumentError> {
    if layers <= MAX_LAYERS {
        return Ok(());
    }
    Err(DocumentError::TooMany {
        document,
        what: "layers",
        limit: MAX_LAYERS,
        name: "MAX_LAYERS",
    })
}

/// A text from outside for a message: long ones are cut.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST_SHOWN: usize = 100;
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Compact JSON. The types written here have string keys only, so writing to memory cannot fail.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
