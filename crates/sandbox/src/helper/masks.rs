//! What a command may not see or change of the kernel's files, as in Docker, and what the caller wants hidden (D41).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;

use super::mounts::{bind, bind_read_only, filesystem};
use super::step;
use super::target::Targets;
use crate::SetupError;
use crate::wire::Bytes;

const MASKED: &[&str] = &[
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

const READ_ONLY: &[&str] = &[
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// Covers what Docker covers, as far as this machine lets us: a user namespace protects most of it anyway.
pub(super) fn protect_kernel_files(targets: &Targets) -> Result<(), SetupError> {
    let null = open_null()?;
    for path in MASKED {
        let _ = cover(targets, path.as_bytes(), &null);
    }
    for path in READ_ONLY {
        if let Ok(Some(place)) = targets.find(path.as_bytes()) {
            let _ = bind_read_only(&place.fd, &place);
        }
    }
    Ok(())
}

/// Covers paths of the caller's choice with nothing; an error if that is not possible.
pub(super) fn hide(targets: &Targets, paths: &[Bytes]) -> Result<(), SetupError> {
    if paths.is_empty() {
        return Ok(());
    }
    let null = open_null()?;
    for path in paths {
        cover(targets, &path.0, &null).map_err(step("hide", path.lossy()))?;
    }
    Ok(())
}

fn open_null() -> Result<OwnedFd, SetupError> {
    rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(step("open", "/dev/null"))
}

fn cover(targets: &Targets, path: &[u8], null: &OwnedFd) -> io::Result<()> {
    let Some(place) = targets.find(path)? else {
        return Ok(());
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&place.fd)?.st_mode) {
        FileType::Directory => {
            filesystem("tmpfs", &place, MountFlags::RDONLY, "mode=755").map(drop)
        }
        _ => bind(null, &place).map(drop),
    }
}
