//! What RUN sees through `--mount`, where nothing can be mounted: files are moved into place before the command, and
//! everything back afterwards, however it ended (conformance D26-D38).
//!
//! Afterwards the root is as the command left it and nothing of a mount shows: not its files, not the directories made
//! for them, not the times of the directories they stood in. A builder that is killed cannot clean up; then the
//! container, which is a throw-away one, is as it was during the command.

mod moving;
#[cfg(test)]
mod tests;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_events::{Event, EventSink, WarningKind};
use kiln_layer::{ImagePath, Root};
use kiln_sandbox::SandboxMount;
use tempfile::TempDir;

use super::{RootError, io_error};
use moving::move_all;
pub(super) use moving::{Copying, Time, mend_tree, move_entry, remove};

/// The mounts of one command, in place until they are taken back.
#[derive(Debug)]
pub struct Placed {
    root: Root,
    work: PathBuf,
    put: Vec<Put>,
    events: Arc<dyn EventSink>,
}

impl Placed {
    /// Moves the mounts into the root in their order. What stands there is put aside, in `work` if that is on the same
    /// filesystem. Sources are used up, but for caches, which are moved back to where they were.
    pub fn put(
        root: &Path,
        work: &Path,
        mounts: &[SandboxMount],
        kept: &[ImagePath],
        events: &Arc<dyn EventSink>,
    ) -> Result<Placed, RootError> {
        let mut placed = Placed {
            root: Root::open(root)?,
            work: work.to_owned(),
            put: Vec::new(),
            events: Arc::clone(events),
        };
        for mount in mounts {
            placed.add(mount, kept)?;
        }
        Ok(placed)
    }

    /// Refuses a target that is one of the `kept` paths, or below or above one.
    fn add(&mut self, mount: &SandboxMount, kept: &[ImagePath]) -> Result<(), RootError> {
        let source = Source::of(mount)?;
        let (at, missing) = self.target(mount.target())?;
        let near = |kept: &&ImagePath| at.starts_with(kept) || kept.starts_with(&at);
        if let Some(kept) = kept.iter().find(near) {
            return Err(RootError::Covered {
                target: mount.target().to_owned(),
                kept: kept.clone(),
            });
        }
        let path = self.root.path().join(at.as_path());
        let mut put = Put::at(path);
        let outcome = put
            .make_directories(missing, source.is_dir)
            .and_then(|()| put.fill(&source, &self.work));
        // Also what is half done has to be taken back.
        self.put.push(put);
        outcome
    }

    /// Finds the target, following links inside the root; how many of its last components are missing.
    fn target(&self, target: &Path) -> Result<(ImagePath, usize), RootError> {
        let wanted = ImagePath::from(target);
        let found = self.root.resolve(wanted.as_bytes(), true)?;
        Ok((found.path, found.missing))
    }

    /// Moves everything back, last first; all of it is tried, and the first failure told.
    pub fn take_back(mut self) -> Result<(), RootError> {
        self.undo()
    }

    fn undo(&mut self) -> Result<(), RootError> {
        let mut outcome = Ok(());
        while let Some(put) = self.put.pop() {
            let undone = put.undo(&*self.events);
            if outcome.is_ok() {
                outcome = undone;
            }
        }
        outcome
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            let error = kiln_shown::with_causes(&error);
            let text = format!("what RUN --mount showed could not be taken back: {error}");
            let kind = WarningKind::MountNotTakenBack;
            self.events.event(Event::warning(kind, text));
        }
    }
}

/// What is shown, and what becomes of it.
struct Source {
    path: Option<PathBuf>,
    is_dir: bool,
    /// The command's changes are kept: a cache.
    lasting: bool,
    mode: u32,
    owner: (u32, u32),
}

