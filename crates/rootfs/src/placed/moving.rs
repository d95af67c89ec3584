//! Moving files with all their attributes, also to another filesystem.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use kiln_layer::{Entry, EntryKind, ImagePath, Owners, Root};
use kiln_sandbox::Cancel;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::super::{RootError, io_error};

/// Moves every entry of a directory into another.
pub(super) fn move_all(from: &Path, to: &Path) -> Result<(), RootError> {
    for child in fs::read_dir(from).map_err(io_error("list", from))? {
        let child = child.map_err(io_error("list", from))?;
        move_entry(&child.path(), &to.join(child.file_name()))?;
    }
    Ok(())
}

/// Renames, or copies and removes where that is refused: between filesystems, and for directories of an overlay's lower
/// layers.
pub(crate) fn move_entry(from: &Path, to: &Path) -> Result<(), RootError> {
    match fs::rename(from, to) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        Err(error) => return Err(io_error("move", from)(error)),
    }
    let found = fs::symlink_metadata(from).map_err(io_error("read", from))?;
    if found.file_type().is_socket() {
        // A socket cannot be copied, and a link to it serves as well.
        return symlink(from, to).map_err(io_error("link to", from));
    }
    let root = Root::open("/")?;
    let path = ImagePath::from(from);
    let Some(mut entry) = root.entry(&path)? else {
        return Ok(());
    };
    entry.path = ImagePath::from(to);
    // Entries of layers have whole seconds.
    let time = Time::of(from)?;
    match &entry.kind {
        EntryKind::Directory => {
            fs::create_dir(to).map_err(io_error("create", to))?;
            move_all(from, to)?;
            fs::remove_dir(from).map_err(io_error("remove", from))?;
        }
        _ => {
            copy(&root, &entry, from, to, None)?;
            fs::remove_file(from).map_err(io_error("remove", from))?;
        }
    }
    root.set_metadata(&entry, Owners::Keep)?;
    time.set(to)
}

/// How much of a file is copied before anybody asks whether the build goes on.
const PIECE: u64 = 32 << 20;

fn heed(cancel: Option<&Cancel>) -> Result<(), RootError> {
    if cancel.is_some_and(Cancel::is_cancelled) {
        return Err(RootError::Interrupted);
    }
    Ok(())
}

fn copy(
    root: &Root,
    entry: &Entry,
    from: &Path,
    to: &Path,
    cancel: Option<&Cancel>,
) -> Result<(), RootError> {
    match &entry.kind {
        EntryKind::Symlink { target } => root.symlink(&entry.path, target)?,
        EntryKind::File { .. } => {
            let source = File::open(from).map_err(io_error("read", from))?;
            let mut copied = File::create_new(to).map_err(io_error("create", to))?;
            while io::copy(&mut (&source).take(PIECE), &mut copied)
                .map_err(io_error("write", to))?
                == PIECE
            {
                heed(cancel)?;
            }
        }
        EntryKind::Fifo => root.mknod(&entry.path, kiln_layer::FileType::Fifo, 0o600, (0, 0))?,
        EntryKind::CharDevice { major, minor } => {
            let kind = kiln_layer::FileType::CharDevice;
            root.mknod(&entry.path, kind, 0o600, (*major, *minor))?;
        }
        EntryKind::BlockDevice { major, minor } => {
            let kind = kiln_layer::FileType::BlockDevice;
            root.mknod(&entry.path, kind, 0o600, (*major, *minor))?;
        }
        _ => {}
    }
    Ok(())
}

/// Copies trees with all their attributes; names of one file stay names of one file.
///
/// It goes down itself, and not with `walkdir`: a directory gets its attributes when all that is in it has been made, and
/// mending goes through two trees at once.
pub(crate) struct Copying<'a> {
    root: Root,
    cancel: Option<&'a Cancel>,
    /// Where the files with several names are.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Copying<'a> {
    pub(crate) fn new(cancel: &'a Cancel) -> Result<Copying<'a>, RootError> {
        Ok(Copying {
            cancel: Some(cancel),
            ..Copying::whole()?
        })
    }

    /// One that goes on when the build is cancelled.
    fn whole() -> Result<Copying<'a>, RootError> {
        Ok(Copying {
            root: Root::open("/")?,
            cancel: None,
            linked: HashMap::new(),
        })
    }

    /// Copies what is at `from` to `to`, where nothing is. Sockets are left out.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> Result<(), RootError> {
        heed(self.cancel)?;
        let found = fs::symlink_metadata(from).map_err(io_error("read", from))?;
        if found.is_file() && found.nlink() > 1 {
            let known = self.linked.entry((found.dev(), found.ino()));
            if let std::collections::hash_map::Entry::Occupied(known) = &known {
                return fs::hard_link(known.get(), to).map_err(io_error("link", to));
            }
            known.or_insert_with(|| to.to_owned());
        }
        let Some(mut entry) = self.root.entry(&ImagePath::from(from))? else {
            return Ok(());
        };
        entry.path = ImagePath::from(to);
        if found.is_dir() {
            fs::create_dir(to).map_err(io_error("create", to))?;
            for child in fs::read_dir(from).map_err(io_error("list", from))? {
                let child = child.map_err(io_error("list", from))?;
                self.copy(&child.path(), &to.join(child.file_name()))?;
            }
        } else {
            copy(&self.root, &entry, from, to, self.cancel)?;
        }
        self.root.set_metadata(&entry, Owners::Keep)?;
        Time::of(from)?.set(to)
    }
}

