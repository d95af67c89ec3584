//! The files that an instruction reads, as a part of its key: everything that will be written, but times (H6).

use std::collections::HashMap;
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use kiln_cache_key::{FileId, FileKind, FileSet};
use kiln_context::Stamp;
use kiln_layer::EntryKind;
use kiln_oci::Digest;
use sha2::{Digest as _, Sha256};

use kiln_copy::{Content, Item, Items};
use kiln_store::layers::PackError;

/// Digests of context files by the state the files were in, kept on the local volume from build to build.
///
/// On disk: 16 bytes of `MAGIC`, then for each file dev, ino, size, mtime and ctime (seconds, nanoseconds) and the
/// digest. Another magic, or a length that is no multiple of a row, is as good as no file.
#[derive(Debug, Default)]
pub struct ContentDigests {
    /// Whether there is a volume that keeps them.
    kept: bool,
    known: HashMap<Stamp, Digest>,
    /// What this build looked at; only this is kept, so that the file does not grow without end.
    seen: Mutex<HashMap<Stamp, Digest>>,
}

const MAGIC: &[u8; 16] = b"kiln-digests-v1\n";
const ROW: usize = 88;

/// A file that was changed so shortly before it was read may be changed again without getting another time.
const UNSETTLED_SECONDS: i64 = 2;

impl ContentDigests {
    /// `bytes` is what the build before left on the volume.
    pub fn kept(bytes: Option<&[u8]>) -> ContentDigests {
        ContentDigests {
            kept: true,
            ..ContentDigests::from_bytes(bytes.unwrap_or_default())
        }
    }

    fn from_bytes(bytes: &[u8]) -> ContentDigests {
        let rows = bytes.strip_prefix(MAGIC.as_slice()).unwrap_or_default();
        let known = if rows.len().is_multiple_of(ROW) {
            rows.chunks_exact(ROW).filter_map(read_row).collect()
        } else {
            HashMap::new()
        };
        ContentDigests {
            kept: false,
            known,
            seen: Mutex::default(),
        }
    }

    /// What the next build should know; `None` when it knows it already.
    pub fn to_bytes(&self, now: i64) -> Option<Vec<u8>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = |stamp: &Stamp| {
            now - stamp.ctime.0 >= UNSETTLED_SECONDS && now - stamp.mtime.0 >= UNSETTLED_SECONDS
        };
        if !seen
            .keys()
            .any(|stamp| settled(stamp) && !self.known.contains_key(stamp))
        {
            return None;
        }
        let mut bytes = MAGIC.to_vec();
        for (stamp, digest) in seen.iter().filter(|(stamp, _)| settled(stamp)) {
            write_row(&mut bytes, stamp, digest);
        }
        Some(bytes)
    }

    fn digest_of(&self, item: &Item, buffer: &mut [u8]) -> Result<Digest, PackError> {
        let stamp = match &item.content {
            Content::View(view, path) if self.kept => view.stamp(path),
            _ => None,
        };
        let known = stamp.and_then(|stamp| self.known.get(&stamp)).copied();
        let digest = match known {
            Some(digest) => digest,
            None => hash(item, buffer)?,
        };
        if let Some(stamp) = stamp {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(stamp, digest);
        }
        Ok(digest)
    }

    /// The set of files that `items` would write, by their paths below `place`. Reads what is not known on all
    /// cores.
    pub fn file_set(&self, items: &Items, place: &[u8]) -> Result<FileSet, PackError> {
        let items: Vec<&Item> = items.values().collect();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = items.len().div_ceil(threads).max(64);
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = items
                .chunks(share)
                .map(|chunk| scope.spawn(|| self.identify(chunk, place)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or(Err(PackError::Lost)))
                .collect::<Result<Vec<Vec<FileId>>, PackError>>()
        })?;
        Ok(FileSet::new(parts.into_iter().flatten().collect()))
    }

    fn identify(&self, items: &[&Item], place: &[u8]) -> Result<Vec<FileId>, PackError> {
        let mut files = Vec::with_capacity(items.len());
        let mut buffer = vec![0; 64 * 1024];
        for item in items {
            files.extend(self.file(item, place, &mut buffer)?);
        }
        Ok(files)
    }

    fn file(
        &self,
        item: &Item,
        place: &[u8],
        buffer: &mut [u8],
    ) -> Result<Option<FileId>, PackError> {
        let entry = &item.entry;
        let Some(path) = below(entry.path.as_bytes(), place) else {
            return Ok(None);
        };
        let kind = match &entry.kind {
            EntryKind::File { size } => FileKind::File {
                size: *size,
                content: self.digest_of(item, buffer)?,
            },
            EntryKind::Directory => FileKind::Directory,
            EntryKind::Symlink { target } => FileKind::Symlink {
                target: target.clone(),
            },
            EntryKind::Hardlink { target } => FileKind::Hardlink {
                target: below(target.as_bytes(), place).unwrap_or_default(),
            },
            EntryKind::CharDevice { major, minor } => FileKind::CharDevice {
                major: *major,
                minor: *minor,
            },
            EntryKind::BlockDevice { major, minor } => FileKind::BlockDevice {
                major: *major,
                minor: *minor,
            },
            EntryKind::Fifo => FileKind::Fifo,
            // Never among the files of a COPY.
            EntryKind::Whiteout | EntryKind::OpaqueMarker => return Ok(None),
        };
        Ok(Some(FileId {
            path,
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            xattrs: (*entry.xattrs).clone(),
        }))
    }
}

