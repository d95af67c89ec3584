//! When images and steps were last used: the times of empty files.
//!
//! Files of their own, because the time of an entry is when it was stored, which expiry goes by.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use kiln_oci::Digest;

use crate::ImageCache;
use crate::step::is_key;

impl ImageCache {
    /// Notes that an image was used just now; without effect on a volume that cannot be written.
    pub fn mark_used(&self, digest: &Digest) {
        self.mark(&digest.hex());
    }

    /// Notes that the result of a step was used just now; without effect on a volume that cannot be written.
    pub fn mark_step_used(&self, key: &str) {
        if is_key(key) {
            self.mark(&step_mark(key));
        }
    }

    fn mark(&self, name: &str) {
        if !self.is_writable() {
            return;
        }
        let path = self.volume().used(name);
        if let Err(error) = renew(&path) {
            tracing::debug!(path = %path.display(), %error, "a use was not noted in the cache");
        }
    }
}

/// The name of a step's mark; images are marked by the bare digits of their digest.
pub(crate) fn step_mark(key: &str) -> String {
    format!("step-{key}")
}

/// Removing the mark and making it anew instead lets every user of the volume do it, not only the first one.
fn renew(path: &Path) -> io::Result<()> {
    let mut how = File::options();
    how.create(true).truncate(false);
    let file = kiln_oci::open_file_to_write(path, &mut how);
    let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
    if touched.is_ok() {
        return touched;
    }
    fs::remove_file(path)?;
    File::create(path).map(drop)
}
