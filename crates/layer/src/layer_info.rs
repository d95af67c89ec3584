//! What is known of a layer once it is packed.

use kiln_oci::{DiffId, Digest, LayerCompression};

/// What a finished layer is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Digest of the packed bytes.
    pub digest: Digest,
    /// Packed bytes.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub uncompressed_size: u64,
    /// How it is packed.
    pub compression: LayerCompression,
}
