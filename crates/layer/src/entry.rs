//! One entry of a layer, apart from any file's content.

use std::fmt;

use crate::limits::DIRECTORY;
use crate::{ImagePath, Xattrs};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes of content; holes of a sparse file count (conformance: E26).
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The text exactly as stored: it may be absolute, dangling or climb out of the root (conformance: G33).
        target: Vec<u8>,
    },
    /// A further name for a file that an earlier entry, or a lower layer, holds.
    Hardlink {
        /// The other name, relative to the root.
        target: ImagePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// The path of this entry, with all below it, is deleted from the layers below.
    Whiteout,
    /// The directory at the path of this entry loses what lower layers put there.
    OpaqueMarker,
}

impl EntryKind {
    /// A word for people: `file`, `directory`, ...
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory => "directory",
            Self::Symlink { .. } => "symlink",
            Self::Hardlink { .. } => "hard link",
            Self::CharDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
            Self::Fifo => "fifo",
            Self::Whiteout => "whiteout",
            Self::OpaqueMarker => "opaque marker",
        }
    }

    /// Is it a whiteout or an opaque marker, that is, no file of its own?
    pub fn is_marker(&self) -> bool {
        matches!(self, Self::Whiteout | Self::OpaqueMarker)
    }
}

/// The header of one layer entry.
///
/// For [`EntryKind::Whiteout`] `path` is the deleted path, for [`EntryKind::OpaqueMarker`] the directory; the
/// `.wh.` names exist only inside the tar (conformance: G8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, relative to the root.
    pub path: ImagePath,
    /// What.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky (`07777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds since 1970 (conformance: G4).
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Entry {
    /// An entry owned by root, from 1970, without extended attributes, with mode 0755 for a directory, 0777 for a
    /// symlink, 0 for a marker and 0644 for the rest.
    pub fn new(path: impl Into<ImagePath>, kind: EntryKind) -> Self {
        let mode = match kind {
            EntryKind::Directory => 0o755,
            EntryKind::Symlink { .. } => 0o777,
            EntryKind::Whiteout | EntryKind::OpaqueMarker => 0,
            _ => 0o644,
        };
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Xattrs::new(),
        }
    }

    /// A directory with mode 0755; see [`Entry::new`].
    pub fn directory(path: impl Into<ImagePath>) -> Self {
        Self::new(path, EntryKind::Directory)
    }

    /// A file with mode 0644; see [`Entry::new`].
    pub fn file(path: impl Into<ImagePath>, size: u64) -> Self {
        Self::new(path, EntryKind::File { size })
    }

    /// A symlink; see [`Entry::new`].
    pub fn symlink(path: impl Into<ImagePath>, target: impl Into<Vec<u8>>) -> Self {
        let target = target.into();
        Self::new(path, EntryKind::Symlink { target })
    }

    /// Bytes of its name and of the text it has if it is a link, or what else it makes a reader hold.
    pub(crate) fn text(&self) -> u64 {
        let more = match &self.kind {
            EntryKind::Symlink { target } => target.len(),
            EntryKind::Hardlink { target } => target.as_bytes().len(),
            EntryKind::Directory => DIRECTORY as usize,
            EntryKind::File { .. }
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. }
            | EntryKind::Fifo
            | EntryKind::Whiteout
            | EntryKind::OpaqueMarker => 0,
        };
        (self.path.as_bytes().len() + more) as u64
    }

    /// The deletion of `path` from the layers below.
    pub fn whiteout(path: impl Into<ImagePath>) -> Self {
        Self::new(path, EntryKind::Whiteout)
    }
}

/// One line for people and snapshots: kind, mode, owner, time, path, then what is particular to the kind.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            EntryKind::File { .. } => '-',
            EntryKind::Directory => 'd',
            EntryKind::Symlink { .. } => 'l',
            EntryKind::Hardlink { .. } => 'h',
            EntryKind::CharDevice { .. } => 'c',
            EntryKind::BlockDevice { .. } => 'b',
            EntryKind::Fifo => 'p',
            EntryKind::Whiteout => 'x',
            EntryKind::OpaqueMarker => 'o',
        };
        write!(
            f,
            "{letter} {:04o} {}:{} {} /{}",
            self.mode,
            self.uid,
            self.gid,
            self.mtime,
            self.path.as_bytes().escape_ascii()
        )?;
        match &self.kind {
            EntryKind::File { size } => write!(f, " {size}")?,
            EntryKind::Symlink { target } => write!(f, " -> {}", target.escape_ascii())?,
            EntryKind::Hardlink { target } => {
                write!(f, " = /{}", target.as_bytes().escape_ascii())?;
            }
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                write!(f, " {major},{minor}")?;
            }
            _ => {}
        }
        for (name, value) in &self.xattrs {
            write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, EntryKind};

    #[test]
    fn an_entry_is_one_line() {
        let mut file = Entry::file("usr/bin/p\ning", 12);
        file.mode = 0o4755;
        file.uid = 7;
        file.xattrs.insert(b"user.a".to_vec(), b"\x01b".to_vec());
        let rows = [
            (file, r"- 4755 7:0 0 /usr/bin/p\ning 12 user.a=\x01b"),
            (Entry::directory(""), "d 0755 0:0 0 /"),
            (Entry::symlink("l", "../x"), "l 0777 0:0 0 /l -> ../x"),
            (
                Entry::new(
                    "h",
                    EntryKind::Hardlink {
                        target: "a/b".into(),
                    },
                ),
                "h 0644 0:0 0 /h = /a/b",
            ),
            (
                Entry::new("n", EntryKind::CharDevice { major: 1, minor: 3 }),
                "c 0644 0:0 0 /n 1,3",
            ),
            (Entry::whiteout("gone"), "x 0000 0:0 0 /gone"),
        ];
        for (entry, line) in rows {
            assert_eq!(entry.to_string(), line);
        }
    }
}
