//! A directory whose content is reached through its descriptor, never through joined path strings.
//!
//! Every path walked here was found by listing, so it names real directories only. Opening refuses links on the way:
//! whatever a process left running in the root swaps in cannot lead the walk elsewhere.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

use crate::error::SnapshotError;

#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Tree {
    pub(crate) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| SnapshotError::io("open the directory", path, errno))?;
        Ok(Self {
            root,
            path: path.to_path_buf(),
        })
    }

    /// The path on the host, for messages only.
    pub(crate) fn host_path(&self, path: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(path))
    }

    /// An error about `path`, with its place on the host.
    pub(crate) fn error(
        &self,
        operation: &'static str,
        path: &[u8],
        errno: Errno,
    ) -> SnapshotError {
        SnapshotError::io(operation, self.host_path(path), errno)
    }

    /// Opens a directory; a link anywhere on the way is an error.
    pub(crate) fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let whole = if path.is_empty() { &b"."[..] } else { path };
        let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.root, whole, DIRECTORY, Mode::empty(), how) {
            // No openat2 in this kernel, forbidden by seccomp, or a path longer than one call takes.
            Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => self.open_dir_stepwise(path),
            opened => opened,
        }
    }

    fn open_dir_stepwise(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut at = openat(&self.root, c".", DIRECTORY, Mode::empty())?;
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            at = openat(&at, name, DIRECTORY, Mode::empty())?;
        }
        Ok(at)
    }
}

/// Opens a file for reading. A link fails with `ELOOP`, and a fifo put in its place does not block.
pub(crate) fn open_file(dir: impl AsFd, name: impl rustix::path::Arg) -> Result<File, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map(File::from)
}

/// The text of a symbolic link.
pub(crate) fn read_link(dir: impl AsFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    readlinkat(dir, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

/// Whether the error means that the file went away, or became something else, while the tree was walked
/// (conformance: G22).
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::NXIO
    )
}

/// The names in one directory, in byte order, without `.` and `..`.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

impl Names {
    pub(crate) fn read(dir: impl AsFd) -> Result<Self, Errno> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
        let mut names = Self::default();
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name != b".\0" && name != b"..\0" {
                let start = names.bytes.len() as u32;
                names.bytes.extend_from_slice(name);
                names.spans.push((start, names.bytes.len() as u32));
            }
        }
        let Self { bytes, spans } = &mut names;
        // The closing zero sorts before every byte a name can hold, so it does not disturb the order.
        spans.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
        Ok(names)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.spans
            .iter()
            .filter_map(|span| CStr::from_bytes_with_nul(slice(&self.bytes, *span)).ok())
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.spans
            .binary_search_by(|span| {
                let (start, end) = *span;
                slice(&self.bytes, (start, end - 1)).cmp(name)
            })
            .is_ok()
    }
}

fn slice(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &bytes[start as usize..end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_open_whole_and_stepwise_and_never_through_links() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("b", scratch.path().join("a/link")).unwrap();
        let tree = Tree::open(scratch.path()).unwrap();
        let rows: &[(&[u8], bool)] = &[
            (b"", true),
            (b"a", true),
            (b"a/b/c", true),
            (b"a/link", false),
            (b"a/link/c", false),
            (b"a/none", false),
        ];
        assert!(!rows.is_empty());
        for (path, opens) in rows {
            assert_eq!(tree.open_dir(path).is_ok(), *opens, "{path:?}");
            assert_eq!(tree.open_dir_stepwise(path).is_ok(), *opens, "{path:?}");
        }
    }

    #[test]
    fn names_are_sorted_by_bytes() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["b", "a", "a.b", "a-", "B", "é"] {
            std::fs::write(scratch.path().join(name), "").unwrap();
        }
        let tree = Tree::open(scratch.path()).unwrap();
        let names = Names::read(tree.open_dir(b"").unwrap()).unwrap();
        let found: Vec<_> = names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, ["B", "a", "a-", "a.b", "b", "é"]);
        assert!(names.contains(b"a.b") && !names.contains(b"a.") && !names.contains(b""));
    }
}
