//! The work folder of one build: private, and gone at the end, also after a failure. What a killed build
//! left behind is removed by the next one that uses the same place.
//!
//! It holds files of images, setuid programs among them, so no other user of the machine may come through it, not even
//! after a kill. Commands of RUN do not come through it either: their root is what they see. Only in place they do, to
//! scripts and sockets that are shown to them, and there the ways to these alone are open.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, openat};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::leaving;
use kiln_options::WorkDir;

/// Names of work folders begin so.
const PREFIX: &str = "kiln-";

/// A directory that others may walk through and not list.
const PASSABLE: u32 = 0o711;

/// Held while the build lives; a folder whose lock is free belongs to nobody.
const LOCK: &str = "lock";

/// How a place is said to be chosen: by name, or as that of temporary files.
const NAMED: &str = "`--kaniko-dir` or `KANIKO_DIR`";
const TEMPORARY: &str = "`TMPDIR`, `/tmp` by default";

/// The work folder cannot be had or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// No work folder can be made where the settings say.
    #[error("cannot make a work folder in `{parent}` ({setting})")]
    NoFolder {
        /// Where it should be.
        parent: PathBuf,
        /// What says so.
        setting: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The work folder cannot be used.
    #[error("cannot use the work folder `{path}`")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl WorkError {
    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            WorkError::NoFolder { source, .. }
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                Some(
                    "the root filesystem is read-only: mount a volume, such as an emptyDir at `/work`, and name it with \
                     `--kaniko-dir=/work`; RUN then needs user namespaces, since in place it writes to `/`",
                )
            }
            WorkError::NoFolder { .. } => Some(
                "name a folder that can be written to with `--kaniko-dir`, or, for temporary files, with `TMPDIR`",
            ),
            WorkError::Unusable { .. } => None,
        }
    }
}

/// The folder of one build.
#[derive(Debug)]
pub struct WorkFolder {
    dir: TempDir,
    _lock: File,
    note: Option<String>,
}

impl WorkFolder {
    /// Makes a folder in the place that the settings name. Only the place of kaniko's images, which nobody named, has
    /// another one behind it.
    pub fn create(place: &WorkDir) -> Result<WorkFolder, WorkError> {
        match place {
            WorkDir::Private(parent) => Self::temporary(parent),
            WorkDir::Fixed(parent) => Self::lasting(parent).map_err(failed(parent, NAMED)),
            WorkDir::Image { dir, fallback } => match Self::lasting(dir) {
                Ok(folder) => Ok(folder),
                Err(error) => {
                    let mut folder = Self::temporary(fallback)?;
                    folder.note = Some(format!(
                        "work files are kept below `{}`, since `{}` cannot be used: {error}",
                        fallback.display(),
                        dir.display()
                    ));
                    Ok(folder)
                }
            },
        }
    }

    /// Below a folder of the user's, made if it is missing.
    fn lasting(parent: &Path) -> io::Result<WorkFolder> {
        fs::create_dir_all(parent)?;
        Self::below(parent)
    }

    /// Below the folder for temporary files. One that is missing is a mistake in `TMPDIR`, and if it were made,
    /// nobody would remove it.
    fn temporary(parent: &Path) -> Result<WorkFolder, WorkError> {
        fs::metadata(parent)
            .and_then(|_| Self::below(parent))
            .map_err(failed(parent, TEMPORARY))
    }

    fn below(parent: &Path) -> io::Result<WorkFolder> {
        remove_abandoned(parent);
        loop {
            if let Some(folder) = Self::claim(parent)? {
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
        leaving::register(dir.path());
        Ok(Some(WorkFolder {
            dir,
            _lock: lock,
            note: None,
        }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the user should know about the place.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Removes the folder and says so if that fails.
    pub fn close(self) -> io::Result<()> {
        let path = self.dir.path().to_owned();
        let closed = self.dir.close();
        leaving::forget(&path);
        closed
    }

    /// The same for a build that was interrupted: what takes long is left to another process.
    pub fn leave(self) -> io::Result<()> {
        let path = self.dir.keep();
        let left = leaving::remove_quickly(&path);
        leaving::forget(&path);
        left
    }

    /// A directory of the folder, made now.
    pub fn subdir(&self, name: &str) -> Result<PathBuf, WorkError> {
        let path = self.path().join(name);
        private_dir(&path).map_err(|source| WorkError::Unusable {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Lets others walk through the folder down to `inner`; what lies beside the way stays private.
    pub fn open_way_to(&self, inner: &Path) -> io::Result<()> {
        let ways = inner
            .ancestors()
            .take_while(|dir| dir.starts_with(self.path()));
        for dir in ways {
            fs::set_permissions(dir, Permissions::from_mode(PASSABLE))?;
        }
        Ok(())
    }
}

/// Makes a directory that is for nobody else, whatever the umask is.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn failed(parent: &Path, setting: &'static str) -> impl FnOnce(io::Error) -> WorkError {
    let parent = parent.to_owned();
    move |source| WorkError::NoFolder {
        parent,
        setting,
        source,
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

    /// A place that was named is used or refused; only that of kaniko's images has another behind it.
    #[test]
    fn which_places_may_be_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let (file, missing) = (temp.path().join("file"), temp.path().join("missing"));
        fs::write(&file, "").unwrap();
        let text = |place: WorkDir| WorkFolder::create(&place).unwrap_err().to_string();

        let named = text(WorkDir::Fixed(file.join("x")));
        assert!(named.contains("file/x` (`--kaniko-dir`"), "{named}");
        let temporary = text(WorkDir::Private(missing.clone()));
        assert!(temporary.contains("missing` (`TMPDIR`"), "{temporary}");
        assert!(!missing.exists(), "TMPDIR was made");
        let image = |fallback: &Path| WorkDir::Image {
            dir: file.join("x"),
            fallback: fallback.to_owned(),
        };
        assert!(text(image(&missing)).contains("missing"));

        let folder = WorkFolder::create(&image(temp.path())).unwrap();
        assert!(folder.path().starts_with(temp.path()));
        assert!(folder.note().unwrap().contains("file/x"), "{folder:?}");
        let folder = WorkFolder::create(&WorkDir::Fixed(temp.path().join("new"))).unwrap();
        assert_eq!(folder.note(), None);
    }
}
