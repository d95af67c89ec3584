//! Storing one image.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kiln_oci::{
    Descriptor, Digest, ImageConfig, Layout, Manifest, MediaType, Platform, Reference, atomic,
};

use crate::blob::Blobs;
use crate::claim::BlobClaim;
use crate::damaged::{make_way, set_aside};
use crate::entry::Entry;
use crate::error::failed;
use crate::lock::EntryLock;
use crate::volume::{Volume, json};
use crate::{CacheError, CachedImage, ImageCache, Miss};

/// The file in a staging directory whose time is when its holder began.
pub(crate) const BEGAN: &str = "began";

/// What beginning to store an image came to.
#[derive(Debug)]
pub enum Begun {
    /// It is there already; an alias for an index may still be wanted.
    Present(Box<CachedImage>),
    /// Someone else is storing it; only when not waiting.
    Busy,
    /// It is for the caller to store.
    Locked(Box<CacheWriter>),
}

/// The right to store one image, given back on drop. Blobs may be put from several threads at once.
#[derive(Debug)]
pub struct CacheWriter {
    cache: ImageCache,
    layout: Layout,
    digest: Digest,
    /// What is there is not trusted: everything is stored anew.
    again: bool,
    put: Mutex<BTreeSet<Digest>>,
    lock: EntryLock,
}

/// An image to be stored, as the registry sent it.
#[derive(Debug, Clone)]
pub struct NewImage<'a> {
    /// The manifest.
    pub manifest_bytes: &'a [u8],
    /// Its media type.
    pub media_type: MediaType,
    /// The config.
    pub config_bytes: &'a [u8],
    /// The index it was chosen from, and for which wanted platform (H35, H37).
    pub index: Option<(Digest, Platform)>,
    /// The name it was asked for by.
    pub reference: Option<Reference>,
}

impl<'a> NewImage<'a> {
    /// An image without index and name.
    pub fn new(manifest_bytes: &'a [u8], media_type: MediaType, config_bytes: &'a [u8]) -> Self {
        Self {
            manifest_bytes,
            media_type,
            config_bytes,
            index: None,
            reference: None,
        }
    }
}

impl ImageCache {
    /// Starts storing an image by its manifest digest: returns it when it is there, else waits for the right to write
    /// it (H31, H32). What someone else stored meanwhile is there then.
    pub fn begin(&self, manifest: &Digest) -> Result<Begun, CacheError> {
        self.start(manifest, true, false)
    }

    /// Like [`ImageCache::begin`], but does not wait: [`Begun::Busy`] when someone else is storing it.
    pub fn try_begin(&self, manifest: &Digest) -> Result<Begun, CacheError> {
        self.start(manifest, false, false)
    }

    /// Like [`ImageCache::begin`], but the image is to be stored again although it is there (`--force`, or expired).
    /// Until [`CacheWriter::commit`] the old one serves.
    pub fn begin_again(&self, manifest: &Digest) -> Result<Begun, CacheError> {
        self.start(manifest, true, true)
    }

    fn start(&self, manifest: &Digest, wait: bool, again: bool) -> Result<Begun, CacheError> {
        let layout = self.writable()?;
        if !again && let Ok(image) = self.lookup_manifest(manifest) {
            return Ok(Begun::Present(Box::new(image)));
        }
        let lock = EntryLock::take(self.held(), &self.volume().locks(), manifest, wait)?;
        let Some(lock) = lock else {
            return Ok(Begun::Busy);
        };
        if !again {
            match self.lookup_manifest(manifest) {
                Ok(image) => return Ok(Begun::Present(Box::new(image))),
                Err(miss) => self.repair(&miss)?,
            }
        }
        let writer = CacheWriter::new(self.clone(), layout.clone(), *manifest, lock, again)?;
        Ok(Begun::Locked(Box::new(writer)))
    }

    /// Moves away what a miss found broken; only ever called under the entry's lock.
    fn repair(&self, miss: &Miss) -> Result<(), CacheError> {
        match miss.broken_file() {
            Some(path) => set_aside(self.volume(), path),
            None => Ok(()),
        }
    }
}

impl CacheWriter {
    pub(crate) fn new(
        cache: ImageCache,
        layout: Layout,
        digest: Digest,
        lock: EntryLock,
        again: bool,
    ) -> Result<Self, CacheError> {
        let staging = cache.volume().staging(&digest);
        // Whatever is in there belongs to a holder that died.
        if lock.is_exclusive() && staging.exists() {
            fs::remove_dir_all(&staging).map_err(failed("remove", &staging))?;
        }
        atomic::create_dir(&staging).map_err(failed("create", &staging))?;
        if lock.is_exclusive() {
            let began = staging.join(BEGAN);
            fs::write(&began, b"").map_err(failed("create", &began))?;
        }
        Ok(Self {
            cache,
            layout,
            digest,
            again,
            put: Mutex::default(),
            lock,
        })
    }

