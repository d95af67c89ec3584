//! Docker archives: layers that are named by their diff-id only, and no manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::GzBuilder;
use futures_util::{StreamExt as _, TryStreamExt as _};
use kiln_layer::{DEFAULT_GZIP_LEVEL, LayerReader, ReadAs};
use kiln_oci::{
    ArchiveError, ArchiveImage, ArchiveLayer, Descriptor, DiffId, Digest, DigestReader,
    DockerArchive, Family, LayerCompression, Manifest, MediaType,
};
use kiln_registry::BlobSource;

use super::PushArchiveError;
use kiln_events::{Event, EventSink, Meter, Metered, Subject, Transfer, TransferKind};
use kiln_store::parcel::{Blob, Document, Parcel};

/// A docker archive with exactly one image.
#[derive(Debug)]
pub(super) struct OneImage {
    archive: DockerArchive,
    image: ArchiveImage,
}

impl OneImage {
    /// Refuses an archive with another number of images, and a config that is not what its name says.
    pub(super) fn of(archive: DockerArchive) -> Result<OneImage, PushArchiveError> {
        let [image] = archive.images() else {
            return Err(PushArchiveError::Images {
                path: archive.path().to_owned(),
                images: archive.images().iter().map(described).collect(),
            });
        };
        let image = image.clone();
        let actual = Digest::of(&image.config_bytes);
        match promised(&image.config_name) {
            Some(hex) if hex != actual.hex() => Err(PushArchiveError::Config {
                path: archive.path().to_owned(),
                entry: image.config_name,
                actual,
            }),
            _ => Ok(OneImage { archive, image }),
        }
    }
}

/// The names of an image, or else the name of its config.
fn described(image: &ArchiveImage) -> String {
    if image.repo_tags.is_empty() {
        return format!("one without a name, config `{}`", image.config_name);
    }
    let names: Vec<String> = image
        .repo_tags
        .iter()
        .map(|tag| format!("`{tag}`"))
        .collect();
    names.join(" = ")
}

/// The digest in the name of a config: `HEX.json` of `docker save` and podman, `sha256:HEX` of kaniko,
/// `blobs/sha256/HEX` of new Dockers. Whoever names it otherwise promises nothing.
fn promised(name: &str) -> Option<&str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".json").unwrap_or(name);
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    let is_hex = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then_some(name)
}

