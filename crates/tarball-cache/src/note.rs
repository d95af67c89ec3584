//! Small documents that somebody derived and can derive again: lost at any time, never trusted more than that.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use kiln_oci::atomic;

use crate::damaged::make_way;
use crate::error::failed;
use crate::volume::is_nothing_there;
use crate::{CacheError, ImageCache};

/// Notes beyond this are not read.
const MAX_NOTE: u64 = 64 << 20;

impl ImageCache {
    /// The note of this name; `None` when there is none or it cannot be read.
    pub fn read_note(&self, name: &str) -> Option<Vec<u8>> {
        if !is_note_name(name) {
            return None;
        }
        let path = self.volume().note(name);
        match read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if is_nothing_there(&error) => None,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a note of the cache is not used");
                None
            }
        }
    }

    /// Writes or replaces a note; names are up to 100 lower-case letters, digits and hyphens.
    pub fn write_note(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        self.writable()?;
        if !is_note_name(name) {
            return Err(CacheError::Name {
                name: name.to_owned(),
            });
        }
        let path = self.volume().note(name);
        if bytes.len() as u64 > MAX_NOTE {
            return Err(failed("write", &path)(ErrorKind::FileTooLarge.into()));
        }
        make_way(self.volume(), &path, None)?;
        atomic::replace(&self.volume().all_staging(), &path, bytes).map_err(failed("create", &path))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !metadata.is_file() || metadata.len() > MAX_NOTE {
        return Err(io::Error::other("it is no file, or larger than any note"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_NOTE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_note_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
