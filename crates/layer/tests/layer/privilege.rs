//! What this process may do.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, Uid, XattrFlags};

use kiln_layer::Owners;

/// Can files be given away, to large numbers too? Not without root, nor in a user namespace with few of them.
pub(crate) fn can_chown() -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let (user, group) = (Uid::from_raw(3_000_000), Gid::from_raw(3_000_001));
    rustix::fs::chown(scratch.path(), Some(user), Some(group)).is_ok()
}

/// For tests that are about more than owners.
pub(crate) fn owners() -> Owners {
    if can_chown() {
        Owners::Keep
    } else {
        Owners::Ignore
    }
}

/// Says that a test does nothing here, if it cannot give files away.
pub(crate) fn skipped_without_chown() -> bool {
    let skipped = !can_chown();
    if skipped {
        kiln_skip::skipped("this process may not change the owners of files");
    }
    skipped
}

/// Whether device nodes can be made; says so if not.
pub(crate) fn can_mknod() -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("null");
    let device = rustix::fs::makedev(1, 3);
    let made = rustix::fs::mknodat(CWD, node, FileType::CharacterDevice, Mode::RUSR, device);
    if let Err(error) = made {
        kiln_skip::skipped(format!("device nodes: {error}"));
    }
    made.is_ok()
}

/// Whether files here can have this attribute; says so if not.
pub(crate) fn can_set(xattr: &str, value: &[u8]) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let set = set(&file, xattr, value);
    if let Err(error) = set {
        kiln_skip::skipped(format!("attribute {xattr}: {error}"));
    }
    set.is_ok()
}

pub(crate) fn set(path: &Path, xattr: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(path, xattr, value, XattrFlags::empty())
}
