//! /dev, /proc, /sys, and what is supplied in /etc.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags, makedev};

use crate::{outcome, point};

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
];

const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/sys",
    "/sys/fs/cgroup",
];

pub(crate) fn points() {
    devices();
    for path in MASKED {
        point(&format!("masked {path}"), what_is_at(Path::new(path)));
    }
    for path in READ_ONLY {
        point(&format!("read-only {path}"), access(path));
    }
    point(
        "write /proc/sys/kernel/hostname",
        outcome(
            OpenOptions::new()
                .write(true)
                .open("/proc/sys/kernel/hostname"),
        ),
    );
    for path in ["/proc/keys", "/etc/hosts", "/etc/resolv.conf"] {
        point(&format!("chmod {path}"), outcome(same_mode(path)));
    }
}

fn devices() {
    point("names in /dev", names("/dev"));
    for name in ["null", "zero", "tty"] {
        let path = format!("/dev/{name}");
        point(&format!("chmod {path}"), outcome(same_mode(&path)));
        point(
            &format!("chown {path}"),
            outcome(chown(&path, Some(0), Some(0))),
        );
    }
    let write = OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .and_then(|mut null| null.write_all(b"x"));
    point("write /dev/null", outcome(write));
    let read = File::open("/dev/zero").and_then(|mut zero| zero.read_exact(&mut [1; 16]));
    point("read /dev/zero", outcome(read));
    point("open /dev/tty", outcome(File::open("/dev/tty")));
    point(
        "open /dev/ptmx",
        outcome(OpenOptions::new().read(true).write(true).open("/dev/ptmx")),
    );
    point(
        "shm",
        outcome(fs::write("/dev/shm/probe", "").and_then(|()| fs::remove_file("/dev/shm/probe"))),
    );
    let stdin = rustix::fs::fstat(io::stdin()).map_or(0, |stat| stat.st_mode & 0o7777);
    point(
        "fchmod of stdin",
        outcome(
            rustix::fs::fchmod(io::stdin(), Mode::from_raw_mode(stdin)).map_err(io::Error::from),
        ),
    );
    for (name, kind, number) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("memory", FileType::CharacterDevice, makedev(1, 1)),
        ("disk", FileType::BlockDevice, makedev(7, 0)),
    ] {
        let path = format!("/probe-{name}");
        let made = rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), number);
        point(
            &format!("mknod {name}"),
            outcome(made.map_err(io::Error::from)),
        );
        if made.is_ok() {
            point(&format!("open of that {name}"), outcome(File::open(&path)));
            let _ = fs::remove_file(path);
        } else {
            point(&format!("open of that {name}"), "none");
        }
    }
}

fn names(directory: &str) -> String {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join(" ")
}

/// Sets the mode that a file has.
fn same_mode(path: &str) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777))
}

/// What a machine does not have cannot be seen either.
fn what_is_at(path: &Path) -> &'static str {
    let Ok(metadata) = fs::metadata(path) else {
        return "nothing";
    };
    if metadata.is_dir() {
        match fs::read_dir(path).map(Iterator::count) {
            Ok(0) => "nothing",
            _ => "visible",
        }
    } else if metadata.file_type().is_char_device() {
        "nothing"
    } else {
        "visible"
    }
}

fn access(path: &str) -> &'static str {
    match rustix::fs::statvfs(path) {
        Ok(found) if found.f_flag.contains(StatVfsMountFlags::RDONLY) => "yes",
        Ok(_) => "no",
        // Nor can it be written to.
        Err(_) => "yes",
    }
}
