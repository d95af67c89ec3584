//! How much an archive may ask for.
//!
//! A few KiB of a packed archive can stand for gigabytes of names, attributes and headers, so what counts is what all
//! of them together make a reader hold. Content is not limited: it goes through a buffer. The values are far beyond
//! any image that was ever seen; what they are for is that the worst archive fits into memory.

use crate::LayerError;

/// Bytes of all extended headers and long names before one entry, together.
pub const MAX_EXTENSIONS: u64 = 1 << 20;
/// Bytes of what global headers set for all entries after them.
pub const MAX_GLOBALS: u64 = 64 << 10;
/// Bytes of the value of one extended attribute: the kernel's own limit.
pub const MAX_XATTR: u64 = 64 << 10;
/// Entries of one archive; the same for the files of a tree made of several layers.
pub const MAX_ENTRIES: u64 = 1_000_000;
/// Bytes of the names, link texts and extended attributes of all entries of one archive; the same for a tree made of
/// several layers.
pub const MAX_TEXT: u64 = 64 << 20;
/// What a directory counts besides its name: what is in it has to be held, and it itself until all is there.
pub(crate) const DIRECTORY: u64 = 200;
/// Bytes of one file. No registry takes a layer with more in it.
pub const MAX_FILE: u64 = 1 << 40;
/// Bytes that are not there: the holes of all sparse files of one archive. They cost nothing on a disk, but whatever
/// copies such a file into a layer has to write them out.
pub const MAX_HOLES: u64 = 64 << 30;
/// Bytes of memory that a decoder may take: the window of zstd, the dictionary of xz.
pub const MAX_DECODER_MEMORY: u64 = 1 << ZSTD_WINDOW_LOG;
/// The same as zstd counts it; what `zstd --ultra -22` needs.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// What one archive may ask for in total; smaller in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// See [`MAX_ENTRIES`].
    pub entries: u64,
    /// See [`MAX_TEXT`].
    pub text: u64,
    /// See [`MAX_HOLES`].
    pub holes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            entries: MAX_ENTRIES,
            text: MAX_TEXT,
            holes: MAX_HOLES,
        }
    }
}

/// A limit by its name in this file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) value: u64,
    pub(crate) name: &'static str,
    /// What is counted, in the plural.
    pub(crate) what: &'static str,
}

impl Limit {
    pub(crate) const EXTENSIONS: Self = Self {
        value: MAX_EXTENSIONS,
        name: "MAX_EXTENSIONS",
        what: "bytes of extended headers for one entry",
    };
    pub(crate) const GLOBALS: Self = Self {
        value: MAX_GLOBALS,
        name: "MAX_GLOBALS",
        what: "bytes of attributes for all entries",
    };
    pub(crate) const FILE: Self = Self {
        value: MAX_FILE,
        name: "MAX_FILE",
        what: "bytes in one file",
    };

    pub(crate) fn entries(value: u64) -> Self {
        Self {
            value,
            name: "MAX_ENTRIES",
            what: "entries",
        }
    }

    pub(crate) fn text(value: u64) -> Self {
        Self {
            value,
            name: "MAX_TEXT",
            what: "bytes of names, links and extended attributes",
        }
    }

    pub(crate) fn holes(value: u64) -> Self {
        Self {
            value,
            name: "MAX_HOLES",
            what: "bytes of holes in sparse files",
        }
    }

    /// An error if `found` is beyond the limit.
    pub(crate) fn check(self, found: u64) -> Result<(), LayerError> {
        if found <= self.value {
            return Ok(());
        }
        Err(LayerError::Limit {
            found,
            what: self.what,
            limit: self.value,
            name: self.name,
        })
    }
}

/// What an archive or a tree has asked for so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) entries: u64,
    pub(crate) text: u64,
    pub(crate) holes: u64,
}

impl Spent {
    pub(crate) fn check(self, limits: ArchiveLimits) -> Result<(), LayerError> {
        Limit::entries(limits.entries).check(self.entries)?;
        Limit::text(limits.text).check(self.text)?;
        Limit::holes(limits.holes).check(self.holes)
    }
}

/// A name from outside for a message: long ones are cut.
pub(crate) fn shown(name: &[u8]) -> String {
    const LONGEST_SHOWN: usize = 200;
    let cut = &name[..name.len().min(LONGEST_SHOWN)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < name.len() {
        text.push_str("...");
    }
    text
}
