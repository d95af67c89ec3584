//! Finding and making mount points inside a root that may be hostile.
//!
//! Paths are walked one name at a time with `O_NOFOLLOW`, symlinks and `..` are followed here and never by the
//! kernel, so nothing outside the root is reached. What has to be made for a mount is remembered and removed
//! afterwards, as if it had never been there (D18, D27).

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// As many as the kernel follows.
const MOST_SYMLINKS: usize = 40;

/// As often as mounts stacked on one stub are taken away; a bound for a loop, never reached in practice.
const MOST_STACKED: usize = 64;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A place to mount something.
pub(super) struct Target {
    /// What is there now.
    pub(super) fd: OwnedFd,
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Target {
    /// A name in a directory, not followed if it is a symlink.
    pub(super) fn at(directory: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let fd = open_path(directory, name.as_bytes())?;
        Ok(Self {
            fd,
            parent: directory.try_clone_to_owned()?,
            name: name.as_bytes().to_vec(),
        })
    }

    /// Opens what is there after a mount: the root of that mount.
    pub(super) fn reopen(&self) -> io::Result<Self> {
        let fd = open_path(self.parent.as_fd(), &self.name)?;
        Ok(Self {
            fd,
            parent: self.parent.try_clone()?,
            name: self.name.clone(),
        })
    }
}

/// The directory that `path` names inside `root`, made with what is missing above it where `make` says so. Links that
/// only the kernel can follow (`/proc/1/root`, `/proc/self/fd/3`) are read like any other: they do not lead out.
pub(super) fn directory(root: BorrowedFd<'_>, path: &[u8], make: bool) -> io::Result<OwnedFd> {
    let mut walk = Walk::new(root, path)?;
    loop {
        match walk.run(Last::Follow) {
            // The root itself is no target for a mount, but a directory like any other.
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                return walk.here().try_clone_to_owned();
            }
            Ok(Outcome::Found(target)) => {
                return check_kind(target, Kind::Directory).map(|target| target.fd);
            }
            Ok(Outcome::Missing { name, .. }) if make => {
                rustix::fs::mkdirat(
                    walk.here(),
                    OsStr::from_bytes(&name),
                    Mode::from_raw_mode(0o755),
                )?;
                walk.pending.push_front(name);
            }
            Ok(Outcome::Missing { .. }) => return Err(Errno::NOENT.into()),
            Err(error) => return Err(error),
        }
    }
}

/// Something made for a mount.
struct Stub {
    parent: OwnedFd,
    name: Vec<u8>,
    kind: Kind,
    identity: (u64, u64),
    /// Modification time of the parent before and after.
    before: (i64, i64),
    after: (i64, i64),
}

/// The mount points of one root.
pub(super) struct Targets {
    root: OwnedFd,
    stubs: Vec<Stub>,
}

impl Targets {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            stubs: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The place `path` names inside the root; missing parts are made, also behind a dangling symlink.
    pub(super) fn find_or_make(&mut self, path: &[u8], kind: Kind) -> io::Result<Target> {
        let mut walk = Walk::new(self.root.as_fd(), path)?;
        loop {
            match walk.run(Last::Follow)? {
                Outcome::Found(target) => return check_kind(target, kind),
                Outcome::Missing { name, last } => {
                    let kind = if last { kind } else { Kind::Directory };
                    let parent = walk.here();
                    let stub = make(parent, &name, kind)?;
                    self.stubs.push(stub);
                    walk.pending.push_front(name);
                }
            }
        }
    }

    /// The same, except that a symlink at the last name is the mount point itself: nothing is made or written
    /// where it points to (D20).
    pub(super) fn find_or_make_unfollowed(
        &mut self,
        path: &[u8],
        kind: Kind,
    ) -> io::Result<Target> {
        let mut walk = Walk::new(self.root.as_fd(), path)?;
        match walk.run(Last::Keep)? {
            Outcome::Found(target) => check_kind(target, kind),
            Outcome::Missing { .. } => self.find_or_make(path, kind),
        }
    }

    /// The place `path` names inside the root, if there is one.
    pub(super) fn find(&self, path: &[u8]) -> io::Result<Option<Target>> {
        match Walk::new(self.root.as_fd(), path)?.run(Last::Follow) {
            Ok(Outcome::Found(target)) => Ok(Some(target)),
            Ok(Outcome::Missing { .. }) => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Unmounts what covers the stubs and removes them, last first. What the command put beside a stub stays, and
    /// so does the directory around it.
    pub(super) fn remove_stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs).into_iter().rev() {
            // Nothing can be done about a stub that cannot be removed, and the command's own result matters more.
            let _ = stub.remove();
        }
    }
}

