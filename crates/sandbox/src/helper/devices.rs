//! The command's /dev (D17).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mounts::{add_flag, bind, bind_read_only, filesystem};
use super::step;
use super::target::{Kind, Target, Targets};
use crate::SetupError;

/// Character devices: name, major, minor.
const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

const NO_DANGER: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Mounts a tmpfs with the usual devices at /dev. Each is a mount of its own, so that devices which the command makes
/// beside them do not work.
pub(super) fn populate(targets: &mut Targets) -> Result<(), SetupError> {
    let mount = |targets: &mut Targets| {
        let place = targets.find_or_make(b"dev", Kind::Directory)?;
        filesystem(
            "tmpfs",
            &place,
            MountFlags::NOSUID | MountFlags::STRICTATIME,
            "mode=755,size=64m",
        )
    };
    let dev = mount(targets).map_err(step("mount", "/dev"))?;
    let dev = dev.fd.as_fd();
    for (name, major, minor) in NODES {
        node(dev, name, makedev(*major, *minor))
            .map_err(step("make device", format!("/dev/{name}")))?;
    }
    add_flag(dev, MountFlags::NOSUID | MountFlags::NODEV)
        .map_err(step("refuse devices in", "/dev"))?;
    for (name, text) in LINKS {
        rustix::fs::symlinkat(*text, dev, *name)
            .map_err(step("make link", format!("/dev/{name}")))?;
    }
    let shm = directory(dev, "shm").map_err(step("make", "/dev/shm"))?;
    filesystem("tmpfs", &shm, NO_DANGER, "mode=1777,size=64m")
        .map_err(step("mount", "/dev/shm"))?;
    // Few commands need these two, so a machine that refuses them can still build.
    let pts = directory(dev, "pts").map_err(step("make", "/dev/pts"))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = "newinstance,ptmxmode=0666,mode=0620";
    // Group 5 is `tty` in every distribution, but a user namespace may not have it.
    let _ = filesystem("devpts", &pts, flags, &format!("{options},gid=5"))
        .or_else(|_| filesystem("devpts", &pts, flags, options));
    let mqueue = directory(dev, "mqueue").map_err(step("make", "/dev/mqueue"))?;
    let _ = filesystem("mqueue", &mqueue, NO_DANGER, "");
    Ok(())
}

/// Makes a device and mounts it on itself, or shows the host's where making one is refused, as it is in a user
/// namespace. Of the host's only what it is for works, reading and writing; its mode and owner are not the command's
/// to change (finding 4).
fn node(dev: BorrowedFd<'_>, name: &str, number: u64) -> io::Result<()> {
    match rustix::fs::mknodat(
        dev,
        name,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        number,
    ) {
        Ok(()) => {
            let made = Target::at(dev, name)?;
            return bind(&made.fd, &made).map(drop);
        }
        Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let path = format!("/dev/{name}");
    let host = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(host) => host,
        // A container may have been given less than this list.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666))?;
    bind_read_only(&host, &Target::at(dev, name)?)
}

fn directory(dev: BorrowedFd<'_>, name: &str) -> io::Result<Target> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    Target::at(dev.as_fd(), name)
}
