//! What is pushed, whatever it was stored in.

use bytes::Bytes;
use kiln_oci::{Descriptor, Digest, Layout, MediaType};
use kiln_registry::BlobSource;
use tokio::sync::OnceCell;

use super::PushArchiveError;

/// An image or index with everything below it.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Configs and layers, each once.
    pub(super) blobs: Vec<Blob>,
    /// Manifests and indexes that `top` leads to, each once, after those that it names itself.
    pub(super) below: Vec<Document>,
    /// What the tags name.
    pub(super) top: Document,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) media_type: MediaType,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl Document {
    pub(super) fn new(media_type: MediaType, bytes: Vec<u8>) -> Document {
        Document {
            media_type,
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        }
    }
}

/// A config or a layer.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    source: BlobSource,
    /// The layout that holds it, if it is still to be compared with its digest.
    unverified: Option<Layout>,
    verified: OnceCell<()>,
}

impl Blob {
    /// Whose bytes have been compared with its digest.
    pub(super) fn verified(descriptor: Descriptor, source: BlobSource) -> Blob {
        Blob {
            descriptor,
            source,
            unverified: None,
            verified: OnceCell::new(),
        }
    }

    /// A file of a layout, read when it turns out that it has to be sent.
    pub(super) fn of_layout(descriptor: Descriptor, layout: &Layout) -> Blob {
        Blob {
            source: BlobSource::File(layout.blob_path(&descriptor.digest)),
            descriptor,
            unverified: Some(layout.clone()),
            verified: OnceCell::new(),
        }
    }

    /// Its bytes, compared with its digest; read for that once at most.
    pub(super) async fn source(&self) -> Result<BlobSource, PushArchiveError> {
        if let Some(layout) = &self.unverified {
            let verify = || async {
                let (layout, descriptor) = (layout.clone(), self.descriptor.clone());
                tokio::task::spawn_blocking(move || layout.verify_blob(&descriptor))
                    .await
                    .map_err(|_| PushArchiveError::Lost)?
                    .map_err(PushArchiveError::from)
            };
            self.verified.get_or_try_init(verify).await?;
        }
        Ok(self.source.clone())
    }
}
