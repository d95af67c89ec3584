//! Mounts that can be written to while nothing reaches their source (D28).

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::mount::MountFlags;

use super::mounts;
use super::target::{Kind, Target, Targets};
use crate::id_map::in_user_namespace;
use crate::run::descriptor_path;

const UPPER: &str = "upper";
const WORK: &str = "work";
const COPY: &str = "copy";

/// Mounts `source` at `place`, with changes kept in memory.
///
/// A directory gets a tmpfs, hidden below an overlay whose upper directory is in it, or below a copy where no
/// overlay is possible. A file is copied into the command's /dev, which is a tmpfs, and loses its name there.
pub(super) fn mount(
    source: &OwnedFd,
    kind: Kind,
    place: &Target,
    targets: &Targets,
) -> io::Result<()> {
    if kind == Kind::File {
        return mount_file(source, place, targets);
    }
    let memory = mounts::filesystem("tmpfs", place, MountFlags::empty(), "mode=700")?;
    overlay(source, &memory).or_else(|_| {
        let stat = rustix::fs::fstat(source)?;
        let copy = make_directory(memory.fd.as_fd(), COPY, &stat)?;
        copy_directory(source.as_fd(), copy.as_fd())?;
        set_times(copy.as_fd(), &stat)?;
        mounts::bind(&copy, &memory).map(drop)
    })
}

fn overlay(source: &OwnedFd, memory: &Target) -> io::Result<()> {
    let stat = rustix::fs::fstat(source)?;
    let upper = make_directory(memory.fd.as_fd(), UPPER, &stat)?;
    make_directory(memory.fd.as_fd(), WORK, &stat)?;
    let mut options = String::new();
    if in_user_namespace() {
        // The overlay of a user namespace marks directories with such an attribute, unknown to tmpfs before 6.6.
        let readable =
            rustix::fs::openat(&upper, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fsetxattr(&readable, "user.kiln", b"1", XattrFlags::empty())?;
        rustix::fs::fremovexattr(&readable, "user.kiln")?;
        options += "userxattr,";
    }
    let (lower, memory_path) = (descriptor_path(source), descriptor_path(&memory.fd));
    let (lower, memory_path) = (lower.display(), memory_path.display());
    let _ = write!(
        options,
        "lowerdir={lower},upperdir={memory_path}/{UPPER},workdir={memory_path}/{WORK}"
    );
    mounts::filesystem("overlay", memory, MountFlags::empty(), &options).map(drop)
}

fn mount_file(source: &OwnedFd, place: &Target, targets: &Targets) -> io::Result<()> {
    let Some(dev) = targets.find(b"dev")? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let name = ".kiln-copy";
    let stat = rustix::fs::fstat(source)?;
    copy_file(&descriptor_path(source), dev.fd.as_fd(), name, &stat)?;
    let copy = rustix::fs::openat(&dev.fd, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mounted = mounts::bind(&copy, place).map(drop);
    rustix::fs::unlinkat(&dev.fd, name, AtFlags::empty())?;
    mounted
}

/// Copies what is in a directory; devices, sockets and pipes are left out, extended attributes too.
fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = rustix::fs::Dir::new(rustix::fs::openat(from, ".", flags, Mode::empty())?)?;
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner =
                    rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
                let copy = make_directory(to, name, &stat)?;
                copy_directory(inner.as_fd(), copy.as_fd())?;
                set_times(copy.as_fd(), &stat)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(from, name, flags, Mode::empty())?;
                copy_file(&descriptor_path(&file), to, name, &stat)?;
            }
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(text, to, name)?;
                let (uid, gid) = owner(&stat);
                rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(
    from: &std::path::Path,
    to: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    stat: &Stat,
) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(
        to,
        name,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?);
    io::copy(&mut File::open(from)?, &mut copy)?;
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&copy, uid, gid)?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    set_times(copy.as_fd(), stat)
}

fn make_directory(
    parent: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    like: &Stat,
) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let (uid, gid) = owner(like);
    rustix::fs::fchown(&made, uid, gid)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    Ok(made)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}

fn set_times(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as i64,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as i64,
        },
    };
    Ok(rustix::fs::futimens(fd, &times)?)
}
