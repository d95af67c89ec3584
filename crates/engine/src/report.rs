//! What a finished build says.

use kiln_oci::{Digest, ImageConfig, Reference};

/// A finished build.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BuildReport {
    /// Digest of the image's manifest.
    pub digest: Digest,
    /// The image's configuration; `as_ref` gives it as [`oci_spec`](kiln_oci::oci_spec) has it.
    pub config: ImageConfig,
    /// Where it was pushed.
    pub pushed: Vec<Reference>,
    /// Sum of the layers' blobs in bytes.
    pub size: u64,
}
