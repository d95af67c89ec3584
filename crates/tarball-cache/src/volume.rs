//! Where things are in the volume, and small ones as bytes.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use kiln_notice::Listener;
use kiln_oci::{Digest, MAX_DOCUMENT, Mismatch};
use serde::Serialize;

use crate::Miss;
use crate::notice::VolumeNotice;

/// Paths inside the volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) dir: PathBuf,
    /// Told what is noticed.
    pub(crate) notices: Listener<VolumeNotice>,
}

impl Volume {
    pub(crate) fn own(&self) -> PathBuf {
        self.dir.join("kiln-v1")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        blobs(&self.dir)
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.own().join("images")
    }

    pub(crate) fn image(&self, manifest: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", manifest.hex()))
    }

    pub(crate) fn indexes(&self) -> PathBuf {
        self.own().join("indexes")
    }

    pub(crate) fn index(&self, index: &Digest) -> PathBuf {
        self.indexes().join(index.hex())
    }

    pub(crate) fn steps(&self) -> PathBuf {
        self.own().join("steps")
    }

    pub(crate) fn step(&self, key: &str) -> PathBuf {
        self.steps().join(format!("{key}.json"))
    }

    pub(crate) fn notes(&self) -> PathBuf {
        self.own().join("notes")
    }

    pub(crate) fn note(&self, name: &str) -> PathBuf {
        self.notes().join(name)
    }

    pub(crate) fn all_used(&self) -> PathBuf {
        self.own().join("used")
    }

    pub(crate) fn used(&self, name: &str) -> PathBuf {
        self.all_used().join(name)
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.own().join("locks")
    }

    pub(crate) fn all_staging(&self) -> PathBuf {
        self.own().join("staging")
    }

    pub(crate) fn staging(&self, manifest: &Digest) -> PathBuf {
        self.all_staging().join(manifest.hex())
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.own().join("damaged")
    }
}

/// The blobs of any OCI layout.
pub(crate) fn blobs(layout: &Path) -> PathBuf {
    layout.join("blobs").join("sha256")
}

/// Reads a small file; `None` when there is none.
pub(crate) fn read_document(path: &Path) -> Result<Option<Vec<u8>>, Miss> {
    let unreadable = |source| Miss::Unreadable {
        path: path.to_owned(),
        source,
    };
    let misplaced = || Miss::Misplaced {
        path: path.to_owned(),
    };
    let file = match kiln_oci::open_file(path) {
        Ok(file) => file,
        Err(error) if is_nothing_there(&error) => return Ok(None),
        Err(error) if is_no_file(&error) => return Err(misplaced()),
        Err(error) => return Err(unreadable(error)),
    };
    if file.metadata().map_err(unreadable)?.len() > MAX_DOCUMENT {
        return Err(misplaced());
    }
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(Some(bytes))
}

/// A directory, device, pipe or socket.
fn is_no_file(error: &io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, IsADirectory};
    matches!(error.kind(), InvalidInput | IsADirectory)
}

/// Reads a manifest or config and makes sure it is the one.
pub(crate) fn read_verified(path: &Path, expected: &Digest) -> Result<Vec<u8>, Miss> {
    let bytes = read_document(path)?.ok_or_else(|| Miss::BlobMissing {
        path: path.to_owned(),
    })?;
    verify(path, &bytes, expected)?;
    Ok(bytes)
}

pub(crate) fn verify(path: &Path, bytes: &[u8], expected: &Digest) -> Result<(), Miss> {
    let actual = Digest::of(bytes);
    if actual == *expected {
        return Ok(());
    }
    Err(Miss::Content {
        path: path.to_owned(),
        source: Mismatch::Digest {
            expected: *expected,
            actual,
        },
    })
}

/// Names in a directory, sorted; none when there is no such directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Miss> {
    let unreadable = |source| Miss::Unreadable {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_nothing_there(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = entry.map_err(unreadable)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// No file, or no directory where one would have to be.
pub(crate) fn is_nothing_there(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The values written here have string keys only, so writing to memory cannot fail.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
