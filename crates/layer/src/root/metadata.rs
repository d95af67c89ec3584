//! Owner, mode, extended attributes and time of one name in an open directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{FileType, name_of, stat_at};
use crate::{Entry, EntryKind, Owners, SkipReason, Skipped, Xattrs};

/// Attributes that belong to the machine that unpacks, and that a layer could use against it (G19).
const NEVER_SET: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];

/// Sets owner, mode, extended attributes and time of a name; gives the attributes that could not be set.
pub(crate) fn set_metadata_at(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    owners: Owners,
) -> Result<Vec<Skipped>, Errno> {
    if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory) {
        let file = open_closed(dir, name)?;
        return set_metadata(file.as_fd(), entry, owners);
    }
    if owners == Owners::Keep {
        chown_at(dir, name, entry.uid, entry.gid)?;
    }
    if !matches!(entry.kind, EntryKind::Symlink { .. }) {
        // There is no way to change a mode that never follows a link, so one must not be there.
        if stat_at(dir, name)?.is_none_or(|stat| stat.file_type == FileType::Symlink) {
            return Err(Errno::LOOP);
        }
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(dir, name_of(name), mode, AtFlags::empty())?;
    }
    set_times_at(dir, name, entry.mtime)?;
    Ok(Vec::new())
}

/// Sets owner, mode and extended attributes of an open file or directory in this order, since each of them can undo
/// what follows (conformance: G35), and then its time; gives the attributes that could not be set.
pub(crate) fn set_metadata(
    file: BorrowedFd<'_>,
    entry: &Entry,
    owners: Owners,
) -> Result<Vec<Skipped>, Errno> {
    if owners == Owners::Keep {
        let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::fchown(file, Some(user), Some(group))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    // Only a directory can have been there before, with attributes of a lower layer (G29).
    if entry.kind == EntryKind::Directory {
        drop_xattrs(file, entry)?;
    }
    let skipped = set_xattrs(file, entry);
    rustix::fs::futimens(file, &times(entry.mtime))?;
    Ok(skipped)
}

/// Opens a file or directory that may be closed even to its owner, if that is who we are.
fn open_closed(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(dir, name_of(name), flags, Mode::empty());
    match open() {
        // Of a symlink the kernel says something else.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir, name_of(name), Mode::RWXU, AtFlags::empty())?;
            open()
        }
        opened => opened,
    }
}

/// Takes away the attributes of images that the entry does not have.
fn drop_xattrs(file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    for name in read_xattrs(file)?.keys() {
        let of_images = name.starts_with(b"user.") || name.as_slice() == b"security.capability";
        let ours = NEVER_SET.iter().any(|prefix| name.starts_with(prefix));
        if of_images && !ours && !entry.xattrs.contains_key(name) {
            rustix::fs::fremovexattr(file, name_of(name))?;
        }
    }
    Ok(())
}

/// Sets what can be set, and says what could not (conformance: G34).
fn set_xattrs(file: BorrowedFd<'_>, entry: &Entry) -> Vec<Skipped> {
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
fn times(mtime: i64) -> Timestamps {
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
pub(super) fn set_times_at(dir: BorrowedFd<'_>, name: &[u8], mtime: i64) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, name_of(name), &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// All extended attributes of an open file; none where the filesystem has none.
pub(super) fn read_xattrs(file: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
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
