//! A manifest or index as it came.

use bytes::Bytes;
use kiln_oci::{Digest, MediaType, Repository};

/// A manifest or index as the registry sent it, verified against the digest if one was asked for (I25).
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The exact bytes; their digest is `digest`.
    pub bytes: Bytes,
    /// From the document itself, or else from the `Content-Type` header.
    pub media_type: MediaType,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// Where it really came from: the mirror, if one served it.
    pub from: Repository,
}
