//! An image of the volume, whoever put it there.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use kiln_oci::{
    ArchiveError, ArchiveLayer, Descriptor, Digest, DockerArchive, ImageConfig, Manifest,
    MediaType, Platform, VerifyingReader,
};

use crate::volume::{is_nothing_there, read_verified};
use crate::{CacheError, Miss};

/// A complete image: manifest and config as the registry sent them, and its layers on disk.
#[derive(Debug, Clone)]
pub struct CachedImage {
    /// The digest of [`CachedImage::manifest_bytes`].
    pub manifest_digest: Digest,
    /// The manifest as read.
    pub manifest: Manifest,
    /// The manifest as the registry sent it.
    pub manifest_bytes: Vec<u8>,
    /// The media type of the manifest.
    pub media_type: MediaType,
    /// The config as read.
    pub config: ImageConfig,
    /// The config as the registry sent it.
    pub config_bytes: Vec<u8>,
    /// The name it was stored under, when that is known.
    pub reference: Option<String>,
    /// When it was stored, for expiry (H31).
    pub stored_at: SystemTime,
    pub(crate) source: Source,
}

/// Who put an image into the volume, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Kiln, in the shared layout.
    Volume,
    /// kaniko's warmer, as a docker archive.
    KanikoArchive,
    /// kaniko's warmer, as an OCI layout of its own.
    KanikoLayout,
}

/// Where the layers are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Files named by digest.
    Blobs { dir: PathBuf, origin: Origin },
    /// Entries of a tar, in the order of the manifest's layers.
    Archive {
        archive: Arc<DockerArchive>,
        layers: Vec<ArchiveLayer>,
    },
}

impl CachedImage {
    /// Reads an image whose blobs are files in `dir`, and makes sure that all of them are there in full length.
    pub(crate) fn from_blobs(
        dir: PathBuf,
        origin: Origin,
        manifest_digest: Digest,
        stored_at: SystemTime,
    ) -> Result<Self, Miss> {
        let at = |digest: &Digest| dir.join(digest.hex());
        let path = at(&manifest_digest);
        let manifest_bytes = read_verified(&path, &manifest_digest)?;
        let manifest = parse_manifest(&path, &manifest_bytes)?;
        let path = at(&manifest.config().digest());
        let config_bytes = read_verified(&path, &manifest.config().digest())?;
        let config =
            ImageConfig::parse(&config_bytes).map_err(|source| Miss::Document { path, source })?;
        for layer in manifest.layers() {
            check_size(&at(&layer.digest()), layer.size())?;
        }
        Ok(Self {
            manifest_digest,
            media_type: manifest.effective_media_type(),
            manifest,
            manifest_bytes,
            config,
            config_bytes,
            reference: None,
            stored_at,
            source: Source::Blobs { dir, origin },
        })
    }

    /// What the image is for, according to its config.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// Who stored it.
    pub fn origin(&self) -> Origin {
        match &self.source {
            Source::Blobs { origin, .. } => *origin,
            Source::Archive { .. } => Origin::KanikoArchive,
        }
    }

    /// Length of all layers in bytes, as stored; one that occurs twice counts twice.
    pub fn size(&self) -> u64 {
        self.manifest.layers().iter().map(Descriptor::size).sum()
    }

    /// The file of a layer, config or manifest of this image; `None` when it is inside an archive, or not this
    /// image's.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        let is_ours = *digest == self.manifest_digest
            || *digest == self.manifest.config().digest()
            || self.layer_index(digest).is_some();
        match &self.source {
            Source::Blobs { dir, .. } if is_ours => Some(dir.join(digest.hex())),
            _ => None,
        }
    }

    /// Opens a layer as stored, wherever it is. Reading to its end fails if the content is not the digest's.
    pub fn open_layer(
        &self,
        layer: &Descriptor,
    ) -> Result<VerifyingReader<Box<dyn Read + Send>>, CacheError> {
        let reader: Box<dyn Read + Send> = match &self.source {
            Source::Blobs { dir, .. } => {
                let path = dir.join(layer.digest().hex());
                let file =
                    kiln_oci::open_file(&path).map_err(crate::error::failed("open", &path))?;
                Box::new(file)
            }
            Source::Archive { archive, layers } => {
                let found = self
                    .layer_index(&layer.digest())
                    .and_then(|i| layers.get(i));
                let found = found.ok_or(CacheError::Incomplete {
                    manifest: self.manifest_digest,
                    layer: layer.digest(),
                })?;
                Box::new(
                    archive
                        .open_layer(found)
                        .map_err(|error| in_archive(archive, error))?,
                )
            }
        };
        Ok(VerifyingReader::new(
            reader,
            layer.digest(),
            Some(layer.size()),
        ))
    }

    fn layer_index(&self, digest: &Digest) -> Option<usize> {
        let layers = self.manifest.layers();
        layers.iter().position(|layer| layer.digest() == *digest)
    }
}

/// Opening a layer of an archive only fails when its file does.
fn in_archive(archive: &DockerArchive, error: ArchiveError) -> CacheError {
    let source = match error {
        ArchiveError::Io { source, .. } => source,
        other => std::io::Error::other(other),
    };
    crate::error::failed("read", archive.path())(source)
}

pub(crate) fn parse_manifest(path: &Path, bytes: &[u8]) -> Result<Manifest, Miss> {
    Manifest::parse(bytes).map_err(|source| Miss::Document {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn check_size(path: &Path, expected: u64) -> Result<(), Miss> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_nothing_there(&error) => {
            return Err(Miss::BlobMissing {
                path: path.to_owned(),
            });
        }
        Err(source) => {
            return Err(Miss::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    if metadata.is_file() && metadata.len() == expected {
        return Ok(());
    }
    Err(Miss::BlobSize {
        path: path.to_owned(),
        expected,
        actual: metadata.len(),
    })
}
