//! Manifests, indexes and configs: small documents, read whole and verified.

use bytes::Bytes;
use kiln_oci::{
    Descriptor, Digest, ImageConfig, Manifest, MediaType, Platform, Reference, Repository,
};

use crate::client::Client;
use crate::error::RegistryError;

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

/// An image of one platform: manifest and config, both verified. Layers are fetched apart.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// Digest of `manifest_bytes`.
    pub manifest_digest: Digest,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The exact manifest.
    pub manifest_bytes: Bytes,
    /// The parsed config.
    pub config: ImageConfig,
    /// The exact config.
    pub config_bytes: Bytes,
    /// Digest of the index the reference named, if it named one.
    pub index_digest: Option<Digest>,
    /// Where it really came from: ask this repository for the layers.
    pub from: Repository,
    /// What the user should know, e.g. that the image is of another platform (C15).
    pub warnings: Vec<String>,
}

impl Client {
    /// The manifest or index behind `r`, from the first source that has it (I19-I21).
    pub async fn manifest(&self, r: &Reference) -> Result<Fetched, RegistryError> {
        let _ = r;
        std::future::pending().await
    }

    /// What `r` points at without reading it; `None` if it does not exist.
    pub async fn head_manifest(&self, r: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let _ = r;
        std::future::pending().await
    }

    /// The image behind `r` for platform `p`; a tag is looked up once per client (C13-C15, C24, I24).
    pub async fn image(&self, r: &Reference, p: &Platform) -> Result<RemoteImage, RegistryError> {
        let _ = (r, p);
        std::future::pending().await
    }
}
