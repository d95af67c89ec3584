//! What a key depends on, how differences are told, and what is stored.
#![expect(clippy::unwrap_used, reason = "a panic in a test is its failure")]

mod explained;
mod laws;
mod rules;
mod stored;

use kiln_cache_key::{FileId, FileKind};
use kiln_oci::Digest;

/// A file with this content.
fn file(path: &str, content: &str) -> FileId {
    FileId::file(path, content.len() as u64, Digest::of(content))
}

fn with_mode(mut file: FileId, mode: u32) -> FileId {
    file.mode = mode;
    file
}

fn with_owner(mut file: FileId, uid: u32, gid: u32) -> FileId {
    (file.uid, file.gid) = (uid, gid);
    file
}

fn with_xattr(mut file: FileId, name: &str, value: &[u8]) -> FileId {
    file.xattrs.insert(name.into(), value.into());
    file
}

fn hard_link(path: &str, target: &str) -> FileId {
    let target = target.into();
    FileId::new(path, FileKind::Hardlink { target })
}

fn char_device(path: &str, major: u32, minor: u32) -> FileId {
    FileId::new(path, FileKind::CharDevice { major, minor })
}
