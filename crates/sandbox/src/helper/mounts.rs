//! Mounts on descriptors.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::MountFlags;

use super::target::Target;
use crate::run::descriptor_path;
use crate::sys;

/// Shows `source` and all that is mounted below it at `target`; returns what is there then.
pub(super) fn bind(source: &impl AsFd, target: &Target) -> io::Result<Target> {
    rustix::mount::mount_bind_recursive(descriptor_path(source), descriptor_path(&target.fd))?;
    target.reopen()
}

/// Shows `source` read-only at `target`.
pub(super) fn bind_read_only(source: &impl AsFd, target: &Target) -> io::Result<()> {
    let mounted = bind(source, target)?;
    make_read_only(&mounted).inspect_err(|_| detach(&mounted))
}

/// The same, or nothing where not all that is mounted below can be made read-only as well (before Linux 5.12): for what is
/// the builder's own, such as its control groups.
pub(super) fn bind_all_read_only(source: &impl AsFd, target: &Target) -> io::Result<()> {
    let mounted = bind(source, target)?;
    sys::set_read_only_recursive(mounted.fd.as_fd()).inspect_err(|_| detach(&mounted))
}

/// Mounts a filesystem such as tmpfs; returns its root.
pub(super) fn filesystem(
    kind: &str,
    target: &Target,
    flags: MountFlags,
    options: &str,
) -> io::Result<Target> {
    let options = CString::new(options)?;
    rustix::mount::mount(
        kind,
        descriptor_path(&target.fd),
        kind,
        flags,
        options.as_c_str(),
    )?;
    target.reopen()
}

/// Makes a mount read-only, with those below it where the kernel can.
pub(super) fn make_read_only(mounted: &Target) -> io::Result<()> {
    if sys::set_read_only_recursive(mounted.fd.as_fd()).is_ok() {
        return Ok(());
    }
    add_flag(mounted.fd.as_fd(), MountFlags::RDONLY)
}

/// Makes devices in a mount useless, and in those below it where the kernel can: a command may make some, and no
/// container's limits are sure to keep it from the disks they stand for.
pub(super) fn refuse_devices(mounted: BorrowedFd<'_>) -> io::Result<()> {
    if sys::set_no_devices_recursive(mounted).is_ok() {
        return Ok(());
    }
    add_flag(mounted, MountFlags::NODEV)
}

/// Adds a flag to one mount and leaves those below it alone.
pub(super) fn add_flag(mounted: BorrowedFd<'_>, flag: MountFlags) -> io::Result<()> {
    // In a user namespace the flags a mount came with are locked, so they have to be repeated.
    let present = rustix::fs::fstatvfs(mounted)?.f_flag;
    let kept = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let mut flags = MountFlags::BIND | flag;
    for (seen, flag) in kept {
        if present.contains(seen) {
            flags |= flag;
        }
    }
    Ok(rustix::mount::mount_remount(
        descriptor_path(&mounted),
        flags,
        "",
    )?)
}

/// Takes a mount away again that could not be finished.
pub(super) fn detach(mounted: &Target) {
    // If that fails as well, the error that brought us here is reported anyway.
    let _ = rustix::mount::unmount(
        descriptor_path(&mounted.fd),
        rustix::mount::UnmountFlags::DETACH,
    );
}