/// The rest of a path below `place`; `None` for `place` itself and what lies elsewhere.
fn below(path: &[u8], place: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(place)?.strip_prefix(b"/")?;
    Some(rest.to_vec())
}

fn hash(item: &Item, buffer: &mut [u8]) -> Result<Digest, PackError> {
    let path = || item.entry.path.to_string();
    let mut content = item.content.open().map_err(|source| PackError::Read {
        path: path(),
        source,
    })?;
    let mut hasher = Sha256::new();
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(PackError::Io {
                    operation: "read",
                    path: std::path::PathBuf::from(path()),
                    source,
                });
            }
        }
    }
}

fn write_row(bytes: &mut Vec<u8>, stamp: &Stamp, digest: &Digest) {
    for number in [stamp.dev, stamp.ino, stamp.size] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for (seconds, nanos) in [stamp.mtime, stamp.ctime] {
        bytes.extend_from_slice(&seconds.to_le_bytes());
        bytes.extend_from_slice(&u64::from(nanos).to_le_bytes());
    }
    bytes.extend_from_slice(digest.as_bytes());
}

fn read_row(row: &[u8]) -> Option<(Stamp, Digest)> {
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(
            row.get(at * 8..at * 8 + 8)?.try_into().ok()?,
        ))
    };
    let time = |at: usize| -> Option<(i64, u32)> {
        Some((word(at)?.cast_signed(), u32::try_from(word(at + 1)?).ok()?))
    };
    let stamp = Stamp {
        dev: word(0)?,
        ino: word(1)?,
        size: word(2)?,
        mtime: time(3)?,
        ctime: time(5)?,
    };
    let digest: [u8; 32] = row.get(56..)?.try_into().ok()?;
    Some((stamp, Digest::from_bytes(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ino: u64, ctime: i64) -> Stamp {
        Stamp {
            dev: 1,
            ino,
            size: 5,
            mtime: (-3, 7),
            ctime: (ctime, 999_999_999),
        }
    }

    #[test]
    fn what_is_kept_reads_back_and_what_is_not_settled_is_not_kept() {
        let digests = ContentDigests::default();
        let old = (stamp(1, 100), Digest::of(b"old"));
        let new = (stamp(2, 1000), Digest::of(b"new"));
        digests.seen.lock().unwrap().extend([old, new]);
        let bytes = digests.to_bytes(1001).unwrap();
        assert_eq!(bytes.len(), MAGIC.len() + ROW);
        let read = ContentDigests::from_bytes(&bytes);
        assert_eq!(read.known.into_iter().collect::<Vec<_>>(), [old]);
        assert_eq!(
            ContentDigests::from_bytes(&bytes[..bytes.len() - 1])
                .known
                .len(),
            0
        );
        assert_eq!(ContentDigests::from_bytes(b"anything else").known.len(), 0);
    }

    #[test]
    fn nothing_new_is_not_written_again() {
        let mut digests = ContentDigests::default();
        let old = (stamp(1, 100), Digest::of(b"old"));
        digests.known.insert(old.0, old.1);
        digests.seen.lock().unwrap().insert(old.0, old.1);
        assert_eq!(digests.to_bytes(1001), None);
    }
}
