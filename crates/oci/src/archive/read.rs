//! Reading a docker archive without unpacking it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::{ArchiveEntry, ArchiveError, MANIFEST};
use crate::document::{self, MAX_DOCUMENT, check_layers};
use crate::{DiffId, ImageConfig, LayerCompression};

/// Bytes of the configs of all images of one archive: each is held, however often `manifest.json` names it.
pub const MAX_CONFIGS: u64 = 32 << 20;
/// `docker save` of old versions links equal layers; longer chains are loops.
const MAX_LINKS: u32 = 16;

/// A docker archive on disk, with the place of every entry known.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    path: PathBuf,
    images: Vec<ArchiveImage>,
}

/// One image of an archive.
#[derive(Debug, Clone)]
pub struct ArchiveImage {
    /// Its names, as written there.
    pub repo_tags: Vec<String>,
    /// The name of the config's entry; most tools make it of the config's digest.
    pub config_name: String,
    /// The config as stored.
    pub config_bytes: Vec<u8>,
    /// The config as read.
    pub config: ImageConfig,
    /// The layers, base first; as many as the config lists.
    pub layers: Vec<ArchiveLayer>,
}

/// A layer inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLayer {
    /// The name of its entry.
    pub name: String,
    /// Its diff-id according to the config, not yet verified.
    pub diff_id: DiffId,
    /// Its length in bytes, as stored.
    pub size: u64,
    /// How it is packed, told from its first bytes.
    pub compression: LayerCompression,
    offset: u64,
}

/// Reads the directory of a docker archive: `docker save`, kaniko's `--tar-path` and the files of its warmer.
pub fn read_docker_archive(path: &Path) -> Result<DockerArchive, ArchiveError> {
    let failed = |source| ArchiveError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let mut file = crate::open_file(path).map_err(|source| ArchiveError::Io {
        operation: "open",
        path: path.to_owned(),
        source,
    })?;
    let compression = packing(&mut file, 0).map_err(failed)?;
    if compression != LayerCompression::None {
        return Err(ArchiveError::Compressed {
            path: path.to_owned(),
            compression,
        });
    }
    let directory = Directory {
        path,
        places: places(&file).map_err(|source| match source.kind() {
            // What tar's reader says of bytes it does not understand quotes them; nobody wants to read that.
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                ArchiveError::NotATar {
                    path: path.to_owned(),
                }
            }
            _ => failed(source),
        })?,
        file,
    };
    let bytes = directory.document(MANIFEST)?;
    let entries: Vec<ArchiveEntry> = document::parse("docker archive manifest", &bytes)
        .map_err(|source| directory.unusable(MANIFEST, source))?;
    let mut images = Vec::new();
    let mut configs = 0;
    for entry in entries {
        let name = entry.config.clone();
        let image = directory.image(entry)?;
        configs += image.config_bytes.len() as u64;
        if configs > MAX_CONFIGS {
            return Err(ArchiveError::Configs {
                path: path.to_owned(),
                entry: document::shortened(&name),
            });
        }
        images.push(image);
    }
    Ok(DockerArchive {
        path: path.to_owned(),
        images,
    })
}

impl ArchiveLayer {
    /// Where its bytes begin in the archive; they follow each other from there.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl DockerArchive {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The images, in the order of `manifest.json`.
    pub fn images(&self) -> &[ArchiveImage] {
        &self.images
    }

    /// Opens a layer as stored. Its content is not verified here: use a
    /// [`VerifyingReader`](crate::VerifyingReader) when the digest is known.
    pub fn open_layer(&self, layer: &ArchiveLayer) -> Result<Take<File>, ArchiveError> {
        let failed = |operation| {
            move |source| ArchiveError::Io {
                operation,
                path: self.path.clone(),
                source,
            }
        };
        let mut file = crate::open_file(&self.path).map_err(failed("open"))?;
        file.seek(SeekFrom::Start(layer.offset))
            .map_err(failed("read"))?;
        Ok(file.take(layer.size))
    }
}

