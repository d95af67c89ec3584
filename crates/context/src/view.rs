//! The read-only file view that COPY and ADD read from, whatever stands behind it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::Read;

use kiln_layer::{Entry, EntryKind, ImagePath};

use crate::error::ViewError;

/// How many symlinks one path may pass, as the kernel's own limit.
const LINK_LIMIT: usize = 40;

/// Names the data behind a file that has several names: (device, inode), or any pair that is equal
/// for two names exactly when they are hard links of each other (conformance E25, G6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64, pub u64);

/// Tells whether a file is still the one that was looked at: no program can set the change time back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Device the file is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Change time: seconds and nanoseconds.
    pub ctime: (i64, u32),
}

/// One file as a view shows it.
#[derive(Debug, Clone)]
pub struct ViewEntry {
    /// Path, kind and attributes; never a whiteout and never a `Hardlink`.
    pub entry: Entry,
    /// Set when the file has more than one name.
    pub link: Option<LinkId>,
}

impl ViewEntry {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.entry.kind, EntryKind::Directory)
    }
}

/// Files below one root, read-only. Paths never leave the root: each is resolved as if chrooted.
pub trait FileView: Send + Sync + Debug {
    /// The file at `path`, its last symlink not followed and none on the way: `path` is resolved
    /// already. `None` when there is no such file.
    fn lstat(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError>;

    /// What is in the directory at `path`, in byte order of the names.
    fn read_dir(&self, path: &ImagePath) -> Result<Vec<ViewEntry>, ViewError>;

    /// The content of the regular file at `path`.
    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send + '_>, ViewError>;

    /// Whether [`FileView::prefetch`] does anything, so that the list of paths is worth making.
    fn wants_prefetch(&self) -> bool {
        false
    }

    /// Tells the view which regular files will be opened, so that one that has to unpack them can do
    /// so in one pass.
    fn prefetch(&self, _paths: &[ImagePath]) -> Result<(), ViewError> {
        Ok(())
    }

    /// The stamp of the regular file at `path`, if the view has such a thing.
    fn stamp(&self, _path: &ImagePath) -> Option<Stamp> {
        None
    }

    /// Whether the bytes and attributes can change while the build goes on.
    fn is_stable(&self) -> bool {
        true
    }
}

/// Resolves `path` inside the view: symlinks on the way are followed within the root, the last one
/// only if `follow_last` (conformance E3, E5). `None` when it leads nowhere.
pub fn resolve(
    view: &dyn FileView,
    path: &[u8],
    follow_last: bool,
) -> Result<Option<ViewEntry>, ViewError> {
    let mut pending: VecDeque<Vec<u8>> = parts(path).collect();
    let mut at = ImagePath::root();
    let mut links = 0;
    let mut found = view.lstat(&at)?;
    while let Some(part) = pending.pop_front() {
        if part == b".." {
            at = at.parent().unwrap_or_else(ImagePath::root);
            found = view.lstat(&at)?;
            continue;
        }
        if !found.as_ref().is_some_and(ViewEntry::is_dir) {
            return Ok(None);
        }
        let next = at.join(&part);
        let Some(entry) = view.lstat(&next)? else {
            return Ok(None);
        };
        if let EntryKind::Symlink { target } = &entry.entry.kind
            && (follow_last || !pending.is_empty())
        {
            links += 1;
            if links > LINK_LIMIT {
                return Err(ViewError::LinkLoop {
                    path: String::from_utf8_lossy(path).into_owned(),
                });
            }
            if target.starts_with(b"/") {
                at = ImagePath::root();
            }
            for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                pending.push_front(part);
            }
            found = view.lstat(&at)?;
            continue;
        }
        at = next;
        found = Some(entry);
    }
    Ok(found)
}

/// The components of a path that say something: no empty ones and no `.`.
fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
}

/// Cleans a source path as written: relative to the root, `..` stops there (conformance E1).
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for part in parts(path) {
        if part == b".." {
            kept.pop();
        } else {
            kept.push(part);
        }
    }
    kept.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: E1
    #[test]
    fn a_source_path_stays_in_the_context() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"../../x", b"x"),
            (b"/a/./b/", b"a/b"),
            (b"a/../../b", b"b"),
            (b".", b""),
            (b"/", b""),
            (b"a//b", b"a/b"),
        ];
        for (given, expected) in cases {
            assert_eq!(clean(given), expected);
        }
    }
}
