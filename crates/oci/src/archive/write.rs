//! Writing a docker archive.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, Header};

use super::{ArchiveEntry, ArchiveError, MANIFEST};
use crate::{Descriptor, DiffId, Digest, LayerCompression, Reference, document};

/// Writes an archive that `docker load`, podman, skopeo and dive read (I38).
///
/// Layers stay compressed as they are, plain or gzip; one that occurs twice is stored once. Names come from digests
/// and entries carry no time or owner, so the same image gives the same bytes. `repo_tags` appear in full, such as
/// `docker.io/library/x:tag`; one that has only a digest cannot be a tag and is left out.
pub fn write_docker_archive(
    out: impl Write,
    config_bytes: &[u8],
    layers: &[(Descriptor, DiffId, PathBuf)],
    repo_tags: &[Reference],
) -> Result<(), ArchiveError> {
    let names = layers
        .iter()
        .map(|(descriptor, _, _)| layer_name(descriptor))
        .collect::<Result<Vec<_>, _>>()?;
    let config_name = format!("{}.json", Digest::of(config_bytes).hex());
    let manifest = document::to_bytes(&[ArchiveEntry {
        config: config_name.clone(),
        repo_tags: tags(repo_tags),
        layers: names.clone(),
    }]);

    let mut tar = Builder::new(out);
    // First, so that a reader of a stream need not keep what it cannot place yet.
    append(&mut tar, MANIFEST, manifest.len() as u64, &manifest[..])?;
    append(
        &mut tar,
        &config_name,
        config_bytes.len() as u64,
        config_bytes,
    )?;
    let mut written = BTreeSet::new();
    for ((descriptor, _, path), name) in layers.iter().zip(&names) {
        if written.insert(name) {
            append(&mut tar, name, descriptor.size(), open(descriptor, path)?)?;
        }
    }
    let finished = tar.into_inner().and_then(|mut out| out.flush());
    finished.map_err(|source| ArchiveError::Write {
        entry: "end of archive".to_owned(),
        source,
    })
}

/// `<hex>.tar.gz`: dive goes by the ending, everyone else by the content.
fn layer_name(descriptor: &Descriptor) -> Result<String, ArchiveError> {
    let ending = match descriptor.media_type().layer_compression() {
        Some(LayerCompression::None) => "tar",
        Some(LayerCompression::Gzip) => "tar.gz",
        Some(LayerCompression::Zstd) | None => {
            return Err(ArchiveError::LayerType {
                digest: descriptor.digest(),
                media_type: descriptor.media_type(),
            });
        }
    };
    Ok(format!("{}.{ending}", descriptor.digest().hex()))
}

/// Each `repository:tag` once, in the order given.
fn tags(references: &[Reference]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    references
        .iter()
        .filter_map(|reference| Some(format!("{}:{}", reference.repo(), reference.tag()?)))
        .filter(|tag| seen.insert(tag.clone()))
        .collect()
}

fn open(descriptor: &Descriptor, path: &Path) -> Result<impl Read + use<>, ArchiveError> {
    let failed = |operation| {
        let path = path.to_owned();
        move |source| ArchiveError::Io {
            operation,
            path,
            source,
        }
    };
    let file = crate::open_file(path).map_err(failed("open"))?;
    let actual = file.metadata().map_err(failed("read"))?.len();
    if actual != descriptor.size() {
        return Err(ArchiveError::LayerSize {
            digest: descriptor.digest(),
            path: path.to_owned(),
            expected: descriptor.size(),
            actual,
        });
    }
    Ok(file)
}

fn append(
    tar: &mut Builder<impl Write>,
    name: &str,
    size: u64,
    content: impl Read,
) -> Result<(), ArchiveError> {
    let mut header = Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut content = Exactly {
        inner: content,
        left: size,
    };
    tar.append_data(&mut header, name, &mut content)
        .map_err(|source| ArchiveError::Write {
            entry: name.to_owned(),
            source,
        })
}

/// A tar entry of another length than its header says would garble all that follows.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}
