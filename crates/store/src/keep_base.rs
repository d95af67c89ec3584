//! Base images that a build had to pull are kept on a writable volume, as the warmer would keep them (conformance
//! H34): the next builder finds them there.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_oci::{Digest, Platform, Reference};
use kiln_registry::RemoteImage;
use kiln_tarball_cache::{Begun, CacheError, ImageCache, NewImage};

use crate::blobs::Blobs;

/// An image as the registry gave it, without its layers.
#[derive(Debug)]
pub struct Pulled {
    image: RemoteImage,
    reference: Reference,
    platform: Platform,
}

impl Pulled {
    /// An image that came from a registry for this platform.
    pub fn new(image: RemoteImage, reference: Reference, platform: Platform) -> Arc<Pulled> {
        Arc::new(Pulled {
            image,
            reference,
            platform,
        })
    }

    /// What the image was asked for as.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Stores the image if the build fetched all of its layers, and nobody else is storing it. Says whether it did.
    pub fn keep(&self, cache: &ImageCache, blobs: &Blobs) -> Result<bool, CacheError> {
        let layers = self.image.manifest.layers();
        let files: Option<Vec<PathBuf>> = layers
            .iter()
            .map(|layer| blobs.fetched(&layer.digest()))
            .collect();
        let Some(files) = files.filter(|files| !files.is_empty()) else {
            return Ok(false);
        };
        let Begun::Locked(writer) = cache.try_begin(&self.image.manifest_digest)? else {
            return Ok(false);
        };
        for (layer, file) in layers.iter().zip(&files) {
            writer.adopt_blob(file, layer)?;
        }
        writer.commit(&NewImage {
            index: self.index(),
            reference: Some(self.reference.clone()),
            ..NewImage::new(
                &self.image.manifest_bytes,
                self.image.manifest.effective_media_type(),
                &self.image.config_bytes,
            )
        })?;
        Ok(true)
    }

    fn index(&self) -> Option<(Digest, Platform)> {
        let index = self.image.index_digest?;
        Some((index, self.platform.clone()))
    }
}
