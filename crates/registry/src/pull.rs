//! Blobs out of a registry.

use std::path::Path;

use bytes::Bytes;
use kiln_oci::{Descriptor, Digest, Repository};

use crate::client::Client;
use crate::error::RegistryError;

impl Client {
    /// Streams a blob to the file `to`, which appears only when digest and size are right (I25).
    ///
    /// `progress` is called with the number of bytes of each piece as it is written; what is sent again
    /// after a broken connection that could not be resumed is counted again.
    pub async fn blob_to_file(
        &self,
        repo: &Repository,
        d: &Descriptor,
        to: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let _ = (repo, d, to, progress);
        std::future::pending().await
    }

    /// A verified blob in memory, for configs and other small ones; more than `limit` bytes is an error.
    pub async fn blob_bytes(
        &self,
        repo: &Repository,
        d: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let _ = (repo, d, limit);
        std::future::pending().await
    }

    /// Whether the repository has the blob.
    pub async fn has_blob(
        &self,
        repo: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let _ = (repo, digest);
        std::future::pending().await
    }
}
