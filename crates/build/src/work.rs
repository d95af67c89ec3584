//! The work folder of one build: private, and gone at the end, also after a failure. What a killed build
//! left behind is removed by the next one that uses the same place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
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
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(failed)?;
        // Users of the image must reach their root below it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(dir.path(), mode).map_err(failed)?;
        let lock = File::create(dir.path().join(LOCK)).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        Ok(WorkFolder { dir, _lock: lock })
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
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, path = %entry.path().display(), "cannot remove");
        }
    }
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
}
