//! Images out of thin air.

use std::io::Write as _;

use kiln_oci::{
    Descriptor, DiffId, Digest, Family, LayerCompression, Manifest, MediaType, Platform,
};
use serde_json::{Value, json};

use crate::tree::tar_of;

/// What an image should be; [`build`](Self::build) makes it.
#[derive(Debug, Clone)]
pub struct Image {
    platform: Platform,
    family: Family,
    compression: LayerCompression,
    layers: Vec<LayerContent>,
    config: Value,
    edits: Vec<fn(&mut Value)>,
    annotations: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum LayerContent {
    Tar(Vec<u8>),
    Foreign(Vec<u8>, String),
}

/// A finished image.
#[derive(Debug, Clone)]
pub struct Built {
    /// The manifest's exact bytes.
    pub manifest: Vec<u8>,
    /// Digest of `manifest`.
    pub digest: Digest,
    /// Media type of the manifest.
    pub media_type: MediaType,
    /// The config's exact bytes.
    pub config: Vec<u8>,
    /// Describes the config.
    pub config_descriptor: Descriptor,
    /// The layers, base first.
    pub layers: Vec<BuiltLayer>,
    /// What it is for.
    pub platform: Platform,
}

/// A finished layer.
#[derive(Debug, Clone)]
pub struct BuiltLayer {
    /// Describes `blob`.
    pub descriptor: Descriptor,
    /// Digest of the archive.
    pub diff_id: DiffId,
    /// The compressed archive.
    pub blob: Vec<u8>,
}

/// An image for linux/amd64 with one layer; see [`tar_of`] for the text.
pub fn image_from(tree: &str) -> Image {
    Image::new().layer(tree)
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// No layers, empty config, linux/amd64, OCI media types, gzip.
    pub fn new() -> Self {
        Self {
            platform: Platform::new("linux", "amd64"),
            family: Family::Oci,
            compression: LayerCompression::Gzip,
            layers: Vec::new(),
            config: json!({}),
            edits: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Adds a layer; see [`tar_of`] for the text.
    #[must_use]
    pub fn layer(self, tree: &str) -> Self {
        self.layer_tar(tar_of(tree))
    }

    /// Adds a layer that is this archive.
    #[must_use]
    pub fn layer_tar(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(LayerContent::Tar(tar));
        self
    }

    /// Adds a layer that may not be distributed and lives at `url`.
    #[must_use]
    pub fn foreign_layer(mut self, tree: &str, url: &str) -> Self {
        self.layers
            .push(LayerContent::Foreign(tar_of(tree), url.to_owned()));
        self
    }

    /// Docker schema 2 media types.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.family = Family::Docker;
        self
    }

    /// How layers are packed from now on; the last call counts for all.
    #[must_use]
    pub fn compression(mut self, compression: LayerCompression) -> Self {
        self.compression = compression;
        self
    }

    /// What it is for, e.g. `linux/arm64`.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.parse().expect("not a platform");
        self
    }

    /// Adds `NAME=value`.
    #[must_use]
    pub fn env(mut self, entry: &str) -> Self {
        match &mut self.config["Env"] {
            Value::Array(entries) => entries.push(json!(entry)),
            none => *none = json!([entry]),
        }
        self
    }

    /// Sets a field of the container config, e.g. `("WorkingDir", json!("/x"))`.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Changes the finished config document, to make odd ones.
    #[must_use]
    pub fn edit(mut self, edit: fn(&mut Value)) -> Self {
        self.edits.push(edit);
        self
    }

    /// Makes it.
    pub fn build(&self) -> Built {
        let layers: Vec<BuiltLayer> = self.layers.iter().map(|layer| self.pack(layer)).collect();
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect();
        let history: Vec<Value> = layers
            .iter()
            .map(|_| json!({"created_by": "kiln-testkit"}))
            .collect();
        let mut config = json!({
            "created": "2024-01-02T03:04:05Z",
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        for edit in &self.edits {
            edit(&mut config);
        }
        let config = serde_json::to_vec(&config).expect("JSON");
        let config_descriptor = Descriptor::of(MediaType::config(self.family), &config);
        let descriptors = layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        let manifest = Manifest::new(self.family, config_descriptor.clone(), descriptors)
            .with_annotations(self.annotations.iter().cloned())
            .to_bytes();
        Built {
            digest: Digest::of(&manifest),
            media_type: MediaType::manifest(self.family),
            manifest,
            config,
            config_descriptor,
            layers,
            platform: self.platform.clone(),
        }
    }

    fn pack(&self, layer: &LayerContent) -> BuiltLayer {
        let (LayerContent::Tar(tar) | LayerContent::Foreign(tar, _)) = layer;
        let blob = match self.compression {
            LayerCompression::None => tar.clone(),
            LayerCompression::Gzip => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(tar)
                    .and_then(|()| gzip.finish())
                    .expect("writing to memory")
            }
            LayerCompression::Zstd => zstd::encode_all(&tar[..], 1).expect("writing to memory"),
        };
        let mut descriptor = Descriptor::of(MediaType::layer(self.family, self.compression), &blob);
        if let LayerContent::Foreign(_, url) = layer {
            let media_type = match self.family {
                Family::Docker => MediaType::DockerForeignLayerGzip,
                Family::Oci => MediaType::OciForeignLayerGzip,
            };
            descriptor = descriptor
                .with_media_type(media_type)
                .with_urls(vec![url.clone()]);
        }
        BuiltLayer {
            descriptor,
            diff_id: DiffId::of(tar),
            blob,
        }
    }
}

impl Built {
    /// An index entry for it.
    pub fn index_entry(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.manifest)
            .with_platform(Some(self.platform.clone()))
    }
}
