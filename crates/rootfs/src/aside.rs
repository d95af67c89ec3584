//! Room for the image where the build context is: in place, both want the same directory.
//!
//! `/workspace` is the default context and a usual WORKDIR. A mount cannot be mounted over or moved where a build in place
//! is needed, so the files of the context step aside, and come back at the end, however the build ended:
//!
//! 1. They are copied into the work folder, which commands have no business in. The context is read from the copy.
//! 2. They are renamed into a folder of a fresh name beside them, which no snapshot sees. So a builder that is killed
//!    with SIGKILL loses nothing: the next build of the same context puts them back first ([`restore`]).
//! 3. At the end what the image left is moved out, the files are moved back, and what a command did to them all the same
//!    (`chown -R`, `rm -rf`) is mended from the copy.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_context::DirectoryView;
use kiln_events::{Event, EventSink, WarningKind};
use kiln_layer::{ImagePath, Root};
use kiln_sandbox::{Cancel, SandboxError, mount_points};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tempfile::TempDir;
use walkdir::WalkDir;

use super::placed::{Copying, Time, mend_tree, move_entry, remove};
use super::{RootError, io_error};

/// Names of the folders that files of a context are in meanwhile begin so.
const HIDDEN: &str = ".kiln-context-";

/// Names of folders with what a killed build left begin so.
const LEFT: &str = ".kiln-left-";

/// In the folder: held while the build lives.
const LOCK: &str = "lock";

/// In the folder: the files of the context.
const FILES: &str = "files";

/// In the folder: what the image had in the place.
const IMAGE: &str = "image";

/// In the folder: what the context's directory itself looked like.
const LOOKS: &str = "looks";

/// In the folder, there while all beside it is the image's.
const CLEARED: &str = "cleared";

/// The context of a build in place, and where its files are.
pub struct Aside {
    dir: PathBuf,
    work: PathBuf,
    /// Paths that have to stay where they are.
    stay: Vec<PathBuf>,
    cancel: Cancel,
    events: Arc<dyn EventSink>,
    mounts: fn() -> Result<Vec<PathBuf>, SandboxError>,
    /// Locked by every build that reads the context: shared, or for its own alone while the files are aside. `None` where
    /// that cannot be had.
    readers: Option<File>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    moved: Option<Moved>,
    /// Whoever reads the context; they follow it.
    views: Vec<Arc<DirectoryView>>,
}

struct Moved {
    hidden: PathBuf,
    copy: PathBuf,
    looks: Looks,
    _lock: File,
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aside")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// The place that the image has got.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    /// The directory.
    pub(super) place: ImagePath,
    /// The folder in it with the files of the context.
    pub(super) hidden: ImagePath,
}

impl Aside {
    /// `stay` are paths that have to stay where they are, such as the work folder.
    pub fn new(
        dir: PathBuf,
        work: PathBuf,
        stay: Vec<PathBuf>,
        cancel: Cancel,
        events: Arc<dyn EventSink>,
    ) -> Aside {
        let readers = File::open(&dir)
            .ok()
            .filter(|dir| rustix::fs::flock(dir, FlockOperation::NonBlockingLockShared).is_ok());
        Aside {
            readers,
            dir,
            work,
            stay,
            cancel,
            events,
            mounts: mount_points,
            state: Mutex::default(),
        }
    }