impl Source {
    fn of(mount: &SandboxMount) -> Result<Source, RootError> {
        match mount {
            SandboxMount::Tmpfs { mode, .. } => Ok(Source {
                path: None,
                is_dir: true,
                lasting: false,
                mode: *mode,
                owner: (0, 0),
            }),
            SandboxMount::Bind {
                source,
                read_only,
                discard_writes,
                ..
            } => {
                let found = fs::symlink_metadata(source).map_err(io_error("read", source))?;
                Ok(Source {
                    path: Some(source.clone()),
                    is_dir: found.is_dir(),
                    lasting: !read_only && !discard_writes,
                    mode: found.mode() & 0o7777,
                    owner: (found.uid(), found.gid()),
                })
            }
        }
    }
}

/// One mount's place, and how to make it what it was.
#[derive(Debug)]
struct Put {
    path: PathBuf,
    /// Directories that were not there, top first.
    made: Vec<PathBuf>,
    /// The directory that gets or loses an entry by all this, and its time before.
    parent_time: Option<(Time, PathBuf)>,
    /// Mode, owner and times of a directory that is covered.
    stood: Option<Stood>,
    /// Where what stood here is meanwhile: a directory's files, or the file as `file`.
    aside: Option<TempDir>,
    aside_file: bool,
    /// Whether the command's files are here.
    filled: bool,
    /// Where they go back to.
    lasting: Option<PathBuf>,
}

#[derive(Debug)]
struct Stood {
    mode: u32,
    owner: (u32, u32),
    time: Time,
}

impl Put {
    fn at(path: PathBuf) -> Put {
        Put {
            path,
            made: Vec::new(),
            parent_time: None,
            stood: None,
            aside: None,
            aside_file: false,
            filled: false,
            lasting: None,
        }
    }

    /// Makes what is missing on the way to the target, and the target if it has to be a directory (D27).
    fn make_directories(&mut self, missing: usize, is_dir: bool) -> Result<(), RootError> {
        let missing: Vec<&Path> = self.path.ancestors().take(missing).collect();
        let changed = missing.last().unwrap_or(&self.path.as_path()).parent();
        let parent = changed.unwrap_or(Path::new("/"));
        self.parent_time = Some((Time::of(parent)?, parent.to_owned()));
        let missing = missing.into_iter().rev().map(Path::to_owned);
        for dir in missing.collect::<Vec<_>>() {
            if dir == self.path && !is_dir {
                break;
            }
            fs::create_dir(&dir).map_err(io_error("create", &dir))?;
            self.made.push(dir.clone());
            // Whatever our umask is.
            give(&dir, 0o755, (0, 0))?;
        }
        Ok(())
    }

    fn fill(&mut self, source: &Source, work: &Path) -> Result<(), RootError> {
        let path = self.path.clone();
        if source.is_dir {
            self.cover_directory(work)?;
            self.filled = true;
            if let Some(from) = &source.path {
                self.lasting = source.lasting.then(|| from.clone());
                move_all(from, &path)?;
            }
            give(&path, source.mode, source.owner)?;
        } else if let Some(from) = &source.path {
            self.cover_file(work)?;
            self.filled = true;
            self.lasting = source.lasting.then(|| from.clone());
            move_entry(from, &path)?;
        }
        self.forget_parent_change()
    }

    /// Moves the files of the directory aside; the directory itself stays, for it may be one that cannot be renamed.
    fn cover_directory(&mut self, work: &Path) -> Result<(), RootError> {
        if self.made.last() == Some(&self.path) {
            return Ok(());
        }
        let found = fs::symlink_metadata(&self.path).map_err(io_error("read", &self.path))?;
        if !found.is_dir() {
            return Err(self.wrong_kind(io::ErrorKind::NotADirectory));
        }
        let aside = aside(work, &self.path)?;
        self.stood = Some(Stood {
            mode: found.mode() & 0o7777,
            owner: (found.uid(), found.gid()),
            time: Time::of(&self.path)?,
        });
        let to = aside.path().to_owned();
        self.aside = Some(aside);
        move_all(&self.path, &to)
    }

    fn cover_file(&mut self, work: &Path) -> Result<(), RootError> {
        let Ok(found) = fs::symlink_metadata(&self.path) else {
            return Ok(());
        };
        if found.is_dir() {
            return Err(self.wrong_kind(io::ErrorKind::IsADirectory));
        }
        let aside = aside(work, &self.path)?;
        let to = aside.path().join("file");
        self.aside = Some(aside);
        move_entry(&self.path, &to)?;
        self.aside_file = true;
        Ok(())
    }