impl Stub {
    fn remove(&self) -> io::Result<()> {
        for _ in 0..MOST_STACKED {
            let found = rustix::fs::statat(
                &self.parent,
                OsStr::from_bytes(&self.name),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
            if identity(&found) == self.identity {
                return self.unlink(&found);
            }
            rustix::process::fchdir(&self.parent)?;
            rustix::mount::unmount(
                OsStr::from_bytes(&self.name),
                UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
            )?;
        }
        Ok(())
    }

    fn unlink(&self, found: &Stat) -> io::Result<()> {
        let flags = match self.kind {
            Kind::Directory => AtFlags::REMOVEDIR,
            // Written to, which only a command with more rights than ours gives can do: then it is content.
            Kind::File if found.st_size > 0 => return Ok(()),
            Kind::File => AtFlags::empty(),
        };
        let now = modified(&rustix::fs::fstat(&self.parent)?);
        rustix::fs::unlinkat(&self.parent, OsStr::from_bytes(&self.name), flags)?;
        // If the command changed the directory as well, that time stays.
        set_modified(
            self.parent.as_fd(),
            if now == self.after { self.before } else { now },
        )
    }
}

/// Whether a symlink that is the last name is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Follow,
    Keep,
}

enum Outcome {
    Found(Target),
    Missing { name: Vec<u8>, last: bool },
}

/// A walk down a path: the directories passed, by descriptor, and the names still to come.
struct Walk {
    passed: Vec<(OwnedFd, Vec<u8>)>,
    pending: VecDeque<Vec<u8>>,
    symlinks: usize,
}

impl Walk {
    fn new(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Self> {
        let pending = names(path).collect();
        Ok(Self {
            passed: vec![(root.try_clone_to_owned()?, Vec::new())],
            pending,
            symlinks: 0,
        })
    }

    /// The last thing reached.
    fn here(&self) -> BorrowedFd<'_> {
        // The root is never popped.
        self.passed[self.passed.len() - 1].0.as_fd()
    }

    /// Goes on until the end of the path, or to the first name that does not exist.
    fn run(&mut self, last_symlink: Last) -> io::Result<Outcome> {
        while let Some(name) = self.pending.pop_front() {
            if name == b".." {
                if self.passed.len() > 1 {
                    self.passed.pop();
                }
                continue;
            }
            let last = self.pending.is_empty();
            let fd = match open_path(self.here(), &name) {
                Ok(fd) => fd,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Outcome::Missing { name, last });
                }
                Err(error) => return Err(error),
            };
            let is_symlink = file_type(&fd)? == FileType::Symlink;
            if is_symlink && !(last && last_symlink == Last::Keep) {
                self.follow(&fd)?;
            } else {
                self.passed.push((fd, name));
            }
        }
        self.target().map(Outcome::Found)
    }

    fn follow(&mut self, symlink: &OwnedFd) -> io::Result<()> {
        self.symlinks += 1;
        if self.symlinks > MOST_SYMLINKS {
            return Err(Errno::LOOP.into());
        }
        let text = rustix::fs::readlinkat(symlink, "", Vec::new())?.into_bytes();
        if text.first() == Some(&b'/') {
            self.passed.truncate(1);
        }
        for name in names(&text).collect::<Vec<_>>().into_iter().rev() {
            self.pending.push_front(name);
        }
        Ok(())
    }

    fn target(&self) -> io::Result<Target> {
        let [.., (parent, _), (fd, name)] = self.passed.as_slice() else {
            // Nothing can be mounted over the root itself.
            return Err(Errno::BUSY.into());
        };
        Ok(Target {
            fd: fd.try_clone()?,
            parent: parent.try_clone()?,
            name: name.clone(),
        })
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

fn open_path(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        directory,
        OsStr::from_bytes(name),
        flags,
        Mode::empty(),
    )?)
}

fn file_type(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

fn check_kind(target: Target, wanted: Kind) -> io::Result<Target> {
    let is_directory = file_type(&target.fd)? == FileType::Directory;
    match wanted {
        Kind::Directory if !is_directory => Err(Errno::NOTDIR.into()),
        Kind::File if is_directory => Err(Errno::ISDIR.into()),
        _ => Ok(target),
    }
}

fn make(parent: BorrowedFd<'_>, name: &[u8], kind: Kind) -> io::Result<Stub> {
    let name_str = OsStr::from_bytes(name);
    let before = modified(&rustix::fs::fstat(parent)?);
    match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name_str, Mode::from_raw_mode(0o755))?,
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name_str, flags, Mode::from_raw_mode(0o644))?;
        }
    }
    let made = rustix::fs::statat(parent, name_str, AtFlags::SYMLINK_NOFOLLOW)?;
    let after = modified(&rustix::fs::fstat(parent)?);
    Ok(Stub {
        parent: parent.try_clone_to_owned()?,
        name: name.to_vec(),
        kind,
        identity: identity(&made),
        before,
        after,
    })
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn set_modified(directory: BorrowedFd<'_>, (seconds, nanoseconds): (i64, i64)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    };
    Ok(rustix::fs::futimens(directory, &times)?)
}
