//! What a command may not see or change of the kernel's files, as in Docker, and what the caller wants hidden (D41).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;

use super::mounts::{bind_read_only, filesystem};
use super::step;
use super::target::Targets;
use crate::SetupError;
use crate::wire::Bytes;

/// Below /proc and /sys, as Docker has them.
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

/// Docker masks this of every processor.
const PROCESSORS: &str = "sys/devices/system/cpu";
const THROTTLE: &str = "thermal_throttle";

const READ_ONLY: &[&str] = &[
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// Covers what Docker covers.
pub(super) fn protect_kernel_files(targets: &Targets) -> Result<(), SetupError> {
    let null = open_null()?;
    for path in MASKED {
        cover(targets, path.as_bytes(), &null).map_err(step("mask", format!("/{path}")))?;
    }
    for path in throttles(targets) {
        cover(targets, path.as_bytes(), &null).map_err(step("mask", format!("/{path}")))?;
    }
    for path in READ_ONLY {
        protect(targets, path).map_err(step("make read-only", format!("/{path}")))?;
    }
    Ok(())
}

fn protect(targets: &Targets, path: &str) -> io::Result<()> {
    match targets.find(path.as_bytes())? {
        Some(place) => bind_read_only(&place.fd, &place),
        None => Ok(()),
    }
}

/// One path for each processor of this machine that has such a thing.
fn throttles(targets: &Targets) -> Vec<String> {
    let list = || -> io::Result<Vec<String>> {
        let Some(place) = targets.find(PROCESSORS.as_bytes())? else {
            return Ok(Vec::new());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing =
            rustix::fs::Dir::new(rustix::fs::openat(&place.fd, ".", flags, Mode::empty())?)?;
        let names = listing
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().map(str::to_owned).ok());
        Ok(names.filter(|name| is_processor(name)).collect())
    };
    let paths = list().unwrap_or_default().into_iter();
    paths
        .map(|name| format!("{PROCESSORS}/{name}/{THROTTLE}"))
        .collect()
}

fn is_processor(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
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
        // Read-only, because this is the builder's own device: its mode is not the command's to change (finding 4).
        _ => bind_read_only(null, &place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: D45
    #[test]
    fn processors_are_told_from_what_lies_beside_them() {
        let cases = [
            ("cpu0", true),
            ("cpu127", true),
            ("cpu", false),
            ("cpufreq", false),
            ("cpu1x", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_processor(name), expected, "{name}");
        }
    }
}
