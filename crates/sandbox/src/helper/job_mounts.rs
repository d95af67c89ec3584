//! Mounts that a job asks for, and files of the host that every command gets.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;

use super::mounts::{bind, bind_read_only, filesystem, refuse_devices};
use super::target::{Kind, Targets};
use super::{discard, errno, step};
use crate::SetupError;
use crate::wire::{Access, Bytes, JobMount};

/// Opens a file or directory of the host; only after the mount namespace was made, or it cannot be bound.
fn open_source(source: &Bytes) -> Result<(OwnedFd, Kind), SetupError> {
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
