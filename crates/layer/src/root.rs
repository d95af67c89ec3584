//! A directory used as a root: the one place for file access by paths that are not trusted.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Entry, ImagePath, LayerError, Owners, Skipped};

/// A host directory below which every path is resolved as if the process were chrooted there: absolute symlinks
/// start at it and `..` stops at it.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<OwnedFd>,
    path: PathBuf,
}

/// The type of a file on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket; never part of a layer (conformance: G16).
    Socket,
}

/// What the file system says about a file; symlinks are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Type.
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, whole seconds.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: u32,
    /// Change time, whole seconds.
    pub ctime: i64,
    /// Nanoseconds of the change time.
    pub ctime_nanos: u32,
    /// Device the file is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub links: u64,
    /// Major number of a device node.
    pub major: u32,
    /// Minor number of a device node.
    pub minor: u32,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Its type.
    pub file_type: FileType,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPath {
    /// The path without symlinks, as far as it exists; the components that do not exist follow as they were.
    pub path: ImagePath,
    /// How many components at the end do not exist.
    pub missing: usize,
}

/// An open directory and a name in it.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The directory (`O_PATH`).
    pub dir: Arc<OwnedFd>,
    /// Its path without symlinks.
    pub path: ImagePath,
    /// The last component; never `.` or `..`.
    pub name: Vec<u8>,
}

/// How directories that have to be made look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDirectory {
    /// Permission bits, whatever the umask.
    pub mode: u32,
    /// User and group; `None` leaves those of the process.
    pub owner: Option<(u32, u32)>,
    /// Modification time in seconds; `None` means now.
    pub mtime: Option<i64>,
}

impl Default for NewDirectory {
    fn default() -> Self {
        Self {
            mode: 0o755,
            owner: None,
            mtime: None,
        }
    }
}

impl Root {
    /// Opens an existing directory of the host.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LayerError> {
        let _ = dir.as_ref();
        todo!()
    }

    /// The host path it was opened by, for messages and mounts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of `path`, whose last component is not followed; `None` when it does not exist.
    pub fn stat(&self, path: &ImagePath) -> Result<Option<Stat>, LayerError> {
        let _ = path;
        todo!()
    }

    /// `path` as a layer entry, with link text and extended attributes; `None` when it does not exist or is a
    /// socket. Hard links are not detected: every name is a [`File`](crate::EntryKind::File).
    pub fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, LayerError> {
        let _ = path;
        todo!()
    }

    /// The text of a symlink.
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, LayerError> {
        let _ = path;
        todo!()
    }

    /// Follows symlinks inside the root, in the last component as well if `follow_last`; `..` stops at the root.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<ResolvedPath, LayerError> {
        let _ = (path, follow_last);
        todo!()
    }

    /// Opens a file for reading; with `follow_last` a symlink is followed inside the root, otherwise it is an error.
    pub fn open_file(&self, path: &ImagePath, follow_last: bool) -> Result<File, LayerError> {
        let _ = (path, follow_last);
        todo!()
    }

    /// The content of a directory in byte order of the names; a symlink to a directory is followed.
    pub fn read_dir(&self, path: &ImagePath) -> Result<Vec<DirEntry>, LayerError> {
        let _ = path;
        todo!()
    }

    /// Opens the directory that holds `path`, following symlinks on the way; it must exist.
    pub fn open_parent(&self, path: &ImagePath) -> Result<Parent, LayerError> {
        let _ = path;
        todo!()
    }

    /// Makes `path` and what is missing on the way to it, and gives the paths that were made, top first.
    pub fn create_dir_all(
        &self,
        path: &ImagePath,
        new: &NewDirectory,
    ) -> Result<Vec<ImagePath>, LayerError> {
        let _ = (path, new);
        todo!()
    }

    /// Makes a new empty file with this mode, whatever the umask, and opens it for writing; it must not exist.
    pub fn create_file(&self, path: &ImagePath, mode: u32) -> Result<File, LayerError> {
        let _ = (path, mode);
        todo!()
    }

    /// Makes a symlink with this text.
    pub fn symlink(&self, path: &ImagePath, target: &[u8]) -> Result<(), LayerError> {
        let _ = (path, target);
        todo!()
    }

    /// Makes `path` a further name of `existing`, whose last component is not followed.
    pub fn hard_link(&self, path: &ImagePath, existing: &ImagePath) -> Result<(), LayerError> {
        let _ = (path, existing);
        todo!()
    }

    /// Makes a device node or fifo; other types are an error.
    pub fn mknod(
        &self,
        path: &ImagePath,
        file_type: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<(), LayerError> {
        let _ = (path, file_type, mode, device);
        todo!()
    }

    /// Renames inside the root; neither last component is followed.
    pub fn rename(&self, from: &ImagePath, to: &ImagePath) -> Result<(), LayerError> {
        let _ = (from, to);
        todo!()
    }

    /// Deletes `path` with all below it, without following symlinks; what does not exist is fine. Paths that `keep`
    /// holds (real paths) and the directories that lead to them stay; says whether everything went.
    pub fn remove_tree(
        &self,
        path: &ImagePath,
        keep: &dyn Fn(&ImagePath) -> bool,
    ) -> Result<bool, LayerError> {
        let _ = (path, keep);
        todo!()
    }

    /// Sets owner, mode, extended attributes and time of what is at the entry's path, in this order
    /// (conformance: G35); gives the attributes that could not be set.
    pub fn set_metadata(&self, entry: &Entry, owners: Owners) -> Result<Vec<Skipped>, LayerError> {
        let _ = (entry, owners);
        todo!()
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}
