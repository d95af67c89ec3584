//! The work folder of one build: private, and gone at the end, also after a failure. What a killed build
//! left behind is removed by the next one that uses the same place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, openat};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::BuildError;
use crate::settings::WorkDir;

/// Names of work folders begin so.
const PREFIX: &str = "kiln-";

/// Held while the build lives; a folder whose lock is free belongs to nobody.
const LOCK: &str = "lock";

/// The folder of one build.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    dir: TempDir,
    _lock: File,
}

impl WorkFolder {
    /// Makes a folder in the place that the settings name; where a fixed place cannot be written to, as by
    /// an ordinary user in the executor's own image, below `TMPDIR`.
    pub(crate) fn create(place: &WorkDir) -> Result<WorkFolder, BuildError> {
        match place {
            WorkDir::Private(parent) => Self::below(parent),
            WorkDir::Fixed(parent) => Self::below(parent)
                .or_else(|error| Self::below(&std::env::temp_dir()).map_err(|_| error)),
        }
    }

    fn below(parent: &Path) -> Result<WorkFolder, BuildError> {
        let failed = |source| BuildError::WorkDir {
            path: parent.to_owned(),
            source,
        };
        fs::create_dir_all(parent).map_err(failed)?;
        remove_abandoned(parent);
        loop {
            if let Some(folder) = Self::claim(parent).map_err(failed)? {
                return Ok(folder);
            }
        }
    }

    /// Makes a folder and locks it; `None` if another build that starts now saw it before it was locked, and takes
    /// it for abandoned.
    fn claim(parent: &Path) -> io::Result<Option<WorkFolder>> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let path = dir.path().join(LOCK);
        // Private, or anybody could hold the lock.
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            // Whoever removes a folder holds its lock from before the first file goes until after the last, so a
            // file that is still there under our lock stays.
            Ok(()) if fs::symlink_metadata(&path).is_ok() => {}
            Ok(()) | Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Users of the image must reach their root below it.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
        Ok(Some(WorkFolder { dir, _lock: lock }))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes the folder and says so if that fails.
    pub(crate) fn close(self) -> io::Result<()> {
        self.dir.close()
    }

    /// A directory of the folder, made now.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf, BuildError> {
        let path = self.path().join(name);
        fs::create_dir(&path).map_err(|source| BuildError::WorkDir {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

/// Removes folders of builds that were killed: their lock is free.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Some(_lock) = lock_of_abandoned(&entry.path()) else {
            continue;
        };
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, path = %entry.path().display(), "cannot remove");
        }
    }
}

/// The lock of a folder that is ours and belongs to no living build. In a place such as `/tmp` others can make
/// folders of such names, with anything in them that would make us wait or lead us elsewhere.
fn lock_of_abandoned(folder: &Path) -> Option<OwnedFd> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let dir = rustix::fs::open(folder, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    if rustix::fs::fstat(&dir).ok()?.st_uid != rustix::process::geteuid().as_raw() {
        return None;
    }
    let lock = openat(&dir, LOCK, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&lock).ok()?.st_mode);
    let free = kind == FileType::RegularFile
        && rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    free.then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_folder_stays_and_an_abandoned_one_goes() {
        let parent = tempfile::tempdir().unwrap();
        let place = WorkDir::Private(parent.path().to_owned());
        let abandoned = parent.path().join("kiln-dead");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        let strange = parent.path().join("kiln-not-ours");
        fs::create_dir(&strange).unwrap();
        let first = WorkFolder::create(&place).unwrap();
        let second = WorkFolder::create(&place).unwrap();
        assert!(!abandoned.exists());
        assert!(strange.exists());
        assert!(first.path().exists());
        second.close().unwrap();
        let path = first.path().to_owned();
        first.close().unwrap();
        assert!(!path.exists());
    }

    /// Builds that start at once in one place look for abandoned folders while others are being made.
    #[test]
    fn starting_builds_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        let place = WorkDir::Private(parent.path().to_owned());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let folder = WorkFolder::create(&place).unwrap();
                        std::thread::yield_now();
                        assert!(folder.path().join(LOCK).exists(), "somebody removed it");
                        folder.close().unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    /// In a shared place such as `/tmp` anybody can make folders of our names.
    #[test]
    fn what_others_made_is_neither_waited_for_nor_removed() {
        let parent = tempfile::tempdir().unwrap();
        let place = WorkDir::Private(parent.path().to_owned());
        let made = |name: &str| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let pipe = made("kiln-pipe");
        let at = pipe.join(LOCK);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &at, FileType::Fifo, mode, 0).unwrap();
        let link = made("kiln-link");
        fs::write(parent.path().join("target"), "").unwrap();
        std::os::unix::fs::symlink("../target", link.join(LOCK)).unwrap();
        let elsewhere = made("elsewhere");
        fs::write(elsewhere.join(LOCK), "").unwrap();
        std::os::unix::fs::symlink("elsewhere", parent.path().join("kiln-elsewhere")).unwrap();
        WorkFolder::create(&place).unwrap().close().unwrap();
        for kept in [&pipe, &link, &elsewhere.join(LOCK)] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }

    #[test]
    fn a_folder_of_another_user_stays() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let foreign = parent.path().join("kiln-foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join(LOCK), "").unwrap();
        std::os::unix::fs::chown(&foreign, Some(1234), None).unwrap();
        let place = WorkDir::Private(parent.path().to_owned());
        WorkFolder::create(&place).unwrap().close().unwrap();
        assert!(foreign.exists());
    }
}
