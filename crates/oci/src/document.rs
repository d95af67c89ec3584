//! What reading any JSON document of an image can run into.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::MediaType;

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
    /// The document says it is something else.
    #[error("{document} has media type `{actual}`")]
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
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { document, source })
}

/// Compact JSON. The types written here have string keys only, so writing to memory cannot fail.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
