//! Images as other people's tools read them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::layout::digest;
use crate::tool::{output, skopeo, tool};
use crate::tree::{Node, Tree};

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The media type that the manifest gives.
    pub media_type: String,
    /// `sha256:...` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// `sha256:...` of the uncompressed tar, computed here.
    pub diff_id: String,
    /// The first bytes of the blob.
    pub head: Vec<u8>,
    /// The tar's entries in order, whiteouts included.
    pub entries: Vec<(String, Node)>,
}

impl Layer {
    /// The entry's names, as written.
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// An image that was copied out of a registry, archive or layout by `skopeo`, byte for byte.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where `skopeo` found it, in its own notation.
    pub source: String,
    /// `sha256:...` of the manifest's bytes.
    pub digest: String,
    /// The manifest.
    pub manifest: Value,
    /// The image config.
    pub config: Value,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Reads an image by a `skopeo` name such as `docker://127.0.0.1:5000/a`, `oci:DIR:TAG` or `docker-archive:FILE`.
    pub fn read(source: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let to = format!("dir:{}", dir.path().display());
        output(
            skopeo(["copy", "--quiet", "--src-tls-verify=false"])
                .arg(source)
                .arg(to),
        );
        let bytes =
            fs::read(dir.path().join("manifest.json")).expect("skopeo writes manifest.json");
        let manifest: Value = serde_json::from_slice(&bytes).expect("a manifest is JSON");
        let config_digest = manifest["config"]["digest"].as_str().unwrap_or_default();
        let config = fs::read(blob(dir.path(), config_digest)).expect("skopeo writes the config");
        assert_eq!(digest(&config), config_digest, "the config's digest");
        let config: Value = serde_json::from_slice(&config).expect("a config is JSON");
        let layers: Vec<Layer> = manifest["layers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|descriptor| read_layer(dir.path(), descriptor))
            .collect();
        let image = Self {
            source: source.to_owned(),
            digest: digest(&bytes),
            manifest,
            config,
            layers,
        };
        image.check();
        image
    }

    /// What must hold for every image, whoever made it.
    fn check(&self) {
        let diff_ids: Vec<&str> = strings(&self.config["rootfs"]["diff_ids"]);
        let ours: Vec<&str> = self
            .layers
            .iter()
            .map(|layer| layer.diff_id.as_str())
            .collect();
        assert_eq!(diff_ids, ours, "rootfs.diff_ids are those of the layers");
        // F17: history entries that are not empty_layer count the layers.
        if let Some(history) = self.config["history"].as_array() {
            let full = history
                .iter()
                .filter(|entry| entry["empty_layer"] != true)
                .count();
            assert_eq!(
                full,
                self.layers.len(),
                "history and layers agree: {history:#?}"
            );
        }
    }

    /// The file tree of all layers.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        for layer in &self.layers {
            tree.apply(&layer.entries);
        }
        tree
    }

    /// `config.<key>` of the image config.
    pub fn setting(&self, key: &str) -> &Value {
        &self.config["config"][key]
    }

    /// A list such as `config.Cmd`; absent and empty are the same.
    pub fn list(&self, key: &str) -> Vec<&str> {
        strings(self.setting(key))
    }

    /// The value of an environment variable of the image.
    pub fn env(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}=");
        strings(self.setting("Env"))
            .into_iter()
            .find_map(|pair| pair.strip_prefix(&prefix))
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.setting("Labels")[name].as_str()
    }

    /// `created_by` of every history entry.
    pub fn history(&self) -> Vec<&str> {
        let entries = self.config["history"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["created_by"].as_str().unwrap_or_default())
            .collect()
    }

    /// Layers above those of `base`, which must be at the bottom unchanged.
    pub fn above<'a>(&'a self, base: &Self) -> &'a [Layer] {
        assert!(self.layers.len() >= base.layers.len(), "layers are missing");
        for (own, below) in self.layers.iter().zip(&base.layers) {
            assert_eq!(
                own.digest, below.digest,
                "layers of the base pass through with their digests"
            );
        }
        &self.layers[base.layers.len()..]
    }

    /// Unpacks the image with `umoci` into a bundle below `dir`, as root, and gives the path of its root.
    pub fn unpack(&self, dir: &Path) -> PathBuf {
        fs::create_dir_all(dir).expect("a folder");
        let layout = dir.join("layout");
        output(
            skopeo(["copy", "--quiet", "--src-tls-verify=false"])
                .arg(&self.source)
                .arg(format!("oci:{}:image", layout.display())),
        );
        let bundle = dir.join("bundle");
        let mut unpack = Command::new(tool("umoci"));
        unpack.arg("unpack");
        if !crate::is_root() {
            unpack.arg("--rootless");
        }
        output(
            unpack
                .arg("--image")
                .arg(format!("{}:image", layout.display()))
                .arg(&bundle),
        );
        bundle.join("rootfs")
    }
}

/// All strings of a JSON array; none for anything else.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

fn blob(dir: &Path, digest: &str) -> PathBuf {
    dir.join(digest.trim_start_matches("sha256:"))
}

fn read_layer(dir: &Path, descriptor: &Value) -> Layer {
    let name = descriptor["digest"].as_str().expect("a layer has a digest");
    let bytes = fs::read(blob(dir, name)).expect("skopeo writes every layer");
    assert_eq!(digest(&bytes), name, "a layer's digest");
    assert_eq!(
        descriptor["size"].as_u64(),
        Some(bytes.len() as u64),
        "a layer's size"
    );
    let head = bytes[..bytes.len().min(16)].to_vec();
    let mut tar = Vec::new();
    match &head[..] {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut tar),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::Decoder::new(&bytes[..]).and_then(|mut reader| reader.read_to_end(&mut tar))
        }
        _ => (&bytes[..]).read_to_end(&mut tar),
    }
    .expect("a layer can be decompressed");
    Layer {
        media_type: descriptor["mediaType"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        digest: name.to_owned(),
        size: bytes.len() as u64,
        diff_id: digest(&tar),
        head,
        entries: Tree::of_layer(&tar[..]).expect("a layer is a tar"),
    }
}
