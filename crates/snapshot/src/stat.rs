//! The metadata of one file, as the kernel gives it.

use std::ffi::CStr;

use kiln_layer::EntryKind;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, makedev, statat, statx};
use rustix::io::Errno;

/// A moment on the filesystem's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) sec: i64,
    pub(crate) nsec: u32,
}

/// Device and inode number: the identity of a file with several names (conformance: G6).
pub(crate) type Inode = (u64, u64);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) ctime: Time,
    pub(crate) mtime: Time,
    /// Type and permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    /// Major and minor number of a device.
    pub(crate) rdev: (u32, u32),
    /// Something is mounted here; always false where the kernel does not tell.
    pub(crate) mount_root: bool,
}

impl Stat {
    /// The metadata of `name` in `dir` without following it; of `dir` itself for an empty name.
    pub(crate) fn of(dir: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        let dir = dir.as_fd();
        let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        if name.is_empty() {
            flags |= AtFlags::EMPTY_PATH;
        }
        match statx(dir, name, flags, StatxFlags::BASIC_STATS) {
            Ok(found) => Ok(Self {
                dev: makedev(found.stx_dev_major, found.stx_dev_minor),
                ino: found.stx_ino,
                size: found.stx_size,
                ctime: Time {
                    sec: found.stx_ctime.tv_sec,
                    nsec: found.stx_ctime.tv_nsec,
                },
                mtime: Time {
                    sec: found.stx_mtime.tv_sec,
                    nsec: found.stx_mtime.tv_nsec,
                },
                mode: u32::from(found.stx_mode),
                uid: found.stx_uid,
                gid: found.stx_gid,
                nlink: found.stx_nlink,
                rdev: (found.stx_rdev_major, found.stx_rdev_minor),
                mount_root: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            }),
            // Old seccomp profiles refuse statx, as if it did not exist or as if it were forbidden.
            Err(Errno::NOSYS | Errno::PERM) => Self::plain(dir, name, flags),
            Err(errno) => Err(errno),
        }
    }

    fn plain(dir: impl AsFd, name: &CStr, flags: AtFlags) -> Result<Self, Errno> {
        let found = statat(dir, name, flags)?;
        Ok(Self {
            dev: found.st_dev,
            ino: found.st_ino,
            size: found.st_size as u64,
            ctime: Time {
                sec: found.st_ctime,
                nsec: found.st_ctime_nsec as u32,
            },
            mtime: Time {
                sec: found.st_mtime,
                nsec: found.st_mtime_nsec as u32,
            },
            mode: found.st_mode,
            uid: found.st_uid,
            gid: found.st_gid,
            nlink: found.st_nlink as u32,
            rdev: (
                rustix::fs::major(found.st_rdev),
                rustix::fs::minor(found.st_rdev),
            ),
            mount_root: false,
        })
    }

    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    pub(crate) fn inode(&self) -> Inode {
        (self.dev, self.ino)
    }

    /// The overlay's own sign for a deleted name: a character device 0:0.
    pub(crate) fn is_overlay_whiteout(&self) -> bool {
        self.file_type() == FileType::CharacterDevice && self.rdev == (0, 0)
    }

    /// The kind of layer entry this becomes; `None` for what a layer cannot hold (sockets, conformance G16).
    pub(crate) fn kind(&self, target: Vec<u8>) -> Option<EntryKind> {
        let (major, minor) = self.rdev;
        match self.file_type() {
            FileType::RegularFile => Some(EntryKind::File { size: self.size }),
            FileType::Directory => Some(EntryKind::Directory),
            FileType::Symlink => Some(EntryKind::Symlink { target }),
            FileType::CharacterDevice => Some(EntryKind::CharDevice { major, minor }),
            FileType::BlockDevice => Some(EntryKind::BlockDevice { major, minor }),
            FileType::Fifo => Some(EntryKind::Fifo),
            _ => None,
        }
    }

    /// Whether type, mode and owner are equal: all there is to compare of a directory, whose size and times say
    /// nothing (conformance: G12).
    pub(crate) fn same_owner_and_mode(&self, other: &Self) -> bool {
        (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
    }

    /// Whether everything a layer records is equal, as far as it can be told without reading: a file's content and
    /// extended attributes and a link's target are left to the caller.
    pub(crate) fn same_record(&self, other: &Self) -> bool {
        if !self.same_owner_and_mode(other) {
            return false;
        }
        match self.file_type() {
            FileType::Directory => true,
            FileType::RegularFile | FileType::Symlink => {
                self.mtime == other.mtime && self.size == other.size
            }
            _ => self.mtime == other.mtime && self.rdev == other.rdev,
        }
    }
}