/// Makes what is below `at` equal to its copy again, but for sockets and `apart`.
pub(crate) fn mend_tree(copy: &Path, at: &Path, apart: &Path) -> Result<(), RootError> {
    Copying::whole()?.mend(copy, at, apart)
}

impl Copying<'_> {
    fn mend(&mut self, copy: &Path, at: &Path, apart: &Path) -> Result<(), RootError> {
        for child in fs::read_dir(at).map_err(io_error("list", at))? {
            let child = child.map_err(io_error("list", at))?;
            let kind = child.file_type().map_err(io_error("read", at))?;
            let known = fs::symlink_metadata(copy.join(child.file_name())).is_ok();
            if !known && !kind.is_socket() && child.path() != apart {
                remove(&child.path())?;
            }
        }
        for child in fs::read_dir(copy).map_err(io_error("list", copy))? {
            let child = child.map_err(io_error("list", copy))?;
            self.mend_one(&child.path(), &at.join(child.file_name()), apart)?;
        }
        Ok(())
    }

    fn mend_one(&mut self, from: &Path, to: &Path, apart: &Path) -> Result<(), RootError> {
        let wanted = fs::symlink_metadata(from).map_err(io_error("read", from))?;
        match fs::symlink_metadata(to).ok() {
            Some(found) if wanted.is_dir() && found.is_dir() => self.mend(from, to, apart)?,
            Some(found) if same_content(&wanted, &found, from, to) => {
                self.link_again(&wanted, &found, to)?;
            }
            Some(_) => {
                remove(to)?;
                self.copy(from, to)?;
            }
            None => self.copy(from, to)?,
        }
        let found = fs::symlink_metadata(to).map_err(io_error("read", to))?;
        if !same_looks(&wanted, &found)
            && let Some(mut entry) = self.root.entry(&ImagePath::from(from))?
        {
            entry.path = ImagePath::from(to);
            self.root.set_metadata(&entry, Owners::Keep)?;
            Time::of(from)?.set(to)?;
        }
        Ok(())
    }

    /// Names of one file are names of one file again.
    fn link_again(
        &mut self,
        wanted: &Metadata,
        found: &Metadata,
        to: &Path,
    ) -> Result<(), RootError> {
        if !wanted.is_file() || wanted.nlink() < 2 {
            return Ok(());
        }
        let first = self.linked.entry((wanted.dev(), wanted.ino()));
        let first = first.or_insert_with(|| to.to_owned()).clone();
        let other = fs::symlink_metadata(&first).map_err(io_error("read", &first))?;
        if (other.dev(), other.ino()) == (found.dev(), found.ino()) {
            return Ok(());
        }
        remove(to)?;
        fs::hard_link(&first, to).map_err(io_error("link", to))
    }
}

/// Whether two files are of one kind and hold the same, going by size and time.
fn same_content(one: &Metadata, other: &Metadata, at: &Path, other_at: &Path) -> bool {
    let holds = |of: &Metadata| (of.file_type(), of.size(), of.mtime(), of.mtime_nsec());
    let target = |path: &Path| fs::read_link(path).ok();
    holds(one) == holds(other) && (!one.is_symlink() || target(at) == target(other_at))
}

/// Whether two files of one kind have the same mode, owner and time.
fn same_looks(one: &Metadata, other: &Metadata) -> bool {
    let looks = |of: &Metadata| (of.mode(), of.uid(), of.gid(), of.mtime(), of.mtime_nsec());
    looks(one) == looks(other)
}

/// Removes a file or a whole tree.
pub(crate) fn remove(path: &Path) -> Result<(), RootError> {
    let found = fs::symlink_metadata(path).map_err(io_error("read", path))?;
    let removed = if found.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(io_error("remove", path))
}

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    sec: i64,
    nsec: i64,
}

impl Time {
    /// From seconds and nanoseconds.
    pub(crate) fn new(sec: i64, nsec: i64) -> Time {
        Time { sec, nsec }
    }

    /// Seconds and nanoseconds.
    pub(crate) fn parts(self) -> (i64, i64) {
        (self.sec, self.nsec)
    }

    pub(crate) fn of(path: &Path) -> Result<Time, RootError> {
        let found = fs::symlink_metadata(path).map_err(io_error("read", path))?;
        Ok(Time {
            sec: found.mtime(),
            nsec: found.mtime_nsec(),
        })
    }

    pub(crate) fn set(self, path: &Path) -> Result<(), RootError> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.sec,
                tv_nsec: self.nsec,
            },
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| io_error("set the time of", path)(error.into()))
    }
}