/// Reads every layer once, compresses plain ones into `dir`, and makes the manifest.
pub(super) async fn pack(
    found: OneImage,
    dir: &Path,
    events: &Arc<dyn EventSink>,
) -> Result<Parcel, PushArchiveError> {
    let OneImage { archive, image } = found;
    let archive = Arc::new(archive);
    // The same entry may be there for several layers.
    let entries: BTreeMap<u64, ArchiveLayer> = image
        .layers
        .iter()
        .map(|layer| (layer.offset(), layer.clone()))
        .collect();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let packed: BTreeMap<u64, PackedLayer> = futures_util::stream::iter(entries)
        .map(|(offset, layer)| {
            let archive = Arc::clone(&archive);
            let file = dir.join(format!("layer-{offset}"));
            let events = Arc::clone(events);
            async move {
                let packing = tokio::task::spawn_blocking(move || {
                    pack_layer(&archive, &layer, file, &events)
                });
                let packed = packing.await.map_err(|_| PushArchiveError::Lost)??;
                Ok::<_, PushArchiveError>((offset, packed))
            }
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let mut layers = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        if let Some(packed) = packed.get(&layer.offset()) {
            packed.check(&archive, layer)?;
            layers.push(packed);
        }
    }
    Ok(parcel(&image, &layers))
}

fn parcel(image: &ArchiveImage, layers: &[&PackedLayer]) -> Parcel {
    let zstd = layers
        .iter()
        .any(|layer| layer.compression == LayerCompression::Zstd);
    let family = if zstd { Family::Oci } else { Family::Docker };
    let config = Descriptor::of(MediaType::config(family), &image.config_bytes);
    let descriptors = layers.iter().map(|layer| layer.descriptor(family));
    let manifest = Manifest::new(family, config.clone(), descriptors.collect());
    let config_source = BlobSource::Bytes(Bytes::copy_from_slice(&image.config_bytes));
    let mut blobs = BTreeMap::from([(config.digest(), Blob::ready(config, config_source))]);
    for layer in layers {
        let blob = || Blob::ready(layer.descriptor(family), layer.source.clone());
        blobs.entry(layer.digest).or_insert_with(blob);
    }
    Parcel {
        blobs: blobs.into_values().collect(),
        below: Vec::new(),
        top: Document::of_manifest(&manifest, None),
        known_in: Vec::new(),
    }
}

/// A layer as it is pushed.
#[derive(Debug)]
struct PackedLayer {
    compression: LayerCompression,
    digest: Digest,
    size: u64,
    diff_id: DiffId,
    source: BlobSource,
}

impl PackedLayer {
    fn descriptor(&self, family: Family) -> Descriptor {
        let media_type = MediaType::layer(family, self.compression);
        Descriptor::new(media_type, self.digest, self.size)
    }

    /// Whether it is the layer that the config means.
    fn check(&self, archive: &DockerArchive, layer: &ArchiveLayer) -> Result<(), PushArchiveError> {
        if self.diff_id == layer.diff_id {
            return Ok(());
        }
        Err(PushArchiveError::DiffId {
            path: archive.path().to_owned(),
            entry: layer.name.clone(),
            expected: layer.diff_id,
            actual: self.diff_id,
        })
    }
}

/// Reads a layer from beginning to end; a plain one is compressed into `file` on the way.
fn pack_layer(
    archive: &DockerArchive,
    layer: &ArchiveLayer,
    file: PathBuf,
    events: &Arc<dyn EventSink>,
) -> Result<PackedLayer, PushArchiveError> {
    if layer.compression != LayerCompression::None {
        return as_it_is(archive, layer);
    }
    let transfer = Transfer::new(TransferKind::Pack)
        .on_behalf_of(Some(Subject::Archive(archive.path().display().to_string())))
        .wanting(layer.size);
    let meter = Arc::new(Meter::new(events, transfer));
    let plain = Metered::new(archive.open_layer(layer)?, Some(Arc::clone(&meter)));
    let mut tar = DigestReader::new(plain);
    let (digest, size) =
        compress(&mut tar, &file).map_err(|source| PushArchiveError::Compress {
            path: archive.path().to_owned(),
            entry: layer.name.clone(),
            source,
        })?;
    let (plain, uncompressed_size) = tar.finish();
    meter.done();
    events.event(Event::LayerPacked {
        subject: None,
        digest,
        size,
        uncompressed_size,
    });
    Ok(PackedLayer {
        compression: LayerCompression::Gzip,
        digest,
        size,
        diff_id: DiffId::from_bytes(*plain.as_bytes()),
        source: BlobSource::File(file),
    })
}

/// gzip with nothing in its header that differs from one time to the next.
fn compress(tar: impl io::Read, path: &Path) -> io::Result<(Digest, u64)> {
    let level = flate2::Compression::new(DEFAULT_GZIP_LEVEL);
    let mut packed = DigestReader::new(GzBuilder::new().read(tar, level));
    let mut file = io::BufWriter::with_capacity(256 * 1024, File::create_new(path)?);
    io::copy(&mut packed, &mut file)?;
    file.flush()?;
    Ok(packed.finish())
}

/// A compressed layer stays where it is; it is unpacked only to know its diff-id.
fn as_it_is(
    archive: &DockerArchive,
    layer: &ArchiveLayer,
) -> Result<PackedLayer, PushArchiveError> {
    let mut stored = DigestReader::new(archive.open_layer(layer)?);
    // What the tar holds is not our business here, so the more lenient rules will do.
    let diff_id = LayerReader::new(&mut stored)
        .read_as(ReadAs::Archive)
        .finish()
        .map_err(|source| PushArchiveError::Layer {
            path: archive.path().to_owned(),
            entry: layer.name.clone(),
            source: Box::new(source),
        })?;
    // Padding after the compressed data belongs to the blob as well.
    io::copy(&mut stored, &mut io::sink()).map_err(|source| ArchiveError::Io {
        operation: "read",
        path: archive.path().to_owned(),
        source,
    })?;
    let (digest, size) = stored.finish();
    Ok(PackedLayer {
        compression: layer.compression,
        digest,
        size,
        diff_id,
        source: BlobSource::Part(archive.path().to_owned(), layer.offset()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_that_promise_a_digest() {
        let hex = "0123456789abcdef".repeat(4);
        let table = [
            (format!("{hex}.json"), true),
            (format!("sha256:{hex}"), true),
            (format!("blobs/sha256/{hex}"), true),
            ("config.json".to_owned(), false),
            (hex[1..].to_owned(), false),
        ];
        assert!(!table.is_empty());
        for (name, promises) in table {
            let expected = promises.then_some(hex.as_str());
            assert_eq!(promised(&name), expected, "{name}");
        }
    }
}
