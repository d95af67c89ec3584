//! One writer per manifest (H32).
//!
//! The lock is `flock` on a file, so a holder that dies lets go of it. It keeps two warmers from downloading the same
//! image or blob; it does not protect the files, which are safe without it. Where the filesystem has no locks, work
//! goes on without them.
//!
//! Only a holder removes the file. Whoever waited for it then holds a lock that nobody else can see, and begins anew.
//!
//! Within one process a set of digests comes first, because over NFS all threads of a process hold a file lock
//! together.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kiln_notice::Listener;
use kiln_oci::Digest;

use crate::CacheError;
use crate::error::failed;
use crate::notice::VolumeNotice;

/// The digests locked by this process.
#[derive(Debug, Default)]
pub(crate) struct Held {
    digests: Mutex<BTreeSet<Digest>>,
    released: Condvar,
    notices: Listener<VolumeNotice>,
}

/// The right to write one entry; given back on drop.
#[derive(Debug)]
pub(crate) struct EntryLock {
    held: Arc<Held>,
    digest: Digest,
    /// `None` where the filesystem has no locks.
    file: Option<File>,
}

impl Held {
    /// None yet; `notices` hears of filesystems without locks.
    pub(crate) fn telling(notices: Listener<VolumeNotice>) -> Held {
        Held {
            notices,
            ..Held::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // The set stays whole whatever panics.
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntryLock {
    /// Takes the lock of `digest`; without `wait`, `None` when someone else has it.
    pub(crate) fn take(
        held: &Arc<Held>,
        locks: &Path,
        digest: &Digest,
        wait: bool,
    ) -> Result<Option<Self>, CacheError> {
        let mut digests = held.lock();
        while digests.contains(digest) {
            if !wait {
                return Ok(None);
            }
            digests = held
                .released
                .wait(digests)
                .unwrap_or_else(PoisonError::into_inner);
        }
        digests.insert(*digest);
        drop(digests);
        // From here on dropping `lock` takes the digest out of the set again.
        let mut lock = Self {
            held: Arc::clone(held),
            digest: *digest,
            file: None,
        };
        let path = locks.join(digest.hex());
        loop {
            let mut how = File::options();
            how.read(true).create(true).truncate(false);
            let file = kiln_oci::open_file_to_write(&path, &mut how);
            let file = file.map_err(failed("open", &path))?;
            match flock(&file, wait) {
                Ok(()) if is_at(&file, &path) => lock.file = Some(file),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    let path = path.clone();
                    held.notices.tell(VolumeNotice::NoLocks { path });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
            }
            return Ok(Some(lock));
        }
    }

    /// Removes the file, which nobody needs while nobody waits for it.
    pub(crate) fn remove(self, locks: &Path) -> Result<(), CacheError> {
        let path = locks.join(self.digest.hex());
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    /// Whether no other process can be writing this entry.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.file.is_some()
    }
}

/// Whether this open file still has its name.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => id(open) == id(named),
        _ => false,
    }
}

fn flock(file: &File, wait: bool) -> Result<(), TryLockError> {
    loop {
        let result = if wait {
            file.lock().map_err(TryLockError::Error)
        } else {
            file.try_lock()
        };
        match result {
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl Drop for EntryLock {
    fn drop(&mut self) {
        // The file first: another thread must find it free. Closing it would not be enough: a child process that was
        // just forked and has yet to exec holds the same lock.
        if let Some(Err(error)) = self.file.take().map(|file| file.unlock()) {
            tracing::debug!(digest = %self.digest, %error, "unlocking failed, closing has to do");
        }
        self.held.lock().remove(&self.digest);
        self.held.released.notify_all();
    }
}
