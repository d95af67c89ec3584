//! Putting blobs beside those that are there.
//!
//! A blob that is there already is vouched for by a fresh modification time: [`prune`](crate::ImageCache::prune) takes
//! nothing that was touched a short while ago, so whoever names the blob in an entry soon afterwards finds it there.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_oci::atomic::Staged;
use kiln_oci::{Descriptor, Digest, Mismatch, VerifyingReader};

use crate::CacheError;
use crate::damaged::{make_way, set_aside};
use crate::error::failed;
use crate::volume::Volume;

/// The blobs of a volume, and where unfinished ones are written.
#[derive(Debug)]
pub(crate) struct Blobs<'a> {
    pub(crate) volume: &'a Volume,
    pub(crate) staging: PathBuf,
}

impl Blobs<'_> {
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.volume.blobs().join(digest.hex())
    }

    /// Whether the blob is there in full length; it stays for a while then.
    pub(crate) fn vouch(&self, blob: &Descriptor) -> bool {
        let path = self.path(&blob.digest());
        if !is_whole(&path, blob.size()) {
            return false;
        }
        touch(&path);
        // Looked at again afterwards: if it was taken away before it was touched, it is gone now. What was touched
        // first is put back by whoever takes it away.
        is_whole(&path, blob.size())
    }

    /// Stores what `reader` gives, verified on the way (I25).
    pub(crate) fn write(&self, reader: impl Read, blob: &Descriptor) -> Result<(), CacheError> {
        let staging = &self.staging;
        let mut staged = Staged::new(staging).map_err(failed("create a file in", staging))?;
        let mut reader = VerifyingReader::new(reader, blob.digest(), Some(blob.size()));
        staged
            .fill(&mut reader)
            .map_err(|error| match Mismatch::from_io(&error) {
                Some(mismatch) => CacheError::Blob {
                    digest: blob.digest(),
                    source: mismatch.clone(),
                },
                None => failed("write", &self.path(&blob.digest()))(error),
            })?;
        self.publish(staged, blob)
    }

    /// Takes in a finished file by hard link, or where that is not possible by a verified copy.
    pub(crate) fn adopt(&self, path: &Path, blob: &Descriptor) -> Result<(), CacheError> {
        let file = kiln_oci::open_file(path).map_err(failed("open", path))?;
        let actual = file.metadata().map_err(failed("read", path))?.len();
        if actual != blob.size() {
            return Err(CacheError::Blob {
                digest: blob.digest(),
                source: Mismatch::Size {
                    digest: blob.digest(),
                    expected: blob.size(),
                    actual,
                },
            });
        }
        file.sync_data().map_err(failed("sync", path))?;
        match Staged::link(&self.staging, path) {
            // A file that was finished long ago is as young here as one that was copied.
            Ok(staged) => {
                touch(path);
                self.publish(staged, blob)
            }
            Err(_) => self.write(file, blob),
        }
    }

    /// Makes way for a manifest or config: a damaged one of the right length is not believed just because it is there.
    pub(crate) fn expect_document(&self, bytes: &[u8], digest: &Digest) -> Result<(), CacheError> {
        let path = self.path(digest);
        if is_another(&path, bytes) {
            set_aside(self.volume, &path)?;
        }
        Ok(())
    }

    fn publish(&self, staged: Staged, blob: &Descriptor) -> Result<(), CacheError> {
        let path = self.path(&blob.digest());
        make_way(self.volume, &path, Some(blob.size()))?;
        staged.publish(&path).map_err(failed("create", &path))
    }
}

pub(crate) fn is_whole(path: &Path, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == size)
}

/// Gives a file the time of now. Another user's file keeps its time; then a prune may take it, which costs a download.
pub(crate) fn touch(path: &Path) {
    let touched = kiln_oci::open_file(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %path.display(), %error, "the time of a file was not renewed");
    }
}

/// Whether there is something else than a file with these bytes.
fn is_another(path: &Path, bytes: &[u8]) -> bool {
    let read = kiln_oci::open_file(path).and_then(|file| {
        let mut there = Vec::new();
        file.take(bytes.len() as u64 + 1).read_to_end(&mut there)?;
        Ok(there)
    });
    match read {
        Ok(there) => there != bytes,
        // A pipe or the like, which no reader can use.
        Err(error) => error.kind() == std::io::ErrorKind::InvalidInput,
    }
}
