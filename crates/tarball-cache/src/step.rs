//! Results of single build steps, under the key that says what the step is.
//!
//! A step is a manifest with a config and at most one layer. Its blobs lie among those of the images, so a layer that
//! is part of both is stored once. No lock is held: two writers of one key write whole entries, and the last one stays.

use std::path::{Path, PathBuf};

use kiln_oci::{Descriptor, Digest, Manifest, atomic};
use serde::{Deserialize, Serialize};

use crate::damaged::make_way;
use crate::error::failed;
use crate::image::{check_size, parse_manifest};
use crate::volume::{Volume, json, read_document, read_verified};
use crate::{CacheError, ImageCache, Miss};

const VERSION: u32 = 1;

/// The result of a step, to be stored.
#[derive(Debug, Clone)]
pub struct NewStep<'a> {
    /// The manifest, which names the config and at most one layer.
    pub manifest_bytes: &'a [u8],
    /// The config.
    pub config_bytes: &'a [u8],
    /// The finished file of the layer, which must not change afterwards; not needed when the volume has the blob.
    pub layer: Option<(&'a Path, &'a Descriptor)>,
}

/// The result of a step, complete in the volume.
#[derive(Debug, Clone)]
pub struct CachedStep {
    /// The digest of [`CachedStep::manifest_bytes`].
    pub manifest_digest: Digest,
    /// The manifest as read.
    pub manifest: Manifest,
    /// The manifest as it was stored.
    pub manifest_bytes: Vec<u8>,
    /// The blobs.
    dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StepEntry {
    version: u32,
    pub(crate) manifest: Descriptor,
}

impl StepEntry {
    /// The entry of a key, which must be one.
    pub(crate) fn read(volume: &Volume, key: &str) -> Result<Self, Miss> {
        let absent = || Miss::NoStep {
            key: key.to_owned(),
        };
        if !is_key(key) {
            return Err(absent());
        }
        let path = volume.step(key);
        let bytes = read_document(&path)?.ok_or_else(absent)?;
        let entry: Self = serde_json::from_slice(&bytes).map_err(|source| Miss::Entry {
            path: path.clone(),
            source,
        })?;
        if entry.version == VERSION {
            Ok(entry)
        } else {
            Err(Miss::Misplaced { path })
        }
    }
}

impl CachedStep {
    /// The file of the one layer; `None` when the step has none.
    pub fn layer_path(&self) -> Option<PathBuf> {
        let layer = self.manifest.layers().first()?;
        Some(self.dir.join(layer.digest().hex()))
    }

    /// Reads the config and makes sure it is the manifest's.
    pub fn read_config(&self) -> Result<Vec<u8>, Miss> {
        let digest = &self.manifest.config().digest();
        read_verified(&self.dir.join(digest.hex()), digest)
    }
}

impl ImageCache {
    /// Finds the result of a step by its key of 64 lower-case hexadecimal digits; any reason not to serve it is a
    /// [`Miss`]. The layer is there in full length; its content was verified while it was written.
    pub fn step(&self, key: &str) -> Result<CachedStep, Miss> {
        let entry = StepEntry::read(self.volume(), key)?;
        let dir = self.volume().blobs();
        let at = |digest: &Digest| dir.join(digest.hex());
        let manifest_digest = entry.manifest.digest();
        let path = at(&manifest_digest);
        let manifest_bytes = read_verified(&path, &manifest_digest)?;
        let manifest = parse_manifest(&path, &manifest_bytes)?;
        if manifest.layers().len() > 1 {
            return Err(Miss::Misplaced { path });
        }
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            check_size(&at(&blob.digest()), blob.size())?;
        }
        Ok(CachedStep {
            manifest_digest,
            manifest,
            manifest_bytes,
            dir,
        })
    }

    /// Stores the result of a step, in place of an older one of the same key. It is visible once it is whole.
    pub fn put_step(&self, key: &str, step: &NewStep<'_>) -> Result<(), CacheError> {
        self.writable()?;
        if !is_key(key) {
            return Err(CacheError::Name {
                name: key.to_owned(),
            });
        }
        let manifest = checked(step)?;
        let described = Descriptor::of(manifest.effective_media_type(), step.manifest_bytes);
        let blobs = self.loose_blobs();
        match (step.layer, manifest.layers().first()) {
            (_, Some(layer)) if blobs.vouch(layer) => {}
            (Some((path, layer)), _) => blobs.adopt(path, layer)?,
            (None, Some(layer)) => {
                return Err(CacheError::Incomplete {
                    manifest: described.digest(),
                    layer: layer.digest(),
                });
            }
            (None, None) => {}
        }
        for (bytes, blob) in [
            (step.config_bytes, manifest.config()),
            (step.manifest_bytes, &described),
        ] {
            blobs.expect_document(bytes, &blob.digest())?;
            if !blobs.vouch(blob) {
                blobs.write(bytes, blob)?;
            }
        }
        let path = self.volume().step(key);
        make_way(self.volume(), &path, None)?;
        let entry = json(&StepEntry {
            version: VERSION,
            manifest: described,
        });
        atomic::replace(&blobs.staging, &path, &entry).map_err(failed("create", &path))
    }
}

/// The manifest, when config and layer are the ones it names.
fn checked(step: &NewStep<'_>) -> Result<Manifest, CacheError> {
    let digest = Digest::of(step.manifest_bytes);
    let manifest = Manifest::parse(step.manifest_bytes)
        .map_err(|source| CacheError::Document { digest, source })?;
    let actual = Digest::of(step.config_bytes);
    if actual != manifest.config().digest() {
        return Err(CacheError::WrongConfig {
            expected: manifest.config().digest(),
            actual,
        });
    }
    if manifest.layers().len() > 1 {
        return Err(CacheError::StepLayers {
            manifest: digest,
            layers: manifest.layers().len(),
        });
    }
    if let Some((_, offered)) = step.layer
        && !manifest
            .layers()
            .iter()
            .any(|layer| layer.digest() == offered.digest() && layer.size() == offered.size())
    {
        return Err(CacheError::WrongLayer {
            manifest: digest,
            layer: offered.digest(),
        });
    }
    Ok(manifest)
}

/// 64 lower-case hexadecimal digits, which also makes a safe file name.
pub(crate) fn is_key(key: &str) -> bool {
    key.len() == 64 && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