    /// The manifest digest this is about.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A directory on the volume's filesystem for unfinished downloads; gone when the writer is.
    pub fn staging_dir(&self) -> PathBuf {
        self.volume().staging(&self.digest)
    }

    /// Whether a blob has to be put: not when another image brought it, unless everything is stored anew.
    pub fn needs_blob(&self, blob: &Descriptor) -> bool {
        if self.again {
            return !self.put().contains(&blob.digest());
        }
        !self.blobs().vouch(blob)
    }

    /// Asks for the right to fetch a blob, which other images may need just now as well; does not wait for it.
    pub fn claim_blob(&self, blob: &Descriptor) -> Result<BlobClaim, CacheError> {
        self.cache.claim_unless(blob, || !self.needs_blob(blob))
    }

    /// Stores what `reader` gives, verified on the way (I25); memory does not depend on its length (H41).
    pub fn put_blob_from(&self, reader: impl Read, blob: &Descriptor) -> Result<(), CacheError> {
        if !self.needs_blob(blob) {
            return Ok(());
        }
        self.blobs().write(reader, blob)?;
        self.put().insert(blob.digest());
        Ok(())
    }

    /// Takes in a finished file by hard link, or where that is not possible by a verified copy. The caller has
    /// verified its content while writing it, and must not change it afterwards.
    pub fn adopt_blob(&self, path: &Path, blob: &Descriptor) -> Result<(), CacheError> {
        if !self.needs_blob(blob) {
            return Ok(());
        }
        self.blobs().adopt(path, blob)?;
        self.put().insert(blob.digest());
        Ok(())
    }

    /// Makes the image visible, when manifest, config and all layers belong together and are there.
    pub fn commit(self, image: &NewImage<'_>) -> Result<CachedImage, CacheError> {
        let actual = Digest::of(image.manifest_bytes);
        if actual != self.digest {
            return Err(CacheError::WrongManifest {
                expected: self.digest,
                actual,
            });
        }
        let unusable = |source| CacheError::Document {
            digest: self.digest,
            source,
        };
        let manifest = Manifest::parse(image.manifest_bytes).map_err(unusable)?;
        let config = ImageConfig::parse(image.config_bytes).map_err(unusable)?;
        let actual = Digest::of(image.config_bytes);
        if actual != manifest.config().digest() {
            return Err(CacheError::WrongConfig {
                expected: manifest.config().digest(),
                actual,
            });
        }
        let blobs = self.blobs();
        let is_missing = |layer: &&Descriptor| !blobs.vouch(layer);
        if let Some(layer) = manifest.layers().iter().find(is_missing) {
            return Err(CacheError::Incomplete {
                manifest: self.digest,
                layer: layer.digest(),
            });
        }
        let descriptor = Descriptor::of(image.media_type.clone(), image.manifest_bytes);
        self.put_document(image.config_bytes, manifest.config())?;
        self.put_document(image.manifest_bytes, &descriptor)?;
        let platform = Some(config.platform()).filter(|platform| !platform.is_empty());
        self.publish_entry(&descriptor.with_platform(platform), image)?;
        let cached = self.cache.lookup(&self.digest, &config.platform());
        cached.map_err(|_| CacheError::Incomplete {
            manifest: self.digest,
            layer: self.digest,
        })
    }

    fn put_document(&self, bytes: &[u8], blob: &Descriptor) -> Result<(), CacheError> {
        self.blobs().expect_document(bytes, &blob.digest())?;
        self.put_blob_from(bytes, blob)
    }

    fn publish_entry(
        &self,
        descriptor: &Descriptor,
        image: &NewImage<'_>,
    ) -> Result<(), CacheError> {
        let reference = image.reference.as_ref().map(ToString::to_string);
        let entry = json(&Entry::new(descriptor.clone(), reference));
        let path = self.volume().image(&self.digest);
        make_way(self.volume(), &path, None)?;
        atomic::replace(&self.staging_dir(), &path, &entry).map_err(failed("create", &path))?;
        if let Some((index, wanted)) = &image.index {
            self.cache.add_alias(index, wanted, &self.digest)?;
        }
        self.layout
            .add_manifest(descriptor)
            .map_err(|source| CacheError::Layout {
                dir: self.volume().dir.clone(),
                source,
            })
    }

    fn volume(&self) -> &Volume {
        self.cache.volume()
    }

    fn blobs(&self) -> Blobs<'_> {
        Blobs {
            volume: self.volume(),
            staging: self.staging_dir(),
        }
    }

    fn put(&self) -> std::sync::MutexGuard<'_, BTreeSet<Digest>> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CacheWriter {
    fn drop(&mut self) {
        let staging = self.staging_dir();
        // Without a lock others may have files in there.
        let result = if self.lock.is_exclusive() {
            fs::remove_dir_all(&staging)
        } else {
            fs::remove_dir(&staging)
        };
        if let Err(error) = result {
            tracing::debug!(path = %staging.display(), %error, "left unfinished files behind");
        }
    }
}
