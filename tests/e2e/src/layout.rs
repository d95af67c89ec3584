//! Images made by hand: layer tars with `tar`, an OCI layout around them. No code of Kiln's takes part.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A layer's tar under construction.
#[derive(Debug, Clone, Default)]
pub struct TarTree {
    bytes: Vec<u8>,
    xattrs: Vec<(String, Vec<u8>)>,
    owner: (u64, u64),
}

impl TarTree {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Owner of the entries that follow.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Gives the next entry an extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs
            .push((format!("SCHILY.xattr.{name}"), value.to_vec()));
        self
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, mode, None, &[])
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, None, content.as_ref())
    }

    /// A symbolic link with exactly this text.
    #[must_use]
    pub fn symlink(self, path: &str, text: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, Some(text), &[])
    }

    /// A hard link entry with exactly this target; its mode is that of the file, as every tar writer has it.
    #[must_use]
    pub fn hardlink(self, path: &str, mode: u32, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, mode, Some(target), &[])
    }

    /// A character device.
    #[must_use]
    pub fn char_device(self, path: &str, major: u32, minor: u32) -> Self {
        self.put(
            path,
            tar::EntryType::Char,
            0o666,
            None,
            &[],
            Some((major, minor)),
        )
    }

    /// The tar with its end marker.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    fn entry(
        self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: Option<&str>,
        content: &[u8],
    ) -> Self {
        self.put(path, kind, mode, link, content, None)
    }

    // Names are written into the header byte by byte: the `tar` crate refuses the hostile ones that tests need.
    fn put(
        mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: Option<&str>,
        content: &[u8],
        device: Option<(u32, u32)>,
    ) -> Self {
        if !self.xattrs.is_empty() {
            let records: Vec<u8> = self
                .xattrs
                .drain(..)
                .flat_map(|(key, value)| pax_record(&key, &value))
                .collect();
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::XHeader);
            header.as_mut_bytes()[..4].copy_from_slice(b"pax\0");
            header.set_size(records.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            self.append(&header, &records);
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        assert!(
            path.len() <= 100 && link.is_none_or(|text| text.len() <= 100),
            "the fixture writes short names only"
        );
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(text) = link {
            header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        if let Some((major, minor)) = device {
            header.set_device_major(major).expect("a ustar header");
            header.set_device_minor(minor).expect("a ustar header");
        }
        header.set_cksum();
        self.append(&header, content);
        self
    }

    fn append(&mut self, header: &tar::Header, content: &[u8]) {
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    // "<length> <key>=<value>\n", where the length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// How a layer blob is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// No compression.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// gzip whose second half is overwritten, under a digest that is right for the broken bytes.
    BrokenGzip,
    /// gzip cut in the middle, under a digest that is right for the short blob.
    CutGzip,
}

/// One layer of a hand-made image.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// How the blob is packed.
    pub packing: Packing,
}

/// An image, or with several platforms an index of images that differ in architecture only.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// Layers, lowest first.
    pub layers: Vec<LayerSpec>,
    /// The `config` object of the image config.
    pub config: Value,
    /// `(architecture, variant)`; more than one makes an index.
    pub platforms: Vec<(&'static str, Option<&'static str>)>,
    /// Docker schema2 instead of OCI.
    pub docker: bool,
    /// The operating system that manifests and configs name.
    pub os: &'static str,
}

impl ImageSpec {
    /// An OCI image for this machine's architecture.
    pub fn new(layers: Vec<LayerSpec>, config: Value) -> Self {
        Self {
            layers,
            config,
            platforms: vec![(host_architecture(), None)],
            docker: false,
            os: "linux",
        }
    }

    /// An image of one gzip layer with an empty config.
    pub fn of(tar: TarTree) -> Self {
        Self::new(
            vec![LayerSpec {
                tar: tar.finish(),
                packing: Packing::Gzip,
            }],
            json!({}),
        )
    }

    /// Writes an OCI layout with this image under `tag`.
    pub fn write_layout(&self, dir: &Path, tag: &str) {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("the layout's folders");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
        let mut manifests: Vec<Value> = self
            .platforms
            .iter()
            .map(|(architecture, variant)| self.write_image(dir, architecture, *variant))
            .collect();
        let mut top = if manifests.len() == 1 {
            let mut only = manifests.remove(0);
            only.as_object_mut()
                .expect("a descriptor")
                .remove("platform");
            only
        } else {
            let media_type = "application/vnd.oci.image.index.v1+json";
            let index =
                json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
            write_blob(dir, media_type, index.to_string().as_bytes())
        };
        top["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "manifests": [top] });
        fs::write(dir.join("index.json"), index.to_string()).expect("index.json");
    }

    fn write_image(&self, dir: &Path, architecture: &str, variant: Option<&str>) -> Value {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in &self.layers {
            diff_ids.push(digest(&layer.tar));
            let (suffix, blob) = layer.pack();
            layers.push(write_blob(
                dir,
                &format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
                &blob,
            ));
        }
        let history: Vec<Value> = (0..layers.len())
            .map(|at| json!({ "created": "2020-01-01T00:00:00Z", "created_by": format!("base layer {at}") }))
            .collect();
        let mut config = json!({
            "architecture": architecture, "os": self.os, "created": "2020-01-01T00:00:00Z", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history,
        });
        let mut platform = json!({ "os": self.os, "architecture": architecture });
        if let Some(variant) = variant {
            config["variant"] = json!(variant);
            platform["variant"] = json!(variant);
        }
        let config = write_blob(
            dir,
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
        let mut descriptor = write_blob(dir, media_type, manifest.to_string().as_bytes());
        descriptor["platform"] = platform;
        descriptor
    }
}

impl LayerSpec {
    fn pack(&self) -> (&'static str, Vec<u8>) {
        match self.packing {
            Packing::Plain => ("", self.tar.clone()),
            Packing::Gzip => ("+gzip", gzip(&self.tar)),
            Packing::Zstd => (
                "+zstd",
                zstd::encode_all(&self.tar[..], 3).expect("zstd of memory"),
            ),
            Packing::BrokenGzip => {
                let mut blob = gzip(&self.tar);
                let half = blob.len() / 2;
                blob[half..].fill(0xa5);
                ("+gzip", blob)
            }
            Packing::CutGzip => {
                let mut blob = gzip(&self.tar);
                blob.truncate(blob.len() / 2);
                ("+gzip", blob)
            }
        }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(4));
    packer.write_all(bytes).expect("gzip of memory");
    packer.finish().expect("gzip of memory")
}

/// `sha256:<hex>` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The architecture of this machine in the words of image configs.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn write_blob(dir: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    fs::write(dir.join("blobs").join(digest.replace(':', "/")), bytes).expect("a blob");
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}
