//! Extended attributes: which belong in a layer, and what overlayfs writes into them.

use std::ffi::CStr;

use kiln_layer::Xattrs;
use rustix::buffer::spare_capacity;
use rustix::fd::AsFd;
use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

pub(crate) type Attributes = Xattrs;

const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Whether a layer keeps the attribute (conformance: G19): capabilities and a person's own, never labels that belong
/// to the machine (`security.selinux`) nor the bookkeeping of overlayfs.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(OVERLAY[1]))
}

/// What overlayfs noted on a file or directory of an upper directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The directory hides what lies below it in lower layers.
    pub(crate) opaque: bool,
    /// The empty file stands for a deleted name.
    pub(crate) whiteout: bool,
    /// The name of a `redirect` or `metacopy` attribute.
    pub(crate) redirect: Option<String>,
}

/// The attributes for the layer of an open file.
pub(crate) fn kept(file: impl AsFd) -> Result<Attributes, Errno> {
    read(file.as_fd(), None)
}

/// The attributes for the layer of an open file, and the marks of overlayfs.
pub(crate) fn kept_and_marks(file: impl AsFd) -> Result<(Attributes, Marks), Errno> {
    let mut marks = Marks::default();
    let attributes = read(file.as_fd(), Some(&mut marks))?;
    Ok((attributes, marks))
}

fn read(
    file: rustix::fd::BorrowedFd<'_>,
    mut marks: Option<&mut Marks>,
) -> Result<Attributes, Errno> {
    let mut found = Attributes::new();
    // Nearly every file has no attribute at all: one call, no allocation.
    let mut small = [0_u8; 256];
    let names = match flistxattr(file, &mut small) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(found),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => grow(|names| flistxattr(file, spare_capacity(names)))?,
        Err(errno) => return Err(errno),
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if is_kept(name.to_bytes()) {
            match grow(|value| fgetxattr(file, name, spare_capacity(value))) {
                Ok(value) => {
                    found.insert(name.to_bytes().to_vec(), value);
                }
                // Removed since the list was made, or listed though it cannot be read.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno),
            }
        } else if let Some(marks) = marks.as_deref_mut() {
            note_mark(file, name, marks)?;
        }
    }
    Ok(found)
}

fn note_mark(
    file: rustix::fd::BorrowedFd<'_>,
    name: &CStr,
    marks: &mut Marks,
) -> Result<(), Errno> {
    let Some(mark) = OVERLAY
        .iter()
        .find_map(|prefix| name.to_bytes().strip_prefix(*prefix))
    else {
        return Ok(());
    };
    match mark {
        b"opaque" => {
            // "x" only says that whiteouts in here may be empty files.
            marks.opaque |= grow(|value| fgetxattr(file, name, spare_capacity(value)))? == b"y";
        }
        b"whiteout" => marks.whiteout = true,
        b"redirect" | b"metacopy" => marks.redirect = Some(name.to_string_lossy().into_owned()),
        _ => {}
    }
    Ok(())
}

/// Calls `read` with more and more room until the value fits.
fn grow(read: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut room = 256;
    loop {
        let mut value = Vec::with_capacity(room);
        match read(&mut value) {
            Ok(_) => return Ok(value),
            // 64 KiB is the kernel's own limit for a value and for a list.
            Err(Errno::RANGE) if room < 1 << 17 => room *= 8,
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: G19
    #[test]
    fn capabilities_and_user_attributes_are_kept() {
        let rows: &[(&str, bool)] = &[
            ("security.capability", true),
            ("user.note", true),
            ("user.overlay.opaque", false),
            ("user.overlay.overlay.opaque", false),
            ("trusted.overlay.origin", false),
            ("trusted.other", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ];
        assert!(!rows.is_empty());
        for (name, expected) in rows {
            assert_eq!(is_kept(name.as_bytes()), *expected, "{name}");
        }
    }
}
