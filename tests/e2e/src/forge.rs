//! Archives that no honest tool writes, packed while they are made: what is gigabytes unpacked is never held.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::layout::{digest, host_architecture, write_blob};

/// A tar under construction.
#[derive(Debug)]
pub struct Forge<W: Write> {
    out: W,
    hash: Sha256,
}

/// A layer blob with the digest of what is in it.
#[derive(Debug, Clone)]
pub struct Forged {
    /// The packed bytes.
    pub blob: Vec<u8>,
    /// Digest of the tar.
    pub diff_id: String,
    /// What a media type ends in.
    pub suffix: &'static str,
}

/// What a header says besides its name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Says<'a> {
    /// The target of a link.
    pub link: &'a [u8],
    /// The size that is claimed.
    pub size: u64,
    /// Other bytes at an offset.
    pub fields: &'a [(usize, &'a [u8])],
}

impl Forged {
    /// A gzip layer; `fill` writes the entries.
    pub fn gzip(fill: impl FnOnce(&mut Forge<GzEncoder<Vec<u8>>>)) -> Self {
        let mut forge = Forge::new(GzEncoder::new(Vec::new(), Compression::new(1)));
        fill(&mut forge);
        let (out, diff_id) = forge.finish();
        Self {
            blob: out.finish().expect("gzip of memory"),
            diff_id,
            suffix: "+gzip",
        }
    }

    /// The same, unpacked.
    pub fn plain(fill: impl FnOnce(&mut Forge<Vec<u8>>)) -> Self {
        let mut forge = Forge::new(Vec::new());
        fill(&mut forge);
        let (blob, diff_id) = forge.finish();
        Self {
            blob,
            diff_id,
            suffix: "",
        }
    }

    /// Any bytes as a layer.
    pub fn raw(blob: impl Into<Vec<u8>>, suffix: &'static str) -> Self {
        let blob = blob.into();
        Self {
            diff_id: digest(&blob),
            blob,
            suffix,
        }
    }

    /// An OCI layout of an image with this one layer.
    pub fn write_layout(&self, dir: &Path) {
        let config = json!({
            "architecture": host_architecture(), "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [self.diff_id] },
        });
        write_documents(dir, &config, std::slice::from_ref(self), &json!({}));
    }
}

/// An OCI layout with this config and these layers, its manifest with some more fields.
pub fn write_documents(dir: &Path, config: &Value, layers: &[Forged], more: &Value) {
    std::fs::create_dir_all(dir.join("blobs/sha256")).expect("the layout's folders");
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("oci-layout");
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let kind = format!("application/vnd.oci.image.layer.v1.tar{}", layer.suffix);
            write_blob(dir, &kind, &layer.blob)
        })
        .collect();
    let config = write_blob(
        dir,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    for (key, value) in more.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    let manifest = write_blob(dir, kind, manifest.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(dir.join("index.json"), index.to_string()).expect("index.json");
}

impl<W: Write> Forge<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            hash: Sha256::new(),
        }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.hash.update(bytes);
        self.out.write_all(bytes).expect("an archive in memory");
        self
    }

    /// Zeros, as many.
    pub fn zeros(&mut self, count: u64) -> &mut Self {
        let zeros = vec![0; 1 << 20];
        let mut left = count;
        while left > 0 {
            let some = left.min(zeros.len() as u64);
            self.bytes(&zeros[..some as usize]);
            left -= some;
        }
        self
    }

    /// A header.
    pub fn header(&mut self, kind: u8, name: &[u8], says: Says<'_>) -> &mut Self {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name[..name.len().min(100)]);
        put(
            100,
            if kind == b'5' {
                b"0000755\0"
            } else {
                b"0000644\0"
            },
        );
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        if says.size < 1 << 33 {
            put(124, format!("{:011o}\0", says.size).as_bytes());
        } else {
            put(
                124,
                &[&[0x80, 0, 0, 0], &says.size.to_be_bytes()[..]].concat(),
            );
        }
        put(136, b"00000000001\0");
        put(156, &[kind]);
        put(157, &says.link[..says.link.len().min(100)]);
        put(257, b"ustar\x0000");
        for (at, bytes) in says.fields {
            put(*at, bytes);
        }
        put(148, b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes(&header)
    }

    /// A header of its own with content: an extended header, a long name, a file.
    pub fn with(&mut self, kind: u8, name: &[u8], content: &[u8]) -> &mut Self {
        let size = content.len() as u64;
        let says = Says {
            size,
            ..Says::default()
        };
        self.header(kind, name, says).bytes(content);
        self.zeros(size.next_multiple_of(512) - size)
    }

    /// An extended header of kind `x` or `g` with one record.
    pub fn record(&mut self, kind: u8, key: &str, value: &[u8]) -> &mut Self {
        self.with(kind, b"PaxHeaders/x", &record(key, value))
    }

    /// An empty file; long names get a PAX header.
    pub fn file(&mut self, name: &str) -> &mut Self {
        self.entry(b'0', name, b"")
    }

    /// An empty entry of any kind; long texts get a PAX header.
    pub fn entry(&mut self, kind: u8, name: &str, link: &[u8]) -> &mut Self {
        let mut records = Vec::new();
        if name.len() > 100 {
            records.extend(record("path", name.as_bytes()));
        }
        if link.len() > 100 {
            records.extend(record("linkpath", link));
        }
        if !records.is_empty() {
            self.with(b'x', b"PaxHeaders/x", &records);
        }
        let says = Says {
            link,
            ..Says::default()
        };
        self.header(kind, name.as_bytes(), says)
    }

    /// A file of zeros.
    pub fn zero_file(&mut self, name: &str, size: u64) -> &mut Self {
        let says = Says {
            size,
            ..Says::default()
        };
        self.header(b'0', name.as_bytes(), says)
            .zeros(size.next_multiple_of(512))
    }

    /// An old GNU sparse file without any data.
    pub fn sparse(&mut self, name: &str, size: u64) -> &mut Self {
        let real = [&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat();
        let fields: [(usize, &[u8]); 2] = [(257, b"ustar  \0"), (483, &real)];
        let says = Says {
            fields: &fields,
            ..Says::default()
        };
        self.header(b'S', name.as_bytes(), says)
    }

    /// The end of the archive: what was written, and its digest.
    pub fn finish(mut self) -> (W, String) {
        self.zeros(1024);
        let digest = format!("sha256:{}", hex::encode(self.hash.finalize()));
        (self.out, digest)
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
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

/// Packs bytes with gzip while they come.
pub fn gzip_of(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::new(1));
    fill(&mut out).expect("gzip of memory");
    out.finish().expect("gzip of memory")
}
