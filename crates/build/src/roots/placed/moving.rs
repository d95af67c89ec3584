//! Moving files with all their attributes, also to another filesystem.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use kiln_layer::{Entry, EntryKind, ImagePath, Owners, Root};
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
pub(super) fn move_entry(from: &Path, to: &Path) -> Result<(), RootError> {
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
            copy(&root, &entry, from, to)?;
            fs::remove_file(from).map_err(io_error("remove", from))?;
        }
    }
    root.set_metadata(&entry, Owners::Keep)?;
    time.set(to)
}

fn copy(root: &Root, entry: &Entry, from: &Path, to: &Path) -> Result<(), RootError> {
    match &entry.kind {
        EntryKind::Symlink { target } => root.symlink(&entry.path, target)?,
        EntryKind::File { .. } => {
            let mut source = File::open(from).map_err(io_error("read", from))?;
            let mut copied = File::create_new(to).map_err(io_error("create", to))?;
            io::copy(&mut source, &mut copied).map_err(io_error("write", to))?;
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

/// Removes a file or a whole tree.
pub(super) fn remove(path: &Path) -> Result<(), RootError> {
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
pub(super) struct Time {
    sec: i64,
    nsec: i64,
}

impl Time {
    pub(super) fn of(path: &Path) -> Result<Time, RootError> {
        let found = fs::symlink_metadata(path).map_err(io_error("read", path))?;
        Ok(Time {
            sec: found.mtime(),
            nsec: found.mtime_nsec(),
        })
    }

    pub(super) fn set(self, path: &Path) -> Result<(), RootError> {
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
