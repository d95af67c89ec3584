//! The finished image as a value: manifest, config, and where each blob is (conformance F15, F17, F26).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_oci::{
    ConfigDraft, Descriptor, DiffId, Digest, Family, ImageConfig, LayerCompression, Manifest,
    MediaType, Repository,
};

use crate::clock::Clock;
use crate::history;
use kiln_store::blobs::Blobs;
use kiln_store::early::EarlyUpload;
use kiln_store::layers::Described;
use kiln_store::origin::Origin;
use kiln_store::parcel::{Blob, Document, Parcel};

/// Where the bytes of a layer are.
#[derive(Debug, Clone)]
pub enum LayerBytes {
    /// In a file of the work folder, and maybe on their way to a registry.
    Packed(PathBuf, Option<Arc<EarlyUpload>>),
    /// Where the base came from.
    Base(Origin),
}

/// One layer of the finished image.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// Digest, size and media type of its blob.
    pub descriptor: Descriptor,
    /// Digest of its tar.
    pub diff_id: DiffId,
    /// Where its blob is.
    pub bytes: LayerBytes,
}

/// A finished image.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The config.
    pub config: ImageConfig,
    /// The config as it is sent.
    pub config_bytes: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest as it is sent.
    pub manifest_bytes: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<ImageLayer>,
    /// Digest of the manifest.
    pub digest: Digest,
}

/// What a stage came to, but for its layers.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The config that the last step left.
    pub config: &'a ConfigDraft,
    /// How many of the history's entries came with the base image.
    pub base_history: usize,
    /// The media types of the base's manifest; `None` for scratch.
    pub family: Option<Family>,
}

/// What the caller wants of the image beyond what the stage made.
#[derive(Debug)]
pub struct Finishing<'a> {
    /// The media types that were asked for.
    pub format: Option<Family>,
    /// Labels that are added.
    pub labels: &'a [(String, String)],
    /// Annotations of the manifest.
    pub annotations: &'a [(String, String)],
    /// Where its times come from.
    pub clock: Clock,
}

impl BuiltImage {
    /// Puts the image together from a finished stage whose layers are all described.
    pub fn assemble(
        stage: &Outcome<'_>,
        layers: Vec<Described>,
        finishing: &Finishing<'_>,
    ) -> BuiltImage {
        let family = family(
            finishing.format,
            stage.family,
            has_zstd(&layers),
            !finishing.annotations.is_empty(),
        );
        let layers: Vec<ImageLayer> = layers
            .into_iter()
            .map(|layer| image_layer(layer, family))
            .collect();
        let mut base = stage.config.clone();
        if let Clock::Wall = finishing.clock {
            let own = base.history.get_mut(stage.base_history..);
            history::settle_times(own.unwrap_or_default());
        }
        let config = config(base, &layers, finishing);
        let config_bytes = config.to_bytes();
        let config_descriptor = Descriptor::of(MediaType::config(family), &config_bytes);
        let descriptors = layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        let manifest = Manifest::new(family, config_descriptor, descriptors)
            .with_annotations(finishing.annotations.iter().cloned());
        let manifest_bytes = manifest.to_bytes();
        BuiltImage {
            digest: Digest::of(&manifest_bytes),
            config: config.into(),
            config_bytes,
            manifest,
            manifest_bytes,
            layers,
        }
    }
}

impl BuiltImage {
    /// The image as it is sent. `known_in` are repositories that the layers made here may be in.
    pub fn parcel(&self, blobs: &Arc<Blobs>, known_in: Vec<Repository>) -> Parcel {
        let config = Blob::of_bytes(self.manifest.config().clone(), &self.config_bytes);
        let mut seen = BTreeSet::from([config.descriptor.digest()]);
        let mut all = vec![config];
        // The same layer may be in the image twice; it is one blob (I33).
        let layers = self
            .layers
            .iter()
            .filter(|layer| seen.insert(layer.descriptor.digest()));
        all.extend(layers.map(|layer| layer.blob(blobs)));
        Parcel {
            blobs: all,
            below: Vec::new(),
            top: Document::of_manifest(&self.manifest, Some(self.config.platform())),
            known_in,
        }
    }
}

impl ImageLayer {
    fn blob(&self, blobs: &Arc<Blobs>) -> Blob {
        let descriptor = self.descriptor.clone();
        match &self.bytes {
            LayerBytes::Packed(file, early) => {
                Blob::packed(descriptor, file.clone(), early.clone())
            }
            LayerBytes::Base(origin) => Blob::of_base(descriptor, origin.clone(), blobs),
        }
    }
}

/// The family of the image: the one asked for, else that of the base, else OCI (C11). Without an explicit wish,
/// OCI where docker's cannot say it: zstd layers, annotations.
pub fn family(asked: Option<Family>, base: Option<Family>, zstd: bool, annotated: bool) -> Family {
    match asked.or(base) {
        Some(Family::Docker) if !zstd && !annotated => Family::Docker,
        _ => Family::Oci,
    }
}

fn has_zstd(layers: &[Described]) -> bool {
    layers.iter().any(|layer| match layer {
        Described::Own(packed) => packed.info.compression == LayerCompression::Zstd,
        Described::Base(descriptor, ..) => {
            descriptor.media_type().layer_compression() == Some(LayerCompression::Zstd)
        }
    })
}

/// Blobs pass unchanged; only the media type follows the image's family (F26).
fn image_layer(layer: Described, family: Family) -> ImageLayer {
    match layer {
        Described::Base(descriptor, diff_id, origin) => {
            let media_type = descriptor.media_type().in_family(family);
            ImageLayer {
                descriptor: descriptor.with_media_type(media_type),
                diff_id,
                bytes: LayerBytes::Base(origin),
            }
        }
        Described::Own(packed) => {
            let media_type = MediaType::layer(family, packed.info.compression);
            ImageLayer {
                descriptor: Descriptor::new(media_type, packed.info.digest, packed.info.size),
                diff_id: packed.info.diff_id,
                bytes: LayerBytes::Packed(packed.path, packed.early),
            }
        }
    }
}

fn config(
    mut config: ConfigDraft,
    layers: &[ImageLayer],
    finishing: &Finishing<'_>,
) -> ConfigDraft {
    "layers".clone_into(&mut config.rootfs.kind);
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    config
        .config
        .labels
        .extend(finishing.labels.iter().cloned());
    let last = config
        .history
        .last()
        .and_then(|entry| entry.created.clone());
    config.created = last.or_else(|| Some(finishing.clock.rfc3339()));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: C11 F25 F26 G46
    #[test]
    fn docker_only_where_docker_can_say_it() {
        use Family::{Docker, Oci};
        let table = [
            (None, None, false, false, Oci),
            (None, Some(Docker), false, false, Docker),
            (None, Some(Oci), false, false, Oci),
            (Some(Docker), Some(Oci), false, false, Docker),
            (Some(Oci), Some(Docker), false, false, Oci),
            (None, Some(Docker), true, false, Oci),
            (None, Some(Docker), false, true, Oci),
        ];
        assert!(!table.is_empty());
        for (asked, base, zstd, annotated, expected) in table {
            assert_eq!(
                family(asked, base, zstd, annotated),
                expected,
                "{asked:?} {base:?}"
            );
        }
    }
}