    fn wrong_kind(&self, kind: io::ErrorKind) -> RootError {
        io_error("mount on", &self.path)(kind.into())
    }

    /// The parent's time is not the command's business, and shows whether the command changed the parent itself.
    fn forget_parent_change(&self) -> Result<(), RootError> {
        match &self.parent_time {
            Some((time, parent)) => time.set(parent),
            None => Ok(()),
        }
    }

    fn undo(mut self, events: &dyn EventSink) -> Result<(), RootError> {
        let outcome = self.put_back();
        if outcome.is_err()
            && let Some(aside) = self.aside.take()
        {
            let kept = aside.keep();
            let (path, kept) = (self.path.display(), kept.display());
            let text = format!("`{path}` is not put back; what was there is kept in `{kept}`");
            let kind = WarningKind::MountNotTakenBack;
            events.event(Event::warning(kind, text));
        }
        outcome
    }

    fn put_back(&mut self) -> Result<(), RootError> {
        let parent = self.parent_time.as_ref().map(|(_, path)| path.clone());
        // If the command changed the parent, this is its time, not the one before.
        let time = parent.as_deref().map(Time::of).transpose();
        self.empty()?;
        self.restore()?;
        for dir in self.made.iter().rev() {
            // What the command put beside a mount is its own, and so are the directories around it.
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                _ => {}
            }
        }
        // Empty by now, and maybe in that very directory.
        drop(self.aside.take());
        if let (Ok(Some(time)), Some(parent)) = (time, parent) {
            time.set(&parent)?;
        }
        Ok(())
    }

    /// Takes the mount's files away: back to the cache, or for good.
    fn empty(&self) -> Result<(), RootError> {
        if !self.filled {
            return Ok(());
        }
        let found = fs::symlink_metadata(&self.path).ok();
        let (Some(found), Some(back)) = (&found, &self.lasting) else {
            return match found {
                Some(found) if found.is_dir() => remove_children(&self.path),
                Some(_) => remove(&self.path),
                None => Ok(()),
            };
        };
        if found.is_dir() {
            move_all(&self.path, back)?;
            return give(back, found.mode() & 0o7777, (found.uid(), found.gid()));
        }
        move_entry(&self.path, back)
    }

    /// Brings back what stood here.
    fn restore(&self) -> Result<(), RootError> {
        if let Some(stood) = &self.stood {
            // A mount point cannot be removed; this one could.
            fs::create_dir_all(&self.path).map_err(io_error("restore", &self.path))?;
            if let Some(aside) = &self.aside {
                move_all(aside.path(), &self.path)?;
            }
            give(&self.path, stood.mode, stood.owner)?;
            return stood.time.set(&self.path);
        }
        match &self.aside {
            Some(aside) if self.aside_file => move_entry(&aside.path().join("file"), &self.path),
            _ => Ok(()),
        }
    }
}

/// A folder for what stood at `path`: where the command does not see it, or else beside it, so that names are moved and
/// not copied, and hard links stay.
fn aside(work: &Path, path: &Path) -> Result<TempDir, RootError> {
    let beside = path.parent().unwrap_or(Path::new("/"));
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    let place = match (device(work), device(beside)) {
        (Ok(one), Ok(other)) if one == other => work,
        _ => beside,
    };
    tempfile::Builder::new()
        .prefix(".kiln-")
        .tempdir_in(place)
        .map_err(io_error("write to", place))
}

pub(super) fn give(path: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<(), RootError> {
    let found = fs::symlink_metadata(path).map_err(io_error("read", path))?;
    if (found.uid(), found.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid)).map_err(io_error("give away", path))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error("prepare", path))
}

fn remove_children(dir: &Path) -> Result<(), RootError> {
    for child in fs::read_dir(dir).map_err(io_error("list", dir))? {
        remove(&child.map_err(io_error("list", dir))?.path())?;
    }
    Ok(())
}