    /// The directory of the context, as it was given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a view of the context, which follows the files.
    pub fn view<E>(
        &self,
        make: impl FnOnce(&Path) -> Result<DirectoryView, E>,
    ) -> Result<Arc<DirectoryView>, E> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = state.moved.as_ref().map_or(&self.dir, |moved| &moved.copy);
        let view = Arc::new(make(dir)?);
        state.views.push(Arc::clone(&view));
        Ok(view)
    }

    /// What the image has got; `None` while the context is where it was.
    pub(super) fn lent(&self) -> Option<Lent> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.moved.as_ref().map(|moved| Lent {
            place: ImagePath::from(self.dir.as_path()),
            hidden: ImagePath::from(moved.hidden.as_path()),
        })
    }

    /// Moves the files of the context out of the image's way, if that is not done yet. On error they are where they were.
    pub fn make_room(&self) -> Result<(), RootError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.moved.is_some() {
            return Ok(());
        }
        let moved = self.move_out()?;
        for view in &state.views {
            view.moved_to(Root::open(&moved.copy)?);
        }
        state.moved = Some(moved);
        Ok(())
    }

    fn stuck(&self, why: impl Into<String>) -> RootError {
        RootError::ContextInTheWay {
            context: self.dir.clone(),
            why: why.into(),
        }
    }

    fn move_out(&self) -> Result<Moved, RootError> {
        self.check()?;
        if self.lock_readers(FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(self.stuck("another build reads it"));
        }
        let moved = self.move_locked();
        if moved.is_err() {
            let _ = self.lock_readers(FlockOperation::NonBlockingLockShared);
        }
        moved
    }

    /// Some filesystems have no locks for directories; then nobody is kept from anything.
    fn lock_readers(&self, how: FlockOperation) -> Result<(), Errno> {
        match &self.readers {
            Some(dir) => rustix::fs::flock(dir, how),
            None => Ok(()),
        }
    }

    fn move_locked(&self) -> Result<Moved, RootError> {
        let looks = Looks::of(&self.dir)?;
        let folder = tempfile::Builder::new()
            .prefix(HIDDEN)
            .tempdir_in(&self.dir);
        let folder = folder.map_err(|error| self.stuck(refusal(&error)))?;
        let lock = claim(folder.path()).map_err(io_error("lock", folder.path()))?;
        let copy = self.work.join("context");
        let copied = self.copy(folder.path(), &copy);
        let moved = copied.and_then(|()| {
            looks.write(&folder.path().join(LOOKS))?;
            self.empty(folder)
        });
        let hidden = match moved {
            Ok(hidden) => hidden,
            Err(error) => {
                drop(fs::remove_dir_all(&copy));
                looks.give(&self.dir)?;
                return Err(error);
            }
        };
        Ok(Moved {
            hidden,
            copy,
            looks,
            _lock: lock,
        })
    }

    /// What cannot be moved, found before anything is.
    fn check(&self) -> Result<(), RootError> {
        let mounts = (self.mounts)().map_err(RootError::Mount)?;
        let below = |path: &Path| path != self.dir && path.starts_with(&self.dir);
        if let Some(mount) = mounts.iter().find(|mount| below(mount)) {
            return Err(self.stuck(format!("`{}` is mounted in it", mount.display())));
        }
        let above = |path: &Path| path != self.dir && path != "/" && self.dir.starts_with(path);
        if let Some(mount) = mounts.iter().find(|mount| above(mount)) {
            return Err(self.stuck(format!(
                "it is a part of what is mounted at `{}`",
                mount.display()
            )));
        }
        let stay = self.stay.iter().find(|path| path.starts_with(&self.dir));
        if let Some(path) = stay {
            let path = path.display();
            return Err(self.stuck(format!("`{path}` is in it, which the builder needs")));
        }
        Ok(())
    }

    /// Copies the context into the work folder, if there is room for it.
    fn copy(&self, hidden: &Path, to: &Path) -> Result<(), RootError> {
        let needed = size_of(&self.dir, &self.cancel)?;
        let free = rustix::fs::statvfs(&self.work)
            .map_err(|error| io_error("look at", &self.work)(error.into()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if needed >= free {
            return Err(self.stuck(format!(
                "a copy of it takes {needed} bytes, and `{}` has room for {free}",
                self.work.display()
            )));
        }
        fs::create_dir(to).map_err(io_error("create", to))?;
        let mut copying = Copying::new(&self.cancel)?;
        for child in children(&self.dir)? {
            if child != hidden {
                copying.copy(&child, &to.join(child.file_name().unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// Renames everything into the folder; back again if that fails.
    fn empty(&self, folder: TempDir) -> Result<PathBuf, RootError> {
        let files = folder.path().join(FILES);
        fs::create_dir(&files).map_err(io_error("create", &files))?;
        let mut moved = Ok(());
        for child in children(&self.dir)? {
            if child != folder.path() {
                moved = move_entry(&child, &files.join(child.file_name().unwrap_or_default()));
            }
            if moved.is_err() {
                break;
            }
        }
        let cleared = folder.path().join(CLEARED);
        let moved =
            moved.and_then(|()| File::create(&cleared).map_err(io_error("write", &cleared)));
        // Whatever comes now, it must not go with our variable.
        let hidden = folder.keep();
        if let Err(error) = moved {
            move_children(&files, &self.dir)?;
            remove(&hidden)?;
            return Err(error);
        }
        Looks::of_image().give(&self.dir)?;
        Ok(hidden)
    }

    /// Gives the place the looks of a directory that nothing of the image has touched.
    pub(super) fn reset_place(&self) -> Result<(), RootError> {
        match self.lent() {
            Some(_) => Looks::of_image().give(&self.dir),
            None => Ok(()),
        }
    }

    /// Moves the files of the context back, if they are aside, and takes away what the image left.
    pub fn put_back(&self) -> Result<(), RootError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(moved) = state.moved.take() else {
            return Ok(());
        };
        // A command may have removed any of it.
        let image = moved.hidden.join(IMAGE);
        fs::create_dir_all(&image).map_err(io_error("create", &image))?;
        let cleared = moved.hidden.join(CLEARED);
        File::create(&cleared).map_err(io_error("write", &cleared))?;
        put_back(&self.dir, &moved.hidden)?;
        mend_tree(&moved.copy, &self.dir, &moved.hidden)?;
        for view in &state.views {
            view.moved_to(Root::open(&self.dir)?);
        }
        remove(&moved.hidden)?;
        moved.looks.give(&self.dir)?;
        let _ = self.lock_readers(FlockOperation::NonBlockingLockShared);
        remove(&moved.copy)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = self.put_back() {
            let error = kiln_shown::with_causes(&error);
            let text = format!("the files of the context are not all back: {error}");
            self.events
                .event(Event::warning(WarningKind::ContextNotBack, text));
        }
    }
}

/// What was found of a build that was killed while the files of its context were aside.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// There was none.
    Nothing,
    /// The files are back.
    Files,
    /// The files are back; what had their place is in this folder, for it may be somebody's.
    FilesAndMore(PathBuf),
    /// That build is alive.
    InUse,
}

/// Puts the files of a context back that a killed build left aside.
pub fn restore(dir: &Path) -> Result<Restored, RootError> {
    let mut restored = Restored::Nothing;
    let Ok(entries) = children(dir) else {
        return Ok(restored);
    };
    for hidden in entries {
        let name = hidden.file_name().unwrap_or_default();
        if !name.as_bytes().starts_with(HIDDEN.as_bytes()) || !is_whole(&hidden) {
            continue;
        }
        match claim(&hidden) {
            Ok(_lock) => restored = restore_from(dir, &hidden)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Restored::InUse),
            Err(error) => return Err(io_error("lock", &hidden)(error)),
        }
    }
    Ok(restored)
}

fn restore_from(dir: &Path, hidden: &Path) -> Result<Restored, RootError> {
    let looks = Looks::read(&hidden.join(LOOKS));
    let image = hidden.join(IMAGE);
    fs::create_dir_all(&image).map_err(io_error("create", &image))?;
    put_back(dir, hidden)?;
    let left = children(&image)?;
    let restored = if left.is_empty() {
        remove(hidden)?;
        Restored::Files
    } else {
        let name = hidden.file_name().unwrap_or_default().to_string_lossy();
        let kept = dir.join(name.replace(HIDDEN, LEFT));
        fs::rename(hidden, &kept).map_err(io_error("rename", hidden))?;
        Restored::FilesAndMore(kept.join(IMAGE))
    };
    if let Some(looks) = looks {
        looks.give(dir)?;
    }
    Ok(restored)
}

/// Moves what the image had out of the place, if it has it, and the files of the context back.
fn put_back(dir: &Path, hidden: &Path) -> Result<(), RootError> {
    let cleared = hidden.join(CLEARED);
    let files = hidden.join(FILES);
    if cleared.exists() {
        let image = hidden.join(IMAGE);
        for child in children(dir)? {
            if child != hidden {
                move_entry(&child, &image.join(child.file_name().unwrap_or_default()))?;
            }
        }
        remove(&cleared)?;
    }
    if files.exists() {
        move_children(&files, dir)?;
    }
    Ok(())
}

fn move_children(from: &Path, to: &Path) -> Result<(), RootError> {
    for child in children(from)? {
        move_entry(&child, &to.join(child.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn children(dir: &Path) -> Result<BTreeSet<PathBuf>, RootError> {
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    entries
        .map(|entry| Ok(entry.map_err(io_error("list", dir))?.path()))
        .collect()
}

/// The size of a copy, as far as files make it.
fn size_of(dir: &Path, cancel: &Cancel) -> Result<u64, RootError> {
    let mut size = 0u64;
    for entry in WalkDir::new(dir).min_depth(1) {
        if cancel.is_cancelled() {
            return Err(RootError::Interrupted);
        }
        let entry = entry.map_err(|error| failed("list", dir, error))?;
        let found = entry.metadata();
        let found = found.map_err(|error| failed("read", dir, error))?;
        size = size.saturating_add(found.blocks().saturating_mul(512));
    }
    Ok(size)
}

/// What a walk below `top` could not read.
fn failed(operation: &'static str, top: &Path, error: walkdir::Error) -> RootError {
    let path = error.path().unwrap_or(top).to_owned();
    let source = error.into_io_error();
    // A walk that follows no links knows no other errors than the system's.
    io_error(operation, &path)(source.unwrap_or_else(|| io::ErrorKind::Other.into()))
}

/// Why no folder can be made in the context.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "it is mounted read-only".to_owned(),
        _ => format!("nothing can be written there: {error}"),
    }
}

/// Holds the lock of a folder, or fails with `WouldBlock`.
fn claim(folder: &Path) -> io::Result<File> {
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(folder.join(LOCK))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// Whether a folder is as we make them: nothing in it leads elsewhere. Its owner says nothing, for a command may have
/// given all files in the place away.
fn is_whole(folder: &Path) -> bool {
    let found = |path: &Path| fs::symlink_metadata(path).ok();
    let is_dir = |path: &Path| found(path).is_some_and(|found| found.is_dir());
    let parts = [FILES, IMAGE].map(|name| folder.join(name));
    is_dir(folder)
        && found(&folder.join(LOCK)).is_some_and(|found| found.is_file())
        && parts
            .iter()
            .all(|part| is_dir(part) || found(part).is_none())
}

/// Mode, owner and time of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    mode: u32,
    owner: (u32, u32),
    time: Option<Time>,
}

impl Looks {
    fn of(dir: &Path) -> Result<Looks, RootError> {
        let found = fs::symlink_metadata(dir).map_err(io_error("read", dir))?;
        Ok(Looks {
            mode: found.mode() & 0o7777,
            owner: (found.uid(), found.gid()),
            time: Some(Time::of(dir)?),
        })
    }

    /// Those of a directory that nobody described (G3).
    fn of_image() -> Looks {
        Looks {
            mode: 0o755,
            owner: (0, 0),
            time: None,
        }
    }

    fn give(&self, dir: &Path) -> Result<(), RootError> {
        let found = fs::symlink_metadata(dir).map_err(io_error("read", dir))?;
        if (found.uid(), found.gid()) != self.owner {
            let (uid, gid) = self.owner;
            chown(dir, Some(uid), Some(gid)).map_err(io_error("give away", dir))?;
        }
        if found.mode() & 0o7777 != self.mode {
            let mode = Permissions::from_mode(self.mode);
            fs::set_permissions(dir, mode).map_err(io_error("prepare", dir))?;
        }
        self.time.map_or(Ok(()), |time| time.set(dir))
    }

    fn write(&self, path: &Path) -> Result<(), RootError> {
        let (uid, gid) = self.owner;
        let (sec, nsec) = self.time.map_or((0, 0), Time::parts);
        let text = format!("{} {uid} {gid} {sec} {nsec}\n", self.mode);
        fs::write(path, text).map_err(io_error("write", path))
    }

    /// `None` if it was not written, or not whole.
    fn read(path: &Path) -> Option<Looks> {
        let text = fs::read_to_string(path).ok()?;
        let numbers: Vec<i64> = text
            .split_whitespace()
            .map(|word| word.parse().ok())
            .collect::<Option<_>>()?;
        let [mode, uid, gid, sec, nsec] = numbers[..] else {
            return None;
        };
        Some(Looks {
            mode: u32::try_from(mode).ok()?,
            owner: (u32::try_from(uid).ok()?, u32::try_from(gid).ok()?),
            time: Some(Time::new(sec, nsec)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Wherever the folder for temporary files is, it counts as no part of a mount.
    fn alone(mut aside: Aside) -> Aside {
        aside.mounts = || Ok(Vec::new());
        aside
    }

    struct Scene {
        context: TempDir,
        work: TempDir,
        before: Vec<String>,
    }

    fn seen(dir: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        for entry in WalkDir::new(dir) {
            let path = entry.unwrap().into_path();
            let found = fs::symlink_metadata(&path).unwrap();
            let content = if found.is_file() {
                fs::read_to_string(&path).unwrap()
            } else if found.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                String::new()
            };
            seen.push(format!(
                "{} {:o} {}:{} {}.{} {} {content}",
                path.display(),
                found.mode(),
                found.uid(),
                found.gid(),
                found.mtime(),
                found.mtime_nsec(),
                found.nlink(),
            ));
        }
        seen.sort();
        seen
    }

    impl Scene {
        fn new() -> Scene {
            let (context, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let dir = context.path();
            fs::create_dir_all(dir.join("sub/deep")).unwrap();
            fs::write(dir.join("Dockerfile"), "FROM scratch").unwrap();
            fs::write(dir.join("sub/deep/file"), "deep").unwrap();
            fs::hard_link(dir.join("sub/deep/file"), dir.join("twin")).unwrap();
            symlink("nowhere", dir.join("link")).unwrap();
            fs::set_permissions(dir.join("sub"), Permissions::from_mode(0o2751)).unwrap();
            for path in ["sub/deep", "sub", ""] {
                Time::new(1_600_000_000, 5).set(&dir.join(path)).unwrap();
            }
            let before = seen(dir);
            Scene {
                context,
                work,
                before,
            }
        }

        fn dir(&self) -> &Path {
            self.context.path()
        }

        fn aside(&self) -> Aside {
            let work = self.work.path().to_owned();
            alone(Aside::new(
                self.dir().to_owned(),
                work,
                Vec::new(),
                Cancel::new(),
                Arc::new(kiln_events::Silent),
            ))
        }

        /// What the image and commands do in the place.
        fn use_place(&self) {
            fs::write(self.dir().join("Dockerfile"), "the image's").unwrap();
            fs::create_dir(self.dir().join("sub")).unwrap();
            fs::set_permissions(self.dir(), Permissions::from_mode(0o700)).unwrap();
        }
    }

    // finding 16
    #[test]
    fn the_place_is_empty_meanwhile_and_as_it_was_afterwards() {
        let scene = Scene::new();
        let aside = scene.aside();
        let view = aside
            .view(|dir| {
                let root = Root::open(dir)?;
                Ok::<_, RootError>(DirectoryView::new(
                    root,
                    kiln_dockerfile::PatternSet::default(),
                ))
            })
            .unwrap();
        aside.make_room().unwrap();
        aside.make_room().unwrap();
        let lent = aside.lent().unwrap();
        assert_eq!(children(scene.dir()).unwrap().len(), 1);
        assert!(lent.hidden.starts_with(&lent.place));
        scene.use_place();
        let file = kiln_context::resolve(view.as_ref(), b"sub/deep/file", true).unwrap();
        assert!(file.is_some(), "the view does not follow");
        aside.put_back().unwrap();
        assert_eq!(seen(scene.dir()), scene.before);
        aside.put_back().unwrap();
        // As when a broken entry of the cache makes the build begin again.
        aside.make_room().unwrap();
        aside.put_back().unwrap();
        assert_eq!(seen(scene.dir()), scene.before);
    }

    // finding 16
    #[test]
    fn what_commands_did_to_hidden_files_is_mended() {
        let harms: &[fn(&Path)] = &[
            |dir| fs::remove_dir_all(dir).unwrap(),
            |dir| {
                for child in children(dir).unwrap() {
                    fs::remove_dir_all(child).unwrap();
                }
            },
            |hidden_parent| {
                let hidden = children(hidden_parent).unwrap().pop_first().unwrap();
                fs::remove_file(hidden.join("files/twin")).unwrap();
                fs::write(hidden.join("files/Dockerfile"), "FROM elsewhere").unwrap();
                fs::write(hidden.join("files/sub/more"), "").unwrap();
                fs::set_permissions(hidden.join("files/sub"), Permissions::from_mode(0o777))
                    .unwrap();
            },
            |hidden_parent| {
                let hidden = children(hidden_parent).unwrap().pop_first().unwrap();
                fs::remove_file(hidden.join(CLEARED)).unwrap();
                fs::remove_dir_all(hidden.join(FILES)).unwrap();
            },
        ];
        assert!(!harms.is_empty());
        for harm in harms {
            let scene = Scene::new();
            let aside = scene.aside();
            aside.make_room().unwrap();
            harm(scene.dir());
            drop(aside);
            assert_eq!(seen(scene.dir()), scene.before);
        }
    }

    // finding 16
    #[test]
    fn after_a_kill_nothing_is_lost() {
        let scene = Scene::new();
        let aside = scene.aside();
        aside.make_room().unwrap();
        assert_eq!(restore(scene.dir()).unwrap(), Restored::InUse);
        // As SIGKILL does: the lock is free, and nothing was put back.
        let kill = |aside: Aside| {
            aside.state.lock().unwrap().moved = None;
        };
        kill(aside);
        assert_eq!(restore(scene.dir()).unwrap(), Restored::Files);
        assert_eq!(seen(scene.dir()), scene.before);
        assert_eq!(restore(scene.dir()).unwrap(), Restored::Nothing);

        let other = Scene::new();
        let aside = other.aside();
        aside.make_room().unwrap();
        other.use_place();
        kill(aside);
        let Restored::FilesAndMore(left) = restore(other.dir()).unwrap() else {
            panic!("what had the place is gone");
        };
        let text = fs::read_to_string(left.join("Dockerfile")).unwrap();
        assert_eq!(text, "the image's");
        fs::remove_dir_all(left.parent().unwrap()).unwrap();
        Time::new(1_600_000_000, 5).set(other.dir()).unwrap();
        assert_eq!(seen(other.dir()), other.before);
    }

    // finding 16
    #[test]
    fn what_cannot_step_aside_stays_whole() {
        let scene = Scene::new();
        let work = scene.dir().join("sub").canonicalize().unwrap();
        let aside = alone(Aside::new(
            scene.dir().to_owned(),
            work.clone(),
            vec![work],
            Cancel::new(),
            Arc::new(kiln_events::Silent),
        ));
        let error = aside.make_room().unwrap_err().to_string();
        assert!(error.contains("which the builder needs"), "{error}");
        drop(aside);
        let reader = scene.aside();
        let error = scene.aside().make_room().unwrap_err().to_string();
        assert!(error.contains("another build reads it"), "{error}");
        drop(reader);
        let cancelled = Cancel::new();
        cancelled.cancel();
        let work = scene.work.path().to_owned();
        let aside = alone(Aside::new(
            scene.dir().to_owned(),
            work,
            Vec::new(),
            cancelled,
            Arc::new(kiln_events::Silent),
        ));
        assert!(matches!(
            aside.make_room().unwrap_err(),
            RootError::Interrupted
        ));
        assert_eq!(seen(scene.dir()), scene.before);
    }
}
