//! The folder of a build's blobs: what lies there under its digest is whole.

use std::io;
use std::path::{Path, PathBuf};

/// A file for a blob; its mode is that of stores, since the volume may take it in as it is.
pub(crate) fn blob_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = std::fs::Permissions::from_mode(kiln_oci::atomic::FILE_MODE);
    tempfile::Builder::new().permissions(mode).tempfile_in(dir)
}

/// Where a blob of this digest lies below the folder of blobs.
pub fn blob_path(dir: &Path, digest: &kiln_oci::Digest) -> PathBuf {
    dir.join(digest.hex())
}
