//! Why an image is not served from the volume.

use std::io;
use std::path::{Path, PathBuf};

use kiln_oci::{ArchiveError, Digest, DocumentError, LayoutError, Mismatch, Platform};
use thiserror::Error;

/// Why a lookup found nothing it can use; never a reason to stop a build (H33, H39).
#[derive(Debug, Error)]
pub enum Miss {
    /// No entry has this digest.
    #[error("`{digest}` is not in the image cache")]
    Absent {
        /// The manifest or index digest.
        digest: Digest,
    },
    /// No step has this key.
    #[error("step `{key}` is not in the cache")]
    NoStep {
        /// The key asked for.
        key: String,
    },
    /// The index is known, but not for this platform (H37).
    #[error("index `{index}` is in the image cache, but not for platform `{wanted}`")]
    OtherPlatform {
        /// The index digest.
        index: Digest,
        /// The platform asked for.
        wanted: Box<Platform>,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file of the entry is not in Kiln's format.
    #[error("`{}` is not a cache entry", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the entry speaks of another version or image than its name does.
    #[error("`{}` does not belong where it is", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
    },
    /// A blob of the image is gone.
    #[error("blob `{}` of a cached image is missing", path.display())]
    BlobMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A blob of the image is cut short, or something else altogether.
    #[error("blob `{}` of a cached image has {actual} bytes, expected {expected}", path.display())]
    BlobSize {
        /// The blob.
        path: PathBuf,
        /// Bytes in the manifest.
        expected: u64,
        /// Bytes on disk.
        actual: u64,
    },
    /// A manifest or config does not have the digest it is stored under.
    #[error("`{}` is damaged", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Expected and actual.
        #[source]
        source: Mismatch,
    },
    /// A manifest or config has the right digest and cannot be used all the same.
    #[error("`{}` cannot be used", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// An archive of kaniko's warmer without the manifest beside it.
    #[error("`{}` has no manifest beside it", path.display())]
    NoManifest {
        /// The archive.
        path: PathBuf,
    },
    /// An archive of kaniko's warmer that does not hold the image of its manifest.
    #[error("`{}` does not hold the image `{manifest}`", path.display())]
    OtherImage {
        /// The archive or layout.
        path: PathBuf,
        /// The image expected.
        manifest: Digest,
    },
    /// An archive of kaniko's warmer that cannot be read.
    #[error("cached archive cannot be used")]
    Archive(#[source] ArchiveError),
    /// An OCI layout of kaniko's warmer that cannot be read.
    #[error("cached layout cannot be used")]
    Layout(#[source] LayoutError),
}

impl Miss {
    /// Whether there just is no such image or step, as opposed to one that is there and cannot be used.
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Absent { .. } | Self::NoStep { .. } | Self::OtherPlatform { .. }
        )
    }

    /// The file to move out of the way, when it is one of Kiln's own.
    pub(crate) fn broken_file(&self) -> Option<&Path> {
        match self {
            Self::Entry { path, .. }
            | Self::Misplaced { path }
            | Self::BlobSize { path, .. }
            | Self::Content { path, .. } => Some(path),
            _ => None,
        }
    }
}
