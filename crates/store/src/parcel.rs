//! What is sent, whatever it was made from and wherever it goes: blobs and where their bytes are, documents, and the one
//! that tags name.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kiln_oci::{
    Descriptor, Digest, Layout, LayoutError, Manifest, MediaType, Platform, Repository,
};
use kiln_registry::BlobSource;
use tokio::sync::OnceCell;

use crate::blobs::{BlobError, Blobs};
use crate::early::EarlyUpload;
use crate::origin::Origin;

/// An image or index with everything below it.
#[derive(Debug)]
pub struct Parcel {
    /// Configs and layers, each once. Foreign layers among them stay where their `urls` say and are not sent (I27).
    pub blobs: Vec<Blob>,
    /// Manifests and indexes that `top` leads to, each once, after those that it names itself.
    pub below: Vec<Document>,
    /// What the tags name.
    pub top: Document,
    /// Repositories that may have the layers that were made here, to mount them from.
    pub known_in: Vec<Repository>,
}

impl Parcel {
    /// The blob of that digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs
            .iter()
            .find(|blob| blob.descriptor.digest() == *digest)
    }

    /// Bytes of all blobs.
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size()).sum()
    }
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Document {
    /// What kind of document it is.
    pub media_type: MediaType,
    /// Of the bytes.
    pub digest: Digest,
    /// What is sent.
    pub bytes: Bytes,
    /// What an index says of it.
    pub platform: Option<Platform>,
}

impl Document {
    /// A document for no platform that is known.
    pub fn new(media_type: MediaType, bytes: Vec<u8>) -> Document {
        Document {
            media_type,
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
            platform: None,
        }
    }

    /// As an index names it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.bytes).with_platform(self.platform.clone())
    }

    /// The manifest of an image.
    pub fn of_manifest(manifest: &Manifest, platform: Option<Platform>) -> Document {
        Document {
            platform,
            ..Document::new(manifest.effective_media_type(), manifest.to_bytes())
        }
    }
}

/// Why the bytes of a blob cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParcelError {
    /// A layer of the base, or of a cached step.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A blob of a layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A thread is gone.
    #[error("a thread ended before it was done")]
    Lost,
}

/// A config or a layer.
#[derive(Debug)]
pub struct Blob {
    /// Digest, size and media type.
    pub descriptor: Descriptor,
    held: Held,
}

/// Where the bytes are until somebody needs them.
#[derive(Debug)]
enum Held {
    /// At hand, and compared with the digest.
    Ready(BlobSource),
    /// A layer that was made here, and maybe an upload of it that began early.
    Packed(PathBuf, Option<Arc<EarlyUpload>>),
    /// Where a layer of the base came from.
    Base(Origin, Arc<Blobs>),
    /// In a layout of the user's, not yet compared with the digest.
    Layout(Layout, OnceCell<()>),
}

/// How a registry can come to a blob for least.
pub(crate) enum Cheapest<'a> {
    /// By an upload that is under way.
    Upload(&'a EarlyUpload),
    /// By asking whether it has it, or can mount it from this repository: having the bytes here costs something.
    Claim(Option<&'a Repository>),
    /// By sending it.
    Send,
}

impl Blob {
    /// Whose bytes are at hand and have been compared with the digest.
    pub fn ready(descriptor: Descriptor, source: BlobSource) -> Blob {
        let held = Held::Ready(source);
        Blob { descriptor, held }
    }

    /// A document, such as a config.
    pub fn of_bytes(descriptor: Descriptor, bytes: &[u8]) -> Blob {
        Blob::ready(descriptor, BlobSource::Bytes(Bytes::copy_from_slice(bytes)))
    }

    /// A layer in a file of the work folder.
    pub fn packed(descriptor: Descriptor, file: PathBuf, early: Option<Arc<EarlyUpload>>) -> Blob {
        let held = Held::Packed(file, early);
        Blob { descriptor, held }
    }

    /// A layer that is fetched if it has to be sent.
    pub fn of_base(descriptor: Descriptor, origin: Origin, blobs: &Arc<Blobs>) -> Blob {
        let held = Held::Base(origin, Arc::clone(blobs));
        Blob { descriptor, held }
    }

    /// A file of a layout, read when it turns out that it has to be sent.
    pub fn of_layout(descriptor: Descriptor, layout: &Layout) -> Blob {
        let held = Held::Layout(layout.clone(), OnceCell::new());
        Blob { descriptor, held }
    }

    /// Its bytes, compared with its digest; fetched and read for that once at most.
    pub async fn source(&self) -> Result<BlobSource, ParcelError> {
        match &self.held {
            Held::Ready(source) => Ok(source.clone()),
            Held::Packed(file, _) => Ok(BlobSource::File(file.clone())),
            Held::Base(origin, blobs) => {
                let file = blobs.fetch(&self.descriptor, origin).await?;
                Ok(BlobSource::File(file))
            }
            Held::Layout(layout, verified) => {
                verified.get_or_try_init(|| self.verify(layout)).await?;
                Ok(BlobSource::File(
                    layout.blob_path(&self.descriptor.digest()),
                ))
            }
        }
    }

    async fn verify(&self, layout: &Layout) -> Result<(), ParcelError> {
        let (layout, descriptor) = (layout.clone(), self.descriptor.clone());
        tokio::task::spawn_blocking(move || layout.verify_blob(&descriptor))
            .await
            .map_err(|_| ParcelError::Lost)?
            .map_err(ParcelError::from)
    }

    pub(crate) fn cheapest(&self) -> Cheapest<'_> {
        match &self.held {
            Held::Packed(_, Some(early)) => Cheapest::Upload(early),
            Held::Packed(_, None) | Held::Ready(BlobSource::Bytes(_)) => Cheapest::Send,
            Held::Base(origin, _) => Cheapest::Claim(origin.repository()),
            Held::Layout(..) | Held::Ready(BlobSource::File(_) | BlobSource::Part(..)) => {
                Cheapest::Claim(None)
            }
        }
    }

    /// Whether it was made here, so that places where this build stores may have it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.held, Held::Packed(..))
    }
}