/// Where an entry's content is.
#[derive(Debug, Clone)]
enum Place {
    File { offset: u64, size: u64 },
    Link { target: String },
}

struct Directory<'a> {
    path: &'a Path,
    file: File,
    places: BTreeMap<String, Place>,
}

fn places(file: &File) -> io::Result<BTreeMap<String, Place>> {
    let mut archive = tar::Archive::new(file);
    let mut places = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let target = entry
            .link_name_bytes()
            .map(|target| String::from_utf8_lossy(&target).into_owned())
            .unwrap_or_default();
        let place = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => Place::File {
                offset: entry.raw_file_position(),
                size: entry.size(),
            },
            EntryType::Symlink => Place::Link {
                target: beside(&name, &target),
            },
            EntryType::Link => Place::Link {
                target: clean(&target),
            },
            _ => continue,
        };
        places.insert(clean(&name), place);
    }
    Ok(places)
}

impl Directory<'_> {
    fn image(&self, entry: ArchiveEntry) -> Result<ArchiveImage, ArchiveError> {
        let config_bytes = self.document(&entry.config)?;
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|source| self.unusable(&entry.config, source))?;
        check_layers("docker archive manifest", entry.layers.len())
            .map_err(|source| self.unusable(MANIFEST, source))?;
        let diff_ids = config.diff_ids();
        if diff_ids.len() != entry.layers.len() {
            return Err(ArchiveError::LayerCount {
                path: self.path.to_owned(),
                layers: entry.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let layers = entry
            .layers
            .into_iter()
            .zip(diff_ids)
            .map(|(name, &diff_id)| self.layer(name, diff_id))
            .collect::<Result<_, _>>()?;
        Ok(ArchiveImage {
            repo_tags: entry.repo_tags,
            config_name: entry.config,
            config_bytes,
            config,
            layers,
        })
    }

    fn layer(&self, name: String, diff_id: DiffId) -> Result<ArchiveLayer, ArchiveError> {
        let (offset, size) = self.find(&name)?;
        let compression =
            packing(&mut &self.file, offset).map_err(|error| self.unreadable(error))?;
        Ok(ArchiveLayer {
            name,
            diff_id,
            size,
            compression,
            offset,
        })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let (offset, size) = self.find(name)?;
        if size > MAX_DOCUMENT {
            return Err(ArchiveError::TooLarge {
                path: self.path.to_owned(),
                entry: name.to_owned(),
                size,
            });
        }
        let mut bytes = vec![0; size as usize];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| self.unreadable(error))?;
        Ok(bytes)
    }

    fn find(&self, name: &str) -> Result<(u64, u64), ArchiveError> {
        let mut at = clean(name);
        for _ in 0..MAX_LINKS {
            match self.places.get(&at) {
                Some(Place::File { offset, size }) => return Ok((*offset, *size)),
                Some(Place::Link { target }) => target.clone_into(&mut at),
                None => break,
            }
        }
        Err(ArchiveError::Missing {
            path: self.path.to_owned(),
            entry: name.to_owned(),
        })
    }

    fn unreadable(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Io {
            operation: "read",
            path: self.path.to_owned(),
            source,
        }
    }

    fn unusable(&self, entry: &str, source: crate::DocumentError) -> ArchiveError {
        ArchiveError::Document {
            path: self.path.to_owned(),
            entry: entry.to_owned(),
            source,
        }
    }
}

fn packing(file: &mut (impl Read + Seek), offset: u64) -> io::Result<LayerCompression> {
    file.seek(SeekFrom::Start(offset))?;
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(LayerCompression::detect(&head))
}

/// Names are compared without `.`, `..` and doubled slashes.
fn clean(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The target of a symlink at `name`.
fn beside(name: &str, target: &str) -> String {
    clean(&format!("{name}/../{target}"))
}
