//! Mounts on descriptors, and those a job asks for.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::MountFlags;

use super::discard;
use super::target::{Kind, Target, Targets};
use super::{errno, step};
use crate::run::descriptor_path;
use crate::wire::{Access, Bytes, JobMount};
use crate::{SetupError, sys};

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

/// Opens a file or directory of the host; only after the mount namespace was made, or it cannot be bound.
pub(super) fn open_source(source: &Bytes) -> Result<(OwnedFd, Kind), SetupError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let open = || -> io::Result<_> {
        let fd = rustix::fs::open(source.path(), flags, Mode::empty())?;
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        Ok((fd, kind))
    };
    open().map_err(|error| SetupError::MountSource {
        source_path: source.lossy(),
        errno: errno(&error),
    })
}

/// Makes one mount of the job.
pub(super) fn mount(targets: &mut Targets, mount: &JobMount) -> Result<(), SetupError> {
    match mount {
        JobMount::Bind {
            source,
            target,
            access,
        } => {
            let (fd, kind) = open_source(source)?;
            let place = targets
                .find_or_make(&target.0, kind)
                .map_err(no_target(target))?;
            match access {
                Access::ReadOnly => bind_read_only(&fd, &place),
                Access::ReadWrite => bind(&fd, &place).map(drop),
                Access::Discard => discard::mount(&fd, kind, &place, targets),
            }
            .and_then(|()| refuse_devices(place.reopen()?.fd.as_fd()))
            .map_err(step("mount", target.lossy()))
        }
        JobMount::Tmpfs { target, size, mode } => {
            let place = targets
                .find_or_make(&target.0, Kind::Directory)
                .map_err(no_target(target))?;
            let mut options = format!("mode={mode:o}");
            if let Some(size) = size {
                let _ = write!(options, ",size={size}");
            }
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            filesystem("tmpfs", &place, flags, &options)
                .map(drop)
                .map_err(step("mount", target.lossy()))
        }
    }
}

/// Shows a file of the host read-only at a path where the image may have its own, or a symlink to anywhere; that
/// stays as it is below (D17, D20).
pub(super) fn supply_file(
    targets: &mut Targets,
    source: &Bytes,
    path: &str,
) -> Result<(), SetupError> {
    let (fd, _) = open_source(source)?;
    let path_bytes = Bytes(path.as_bytes().to_vec());
    let over_symlink = targets
        .find_or_make_unfollowed(path.as_bytes(), Kind::File)
        .and_then(|place| bind_read_only(&fd, &place));
    if over_symlink.is_ok() {
        return Ok(());
    }
    // A kernel that cannot mount over a symlink: then where it points to, inside the root.
    let place = targets
        .find_or_make(path.as_bytes(), Kind::File)
        .map_err(no_target(&path_bytes))?;
    bind_read_only(&fd, &place).map_err(step("mount", path))
}

fn no_target(target: &Bytes) -> impl FnOnce(io::Error) -> SetupError {
    let target = target.lossy();
    move |error| SetupError::MountTarget {
        target,
        errno: errno(&error),
    }
}
