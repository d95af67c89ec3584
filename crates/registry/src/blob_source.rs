//! Where the bytes of a blob are that is pushed.

use std::path::PathBuf;

use bytes::Bytes;

/// Where the bytes of a blob are; it must be possible to read them again for a retry.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// A file that holds exactly the blob.
    File(PathBuf),
    /// A file that holds the blob from this offset on, as archives do.
    Part(PathBuf, u64),
    /// The blob itself.
    Bytes(Bytes),
}
