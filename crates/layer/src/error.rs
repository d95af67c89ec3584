//! What can go wrong with a layer.

use std::io;
use std::path::PathBuf;

use kiln_oci::LayerCompression;
use thiserror::Error;

use crate::ImagePath;

/// Why a layer could not be written, read, unpacked or merged.
///
/// Byte offsets called *packed* count the stream as it arrives, the others the uncompressed tar.
#[derive(Debug, Error)]
pub enum LayerError {
    /// An operation on the file system failed.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried: `create directory`, `set owner of`, ...
        operation: &'static str,
        /// Where, as the host names it.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The source of a layer failed while it was read.
    #[error("cannot read the layer after {offset} packed bytes")]
    Read {
        /// Packed bytes read before.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The compressed stream is damaged or cut off.
    #[error("damaged {} stream near packed byte {offset}", name(*.compression))]
    Decompress {
        /// How the layer is packed.
        compression: LayerCompression,
        /// Packed bytes read before the damage was noticed.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The tar ends inside a header or a file.
    #[error("layer ends at byte {offset}, inside {inside}")]
    Truncated {
        /// Where the stream ended.
        offset: u64,
        /// What was being read, with the entry's name.
        inside: String,
    },
    /// A tar header that cannot be understood.
    #[error("bad tar header at byte {offset}: {reason}")]
    Header {
        /// Where the header starts.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than any honest archive needs, all its entries taken together.
    #[error("the archive asks for too much: {found} {what}, and {limit} is the limit ({name})")]
    Limit {
        /// How much it asks for, at least.
        found: u64,
        /// What is counted.
        what: &'static str,
        /// How much is granted.
        limit: u64,
        /// The name of the limit in this crate.
        name: &'static str,
    },
    /// An entry that would reach outside the root, or that no layer may hold.
    #[error("refusing layer entry `{entry}`: {reason}")]
    UnsafeEntry {
        /// The name as the layer has it.
        entry: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A hard link to something that is not there (conformance: G31).
    #[error("layer entry `{entry}` is a hard link to `{target}`, which does not exist")]
    MissingLinkTarget {
        /// The link.
        entry: ImagePath,
        /// What it should share.
        target: ImagePath,
    },
    /// A path leads through something that is not a directory.
    #[error("`/{path}` is not a directory, wanted on the way to `/{wanted}`")]
    NotADirectory {
        /// The file in the way.
        path: ImagePath,
        /// The path that was looked up.
        wanted: ImagePath,
    },
    /// More symlinks on the way than the kernel follows.
    #[error("too many symbolic links on the way to `/{path}`")]
    SymlinkLoop {
        /// The path that was looked up.
        path: ImagePath,
    },
    /// A file turned out longer or shorter than its entry says (conformance: G22).
    #[error("`{path}` changed while it was read: expected {expected} bytes, found {}{actual}", more(*.actual, *.expected))]
    ContentSize {
        /// The entry.
        path: ImagePath,
        /// Its declared size in bytes.
        expected: u64,
        /// Bytes found; when there are more than expected, reading stopped there.
        actual: u64,
    },
    /// The content of a file could not be read while packing it.
    #[error("cannot read the content of `{path}`")]
    Content {
        /// The entry.
        path: ImagePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An entry that a tar cannot express.
    #[error("cannot pack `{path}`: {reason}")]
    Unpackable {
        /// The entry.
        path: ImagePath,
        /// Why not.
        reason: &'static str,
    },
    /// The packed layer could not be written to where it goes.
    #[error("cannot write the layer after {offset} packed bytes")]
    Write {
        /// Packed bytes written before.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The copy of the uncompressed tar could not be written.
    #[error("cannot write the copy of the uncompressed layer after {offset} bytes")]
    Tee {
        /// Bytes written before.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The compressor refused its input.
    #[error("cannot compress the layer with {}", name(*.compression))]
    Compress {
        /// Which one.
        compression: LayerCompression,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The writer was used after it had failed; the first error tells why.
    #[error("the layer writer failed before and cannot go on")]
    WriterFailed,
}

impl LayerError {
    /// Whether there simply is no such file.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }

    pub(crate) fn link_to_directory(entry: &ImagePath) -> Self {
        Self::UnsafeEntry {
            entry: entry.to_string(),
            reason: "a hard link to a directory",
        }
    }

    /// Is the layer itself bad, so that trying again with the same bytes cannot help?
    pub fn is_bad_layer(&self) -> bool {
        matches!(
            self,
            Self::Decompress { .. }
                | Self::Truncated { .. }
                | Self::Header { .. }
                | Self::Limit { .. }
                | Self::UnsafeEntry { .. }
                | Self::MissingLinkTarget { .. }
                | Self::NotADirectory { .. }
                | Self::SymlinkLoop { .. }
        )
    }
}

fn name(compression: LayerCompression) -> &'static str {
    match compression {
        LayerCompression::None => "tar",
        LayerCompression::Gzip => "gzip",
        LayerCompression::Zstd => "zstd",
    }
}

fn more(actual: u64, expected: u64) -> &'static str {
    if actual > expected { "at least " } else { "" }
}
