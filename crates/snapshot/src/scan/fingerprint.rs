//! What a file holds, in 32 bytes: for the files whose change time is not enough.

use std::fs::File;
use std::io::Read as _;

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::stat::Time;
use crate::xattr::Attributes;

/// SHA-256 of the content and the extended attributes that a layer keeps, and the change time they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) ctime: Time,
    pub(super) hash: [u8; 32],
}

/// The hash of an open file with these attributes.
pub(super) fn hash(file: &mut File, xattrs: &Attributes) -> Result<[u8; 32], Errno> {
    let mut hash = Sha256::new();
    for (name, value) in xattrs {
        for part in [name, value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    // No name is this long, so the attributes cannot be mistaken for content.
    hash.update(u64::MAX.to_le_bytes());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}
