//! What is in a directory, by the standard library and system calls alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use walkdir::WalkDir;

/// Extended attributes that images have and that every file may have.
pub(crate) type Notes = BTreeMap<Vec<u8>, Vec<u8>>;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: i64,
    pub(crate) notes: Notes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Content, and all names of the same file, in order.
    File(Vec<u8>, Vec<Vec<u8>>),
    Directory,
    Symlink(Vec<u8>),
    /// Major and minor number.
    Char(u32, u32),
    Fifo,
    Other,
}

/// Everything below `dir`, by path.
pub(crate) fn seen(dir: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut found = Found::default();
    found.look(dir);
    for names in found.names.values_mut() {
        names.sort();
    }
    for (path, inode) in &found.inodes {
        if let Some(Kind::File(_, names)) = found.seen.get_mut(path).map(|seen| &mut seen.kind) {
            names.clone_from(&found.names[inode]);
        }
    }
    found.seen
}

#[derive(Default)]
struct Found {
    seen: BTreeMap<Vec<u8>, Seen>,
    inodes: Vec<(Vec<u8>, u64)>,
    names: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl Found {
    fn look(&mut self, top: &Path) {
        for child in WalkDir::new(top).min_depth(1) {
            let path = child.unwrap().into_path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes();
            let file_type = meta.file_type();
            let kind = if file_type.is_dir() {
                Kind::Directory
            } else if file_type.is_symlink() {
                Kind::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().into())
            } else if file_type.is_file() {
                self.inodes.push((name.into(), meta.ino()));
                self.names.entry(meta.ino()).or_default().push(name.into());
                Kind::File(fs::read(&path).unwrap(), Vec::new())
            } else if file_type.is_char_device() {
                let device = meta.rdev();
                Kind::Char(rustix::fs::major(device), rustix::fs::minor(device))
            } else if file_type.is_fifo() {
                Kind::Fifo
            } else {
                Kind::Other
            };
            let seen = Seen {
                kind,
                mode: meta.mode() & 0o7777,
                owner: (meta.uid(), meta.gid()),
                mtime: meta.mtime(),
                notes: notes(&path),
            };
            self.seen.insert(name.into(), seen);
        }
    }
}

/// The `user.` attributes of a file and its capabilities; a symlink is not followed.
pub(crate) fn notes(path: &Path) -> Notes {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names.truncate(length);
    let of_images = |name: &&[u8]| name.starts_with(b"user.") || *name == b"security.capability";
    names
        .split(|byte| *byte == 0)
        .filter(of_images)
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// All that could change about files that nothing may touch: beyond [`seen`] the number of names, and the change
/// time, which tells a `chmod` to the mode that a file has already.
pub(crate) fn untouchable(dir: &Path) -> BTreeMap<Vec<u8>, (Seen, [i64; 4])> {
    let more = |path: &[u8]| {
        let path = dir.join(std::ffi::OsStr::from_bytes(path));
        let meta = fs::symlink_metadata(path).unwrap();
        let names = meta.nlink().try_into().unwrap();
        [names, meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
    };
    let seen = seen(dir).into_iter();
    seen.map(|(path, seen)| {
        let more = more(&path);
        (path, (seen, more))
    })
    .collect()
}
