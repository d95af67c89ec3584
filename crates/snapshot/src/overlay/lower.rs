//! The lower directories of an overlay, seen as the one tree they merge into.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Read, refuse_redirect};
use crate::error::SnapshotError;
use crate::filter::join;
use crate::stat::Stat;
use crate::tree::{Names, Tree, is_gone, open_file, read_link};
use crate::xattr::{self, Attributes};

pub(super) struct Lowers {
    trees: Vec<Tree>,
}

/// One lower's part of a merged directory.
pub(super) struct LowerDir {
    lower: usize,
    fd: OwnedFd,
    pub(super) xattrs: Attributes,
}

/// What a name is in the merged lowers.
#[derive(Default)]
pub(super) struct Found {
    /// Its metadata, from the topmost lower that has it; `None` if there is no such name.
    pub(super) stat: Option<Stat>,
    /// Which of the directories that were searched holds it.
    holder: usize,
    /// The lowers whose directories of that name merge; empty unless it is a directory.
    pub(super) directories: Vec<usize>,
}

impl Found {
    pub(super) fn directory(&self) -> Option<&Stat> {
        self.stat.as_ref().filter(|stat| stat.is_dir())
    }
}

impl Lowers {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, SnapshotError> {
        let trees: Result<_, _> = paths.iter().map(|path| Tree::open(path)).collect();
        Ok(Self { trees: trees? })
    }

    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.trees.len()).collect()
    }

    /// Opens the directories that merge at `path`, down to the first opaque one.
    pub(super) fn open_dirs(
        &self,
        path: &[u8],
        candidates: &[usize],
    ) -> Result<Vec<LowerDir>, SnapshotError> {
        let mut dirs = Vec::with_capacity(candidates.len());
        for lower in candidates.iter().copied() {
            let tree = &self.trees[lower];
            let fd = match tree.open_dir(path) {
                Ok(fd) => fd,
                Err(errno) if is_gone(errno) => continue,
                Err(errno) => return Err(tree.error("open the directory", path, errno)),
            };
            let (xattrs, marks) = xattr::kept_and_marks(&fd)
                .map_err(|errno| tree.error("read the extended attributes of", path, errno))?;
            refuse_redirect(tree, path, &marks)?;
            dirs.push(LowerDir { lower, fd, xattrs });
            if marks.opaque {
                break;
            }
        }
        Ok(dirs)
    }

    /// Looks `name` up in the directories that merge at `path`.
    pub(super) fn find(
        &self,
        path: &[u8],
        dirs: &[LowerDir],
        name: &CStr,
    ) -> Result<Found, SnapshotError> {
        let mut found = Found::default();
        for (holder, dir) in dirs.iter().enumerate() {
            let fail =
                |errno| self.trees[dir.lower].error("stat", &join(path, name.to_bytes()), errno);
            let stat = match Stat::of(&dir.fd, name) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(fail(errno)),
            };
            if is_whiteout(dir, name, &stat).map_err(fail)? {
                break;
            }
            if found.stat.is_none() {
                found.holder = holder;
                // No layer has held the socket, but its whiteout hid what lies below.
                found.stat = (stat.file_type() != FileType::Socket).then_some(stat);
            }
            if !stat.is_dir() {
                break;
            }
            found.directories.push(dir.lower);
        }
        Ok(found)
    }

    /// The names that exist in the merged directory, in byte order.
    pub(super) fn names(
        &self,
        path: &[u8],
        dirs: &[LowerDir],
    ) -> Result<BTreeSet<CString>, SnapshotError> {
        let mut names = BTreeSet::new();
        for dir in dirs {
            let listed = Names::read(&dir.fd)
                .map_err(|errno| self.trees[dir.lower].error("list", path, errno))?;
            names.extend(listed.iter().map(CStr::to_owned));
        }
        Ok(names)
    }

    /// Whether what was found is equal to a file, link or device of the upper directory in all a layer records.
    pub(super) fn holds_equal(
        &self,
        path: &[u8],
        dirs: &[LowerDir],
        name: &CStr,
        found: &Found,
        upper: &Stat,
        read: &Read,
    ) -> Result<bool, SnapshotError> {
        let (Some(stat), Some(dir)) = (&found.stat, dirs.get(found.holder)) else {
            return Ok(false);
        };
        if !upper.same_record(stat) {
            return Ok(false);
        }
        let equal = match stat.file_type() {
            FileType::Symlink => read_link(&dir.fd, name).map(|target| target == read.target),
            FileType::RegularFile => same_file(dir, name, read),
            _ => Ok(true),
        };
        equal.map_err(|errno| {
            self.trees[dir.lower].error("read", &join(path, name.to_bytes()), errno)
        })
    }
}

fn same_file(dir: &LowerDir, name: &CStr, read: &Read) -> Result<bool, Errno> {
    let Some(upper) = &read.file else {
        return Ok(false);
    };
    let lower = open_file(&dir.fd, name)?;
    Ok(xattr::kept(&lower)? == read.xattrs && same_content(upper, &lower)?)
}

fn is_whiteout(dir: &LowerDir, name: &CStr, stat: &Stat) -> Result<bool, Errno> {
    if stat.is_overlay_whiteout() {
        return Ok(true);
    }
    if !stat.is_file() || stat.size > 0 {
        return Ok(false);
    }
    let (_, marks) = xattr::kept_and_marks(open_file(&dir.fd, name)?)?;
    Ok(marks.whiteout)
}

/// Compares from the start of both files to their ends.
fn same_content(mut a: &File, mut b: &File) -> Result<bool, Errno> {
    let mut left = vec![0; 64 * 1024];
    let mut right = vec![0; 64 * 1024];
    loop {
        let length = fill(&mut a, &mut left)?;
        if length != fill(&mut b, &mut right)? || left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut &File, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(length)
}
