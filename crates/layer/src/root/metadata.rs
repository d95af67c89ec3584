//! Owner, mode, extended attributes and time of one name in an open directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::name_of;
use crate::{Entry, EntryKind, Owners, SkipReason, Skipped, Xattrs};

/// Attributes that belong to the machine that unpacks, and that a layer could use against it (G19).
const NEVER_SET: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];

/// Sets owner, mode and extended attributes, in this order, since each of them can undo what follows
/// (conformance: G35). The time comes last and on its own.
pub(crate) fn set_metadata_at(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    owners: Owners,
) -> Result<Vec<Skipped>, Errno> {
    if owners == Owners::Keep {
        chown_at(dir, name, entry.uid, entry.gid)?;
    }
    if !matches!(entry.kind, EntryKind::Symlink { .. }) {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(dir, name_of(name), mode, AtFlags::empty())?;
    }
    let is_dir = matches!(entry.kind, EntryKind::Directory);
    if !(is_dir || matches!(entry.kind, EntryKind::File { .. }) && !entry.xattrs.is_empty()) {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name_of(name), flags, Mode::empty())?;
    // Only a directory can have been there before, with attributes of a lower layer (G29).
    if is_dir {
        drop_xattrs(&file, entry)?;
    }
    Ok(set_xattrs(file.as_fd(), entry))
}

/// Takes away the attributes of images that the entry does not have.
fn drop_xattrs(file: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
    for name in read_xattrs(file)?.into_keys() {
        let of_images = name.starts_with(b"user.") || name == b"security.capability";
        let ours = NEVER_SET.iter().any(|prefix| name.starts_with(prefix));
        if of_images && !ours && !entry.xattrs.contains_key(&name) {
            rustix::fs::fremovexattr(file, name_of(&name))?;
        }
    }
    Ok(())
}

/// Sets what can be set, and says what could not (conformance: G34).
pub(crate) fn set_xattrs(file: BorrowedFd<'_>, entry: &Entry) -> Vec<Skipped> {
    let mut skipped = Vec::new();
    for (name, value) in &entry.xattrs {
        if NEVER_SET.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if let Err(error) = rustix::fs::fsetxattr(file, name_of(name), value, XattrFlags::empty()) {
            skipped.push(Skipped {
                path: entry.path.clone(),
                reason: SkipReason::Xattr {
                    name: String::from_utf8_lossy(name).into_owned(),
                    error: std::io::Error::from(error).to_string(),
                },
            });
        }
    }
    skipped
}

/// Gives a name to a user and group; a symlink is not followed.
pub(super) fn chown_at(dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(dir, name_of(name), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whole seconds as both times of a file.
pub(crate) fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Sets the time of a name; a symlink is not followed.
pub(crate) fn set_times_at(dir: BorrowedFd<'_>, name: &[u8], mtime: i64) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, name_of(name), &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// All extended attributes of an open file; none where the filesystem has none.
pub(super) fn read_xattrs(file: &OwnedFd) -> Result<Xattrs, Errno> {
    let mut names: Vec<u8> = Vec::with_capacity(1 << 16);
    match rustix::fs::flistxattr(file, spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
        Err(error) => return Err(error),
    }
    let mut xattrs = Xattrs::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value: Vec<u8> = Vec::with_capacity(1 << 16);
        match rustix::fs::fgetxattr(file, name_of(name), spare_capacity(&mut value)) {
            Ok(_) => {
                xattrs.insert(name.to_vec(), value);
            }
            // Gone since it was listed, or not for us.
            Err(Errno::NODATA | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}
