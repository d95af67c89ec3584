//! Reading what kaniko's warmer left in the same volume.
//!
//! Its usual form is a docker archive named by the manifest digest, `sha256:<hex>`, with the manifest in
//! `sha256:<hex>.json`; a newer one is an OCI layout directory of that name. Names without `sha256:` occur as well.
//! Nothing here is ever written or moved: the volume may still be shared with kaniko.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use kiln_oci::{Digest, Layout, LayoutError, Platform, read_docker_archive};

use crate::image::{Origin, Source, parse_manifest};
use crate::volume::{blobs, is_nothing_there, read_document, verify};
use crate::{CachedImage, Miss};

/// Looks for an image under the names that kaniko's warmer gives.
pub(crate) fn lookup(dir: &Path, digest: &Digest, wanted: &Platform) -> Result<CachedImage, Miss> {
    for name in [digest.to_string(), digest.hex()] {
        let path = dir.join(&name);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_nothing_there(&error) => continue,
            Err(source) => return Err(Miss::Unreadable { path, source }),
        };
        let stored_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if metadata.is_dir() {
            return layout(&path, digest, wanted, stored_at);
        }
        if metadata.is_file() {
            return archive(path, digest, stored_at);
        }
    }
    Err(Miss::Absent { digest: *digest })
}

/// The digest in a name that kaniko's warmer would give to an image.
pub(crate) fn digest_of_name(name: &str) -> Option<Digest> {
    name.parse().or_else(|_| Digest::from_hex(name)).ok()
}

fn archive(path: PathBuf, digest: &Digest, stored_at: SystemTime) -> Result<CachedImage, Miss> {
    let mut beside = path.clone().into_os_string();
    beside.push(".json");
    let beside = PathBuf::from(beside);
    let Some(manifest_bytes) = read_document(&beside)? else {
        return Err(Miss::NoManifest { path });
    };
    verify(&beside, &manifest_bytes, digest)?;
    let manifest = parse_manifest(&beside, &manifest_bytes)?;

    let archive = read_docker_archive(&path).map_err(Miss::Archive)?;
    // Repacked layers would have other lengths, and another image another config.
    let image = archive.images().iter().find(|image| {
        Digest::of(&image.config_bytes) == manifest.config().digest()
            && image.layers.len() == manifest.layers().len()
            && image
                .layers
                .iter()
                .zip(manifest.layers())
                .all(|(stored, named)| stored.size == named.size())
    });
    let Some(image) = image.cloned() else {
        return Err(Miss::OtherImage {
            path,
            manifest: *digest,
        });
    };
    Ok(CachedImage {
        manifest_digest: *digest,
        media_type: manifest.effective_media_type(),
        manifest,
        manifest_bytes,
        config: image.config,
        config_bytes: image.config_bytes,
        reference: image.repo_tags.into_iter().next(),
        stored_at,
        source: Source::Archive {
            archive: Arc::new(archive),
            layers: image.layers,
        },
    })
}

/// A layout of one image. Its index must list the very digest asked for, as a manifest or as an index: the name of
/// the directory proves nothing.
fn layout(
    path: &Path,
    digest: &Digest,
    wanted: &Platform,
    stored_at: SystemTime,
) -> Result<CachedImage, Miss> {
    let layout = Layout::open(path).map_err(Miss::Layout)?;
    let index = layout.index().map_err(Miss::Layout)?;
    let listed = index
        .manifests()
        .iter()
        .find(|entry| entry.digest() == *digest);
    let listed = listed.ok_or_else(|| Miss::OtherImage {
        path: path.to_owned(),
        manifest: *digest,
    })?;
    let manifest = if listed.media_type().is_index() {
        layout
            .find_in(listed, wanted)
            .map_err(|error| match error {
                LayoutError::Platform { .. } => Miss::OtherPlatform {
                    index: *digest,
                    wanted: Box::new(wanted.normalized()),
                },
                other => Miss::Layout(other),
            })?
            .digest()
    } else {
        *digest
    };
    CachedImage::from_blobs(blobs(path), Origin::KanikoLayout, manifest, stored_at)
}
