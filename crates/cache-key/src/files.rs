//! The files that a step reads, as far as they can be seen in its result.

mod stored;

use std::collections::BTreeMap;

use kiln_oci::Digest;

use crate::frame::Frames;

const DOMAIN: &str = "kiln.cache.files.v1";

/// Extended attributes by full name (`security.capability`), in byte order.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What tells one file from another (conformance: H6).
///
/// Times, inode numbers and the place of the context are no part of it, so a fresh clone has the same files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileId {
    /// Where it is put, relative to the destination.
    pub path: Vec<u8>,
    /// What it is, with what is particular to that.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky (`07777`).
    pub mode: u32,
    /// Owner, as it will be written.
    pub uid: u32,
    /// Group, as it will be written.
    pub gid: u32,
    /// Extended attributes that will be written.
    pub xattrs: Xattrs,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// The digest of the content.
        content: Digest,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The text exactly as stored.
        target: Vec<u8>,
    },
    /// A further name for a file of the same set.
    Hardlink {
        /// The other name, relative to the destination.
        target: Vec<u8>,
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
}

impl FileId {
    /// A file owned by root without extended attributes, with mode 0755 for a directory, 0777 for a symlink and 0644
    /// for the rest.
    pub fn new(path: impl Into<Vec<u8>>, kind: FileKind) -> Self {
        let mode = match kind {
            FileKind::Directory => 0o755,
            FileKind::Symlink { .. } => 0o777,
            _ => 0o644,
        };
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            xattrs: Xattrs::new(),
        }
    }

    /// A regular file with mode 0644; see [`FileId::new`].
    pub fn file(path: impl Into<Vec<u8>>, size: u64, content: Digest) -> Self {
        Self::new(path, FileKind::File { size, content })
    }

    /// A directory with mode 0755; see [`FileId::new`].
    pub fn directory(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path, FileKind::Directory)
    }

    /// A symlink; see [`FileId::new`].
    pub fn symlink(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        let target = target.into();
        Self::new(path, FileKind::Symlink { target })
    }

    fn add_to(&self, frames: &mut Frames) {
        frames.bytes(&self.path);
        frames.number(self.mode.into());
        frames.number(self.uid.into());
        frames.number(self.gid.into());
        frames.tag(self.kind.letter());
        match &self.kind {
            FileKind::File { size, content } => {
                frames.number(*size);
                frames.fixed(content.as_bytes());
            }
            FileKind::Symlink { target } | FileKind::Hardlink { target } => frames.bytes(target),
            FileKind::CharDevice { major, minor } | FileKind::BlockDevice { major, minor } => {
                frames.number((*major).into());
                frames.number((*minor).into());
            }
            FileKind::Directory | FileKind::Fifo => {}
        }
        frames.count(self.xattrs.len());
        for (name, value) in &self.xattrs {
            frames.bytes(name);
            frames.bytes(value);
        }
    }
}

impl FileKind {
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
        }
    }

    /// The letter that stands for it in keys and in the stored form.
    fn letter(&self) -> u8 {
        match self {
            Self::File { .. } => b'-',
            Self::Directory => b'd',
            Self::Symlink { .. } => b'l',
            Self::Hardlink { .. } => b'h',
            Self::CharDevice { .. } => b'c',
            Self::BlockDevice { .. } => b'b',
            Self::Fifo => b'p',
        }
    }
}

/// Files in the byte order of their paths, or only their number and their digest.
///
/// Two sets are equal if their digests are, whether or not both still list their files.
#[derive(Debug, Clone)]
pub struct FileSet {
    digest: Digest,
    count: u64,
    files: Option<Vec<FileId>>,
}

impl FileSet {
    /// The set of these files, in whatever order they were found (conformance: H17).
    ///
    /// A path that two sources fill is in it twice, in the order given, because the first may shape what the second
    /// becomes. Of the names of one file, the first in byte order counts as the file and the others as its hard links.
    pub fn new(mut files: Vec<FileId>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        settle_links(&mut files);
        let mut frames = Frames::new(DOMAIN);
        frames.count(files.len());
        for file in &files {
            file.add_to(&mut frames);
        }
        Self {
            digest: Digest::from_bytes(frames.finish()),
            count: files.len() as u64,
            files: Some(files),
        }
    }

    /// The digest of all files, content included.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many files there are, directories and links included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The files, unless the set was stored without them.
    pub fn files(&self) -> Option<&[FileId]> {
        self.files.as_deref()
    }

    /// The same set, without its list if that has more than `max_files` files.
    #[must_use]
    pub fn capped(&self, max_files: usize) -> Self {
        let listed = self.count <= max_files as u64;
        Self {
            digest: self.digest,
            count: self.count,
            files: self.files.as_ref().filter(|_| listed).cloned(),
        }
    }
}

impl PartialEq for FileSet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for FileSet {}

impl FromIterator<FileId> for FileSet {
    fn from_iter<I: IntoIterator<Item = FileId>>(files: I) -> Self {
        Self::new(files.into_iter().collect())
    }
}

/// Which name of a file is met first depends on the order of a directory; here it is always the first in byte order.
fn settle_links(files: &mut [FileId]) {
    let is_link = |file: &FileId| matches!(file.kind, FileKind::Hardlink { .. });
    // With two files of one path, a link does not say which of them it means.
    let twice = |files: &[FileId]| files.windows(2).any(|two| two[0].path == two[1].path);
    if !files.iter().any(is_link) || twice(files) {
        return;
    }
    // The file that links name, and the first of its links.
    let mut first_links = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let FileKind::Hardlink { target } = &file.kind else {
            continue;
        };
        let found = files.binary_search_by(|other| other.path.cmp(target));
        if let Ok(at) = found
            && !is_link(&files[at])
            && files[at].kind != FileKind::Directory
        {
            first_links.entry(at).or_insert(index);
        }
    }
    first_links.retain(|at, link| *link < *at);
    let mut renamed = BTreeMap::new();
    for (at, link) in first_links {
        let target = files[link].path.clone();
        renamed.insert(files[at].path.clone(), target.clone());
        files[link].kind = std::mem::replace(&mut files[at].kind, FileKind::Hardlink { target });
    }
    for file in files {
        if let FileKind::Hardlink { target } = &mut file.kind
            && let Some(first) = renamed.get(target)
        {
            target.clone_from(first);
        }
    }
}
