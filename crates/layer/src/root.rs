//! A directory used as a root: the one place for file access by paths that are not trusted.

mod lookup;
mod metadata;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::{Entry, EntryKind, ImagePath, LayerError, Owners, Skipped};
use lookup::Dots;

pub(crate) use metadata::{set_metadata, set_metadata_at};

/// A host directory below which every path is resolved as if the process were chrooted there: absolute symlinks
/// start at it and `..` stops at it.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<OwnedFd>,
    path: PathBuf,
}

/// The type of a file on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket; never part of a layer (conformance: G16).
    Socket,
}

/// What the file system says about a file; symlinks are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Type.
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, whole seconds.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: u32,
    /// Change time, whole seconds.
    pub ctime: i64,
    /// Nanoseconds of the change time.
    pub ctime_nanos: u32,
    /// Device the file is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub links: u64,
    /// Major number of a device node.
    pub major: u32,
    /// Minor number of a device node.
    pub minor: u32,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Its type.
    pub file_type: FileType,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPath {
    /// The path without symlinks, as far as it exists; the components that do not exist follow as they were.
    pub path: ImagePath,
    /// How many components at the end do not exist.
    pub missing: usize,
}

/// An open directory and a name in it.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The directory (`O_PATH`).
    pub dir: Arc<OwnedFd>,
    /// Its path without symlinks.
    pub path: ImagePath,
    /// The last component; never `.` or `..`.
    pub name: Vec<u8>,
}

/// How directories that have to be made look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDirectory {
    /// Permission bits, whatever the umask.
    pub mode: u32,
    /// User and group; `None` leaves those of the process.
    pub owner: Option<(u32, u32)>,
    /// Modification time in seconds; `None` means now.
    pub mtime: Option<i64>,
}

impl Default for NewDirectory {
    fn default() -> Self {
        Self {
            mode: 0o755,
            owner: None,
            mtime: None,
        }
    }
}

impl ResolvedPath {
    /// The paths that do not exist, top first.
    pub(crate) fn missing_paths(&self) -> impl Iterator<Item = ImagePath> {
        let names: Vec<&[u8]> = self.path.components().collect();
        let there = names.len() - self.missing;
        (there..names.len()).map(move |depth| ImagePath::from_clean(names[..=depth].join(&b'/')))
    }
}

impl Root {
    /// Opens an existing directory of the host.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LayerError> {
        let path = dir.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| LayerError::io("open", path, error))?;
        Ok(Self {
            dir: Arc::new(dir),
            path: path.to_owned(),
        })
    }

    /// The host path it was opened by, for messages and mounts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of `path`, whose last component is not followed; `None` when it does not exist.
    pub fn stat(&self, path: &ImagePath) -> Result<Option<Stat>, LayerError> {
        if path.is_root() {
            let stat = rustix::fs::fstat(&self.dir).map_err(self.failed("read", path))?;
            return Ok(Some(Stat::from(stat)));
        }
        let Some(parent) = self.find_parent(path)? else {
            return Ok(None);
        };
        stat_at(parent.dir.as_fd(), &parent.name).map_err(self.failed("read", path))
    }

    /// `path` as a layer entry, with link text and extended attributes; `None` when it does not exist or is a
    /// socket. Hard links are not detected: every name is a [`File`](crate::EntryKind::File).
    pub fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, LayerError> {
        let Some(stat) = self.stat(path)? else {
            return Ok(None);
        };
        let (major, minor) = (stat.major, stat.minor);
        let kind = match stat.file_type {
            FileType::File => EntryKind::File { size: stat.size },
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink {
                target: self.read_link(path)?,
            },
            FileType::CharDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => return Ok(None),
        };
        let xattrs = match kind {
            EntryKind::File { .. } | EntryKind::Directory => {
                let file = self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK, false)?;
                metadata::read_xattrs(file.as_fd())
                    .map_err(self.failed("read attributes of", path))?
            }
            _ => crate::Xattrs::new(),
        };
        Ok(Some(Entry {
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            mtime: stat.mtime,
            xattrs,
            ..Entry::new(path.clone(), kind)
        }))
    }

    /// The text of a symlink.
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, LayerError> {
        let parent = self.open_parent(path)?;
        let text = rustix::fs::readlinkat(&parent.dir, name_of(&parent.name), Vec::new())
            .map_err(self.failed("read link", path))?;
        Ok(text.into_bytes())
    }

    /// Follows symlinks inside the root, in the last component as well if `follow_last`; `..` stops at the root, and
    /// takes back the component before it even if that does not exist.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<ResolvedPath, LayerError> {
        lookup::walk(self, path, follow_last, Dots::Text).map(|walked| walked.resolved)
    }

    /// Opens a file for reading; with `follow_last` a symlink is followed inside the root, otherwise it is an error.
    /// A fifo reads as empty.
    pub fn open_file(&self, path: &ImagePath, follow_last: bool) -> Result<File, LayerError> {
        // Without this, an image with a fifo where a file is expected would make us wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = self.open_with(path, flags, follow_last)?;
        Ok(File::from(fd))
    }

    /// The content of a directory in byte order of the names; a symlink to a directory is followed.
    pub fn read_dir(&self, path: &ImagePath) -> Result<Vec<DirEntry>, LayerError> {
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, true)?;
        list(&dir).map_err(self.failed("list", path))
    }

    /// What is in the directory at `path`, each name with its attributes, in byte order; names that vanish meanwhile
    /// are left out. One lookup of the path for all of them.
    pub fn stat_dir(&self, path: &ImagePath) -> Result<Vec<(Vec<u8>, Stat)>, LayerError> {
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, true)?;
        let names = list(&dir).map_err(self.failed("list", path))?;
        let mut found = Vec::with_capacity(names.len());
        for DirEntry { name, .. } in names {
            if let Some(stat) = stat_at(dir.as_fd(), &name).map_err(self.failed("read", path))? {
                found.push((name, stat));
            }
        }
        Ok(found)
    }

    /// Opens the directory that holds `path`, following symlinks on the way; it must exist.
    pub fn open_parent(&self, path: &ImagePath) -> Result<Parent, LayerError> {
        let missing = || LayerError::io("find", self.host(path), io::ErrorKind::NotFound);
        self.find_parent(path)?.ok_or_else(missing)
    }

    /// Makes `path` and what is missing on the way to it, and gives the paths that were made, top first.
    pub fn create_dir_all(
        &self,
        path: &ImagePath,
        new: &NewDirectory,
    ) -> Result<Vec<ImagePath>, LayerError> {
        let found = self.resolve(path.as_bytes(), true)?;
        let mut made = Vec::new();
        for at in found.missing_paths() {
            let parent = self.open_parent(&at)?;
            make_directory(&parent, new).map_err(self.failed("create directory", &at))?;
            made.push(at);
        }
        if made.is_empty() && !self.is_directory(&found.path)? {
            return Err(LayerError::NotADirectory {
                path: found.path,
                wanted: path.clone(),
            });
        }
        Ok(made)
    }

    /// The real path of what is at `path`; `None` when nothing is, as when something on the way is no directory.
    pub(crate) fn existing(
        &self,
        path: &ImagePath,
        follow_last: bool,
    ) -> Result<Option<ImagePath>, LayerError> {
        match self.resolve(path.as_bytes(), follow_last) {
            Err(LayerError::NotADirectory { .. }) => Ok(None),
            found => found.map(|found| (found.missing == 0).then_some(found.path)),
        }
    }

    pub(crate) fn is_directory(&self, path: &ImagePath) -> Result<bool, LayerError> {
        let stat = self.stat(path)?;
        Ok(stat.is_some_and(|stat| stat.file_type == FileType::Directory))
    }

    /// Makes a new empty file with this mode, whatever the umask, and opens it for writing; it must not exist.
    pub fn create_file(&self, path: &ImagePath, mode: u32) -> Result<File, LayerError> {
        let parent = self.open_parent(path)?;
        let failed = self.failed("create", path);
        let file = create_at(parent.dir.as_fd(), &parent.name).map_err(&failed)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(&failed)?;
        Ok(file)
    }

    /// Makes a symlink with this text.
    pub fn symlink(&self, path: &ImagePath, target: &[u8]) -> Result<(), LayerError> {
        let parent = self.open_parent(path)?;
        rustix::fs::symlinkat(name_of(target), &parent.dir, name_of(&parent.name))
            .map_err(self.failed("create symlink", path))
    }

    /// Makes `path` a further name of `existing`, whose last component is not followed.
    pub fn hard_link(&self, path: &ImagePath, existing: &ImagePath) -> Result<(), LayerError> {
        let from = self.open_parent(existing)?;
        let to = self.open_parent(path)?;
        let (old, new) = (name_of(&from.name), name_of(&to.name));
        rustix::fs::linkat(&from.dir, old, &to.dir, new, AtFlags::empty())
            .map_err(self.failed("create hard link", path))
    }

    /// Makes a device node or fifo; other types are an error.
    pub fn mknod(
        &self,
        path: &ImagePath,
        file_type: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<(), LayerError> {
        let parent = self.open_parent(path)?;
        make_node(parent.dir.as_fd(), &parent.name, file_type, mode, device)
            .map_err(self.failed("create device", path))
    }

    /// Renames inside the root; neither last component is followed.
    pub fn rename(&self, from: &ImagePath, to: &ImagePath) -> Result<(), LayerError> {
        let old = self.open_parent(from)?;
        let new = self.open_parent(to)?;
        rustix::fs::renameat(&old.dir, name_of(&old.name), &new.dir, name_of(&new.name))
            .map_err(self.failed("rename", from))
    }

    /// Deletes `path` with all below it, without following symlinks; what does not exist is fine. Paths that `keep`
    /// holds (real paths) and the directories that lead to them stay; says whether everything went.
    pub fn remove_tree(
        &self,
        path: &ImagePath,
        keep: &dyn Fn(&ImagePath) -> bool,
    ) -> Result<bool, LayerError> {
        let Some(stat) = self.stat(path)? else {
            return Ok(true);
        };
        // The root itself always stays, so it is not asked about.
        if !path.is_root() && keep(path) {
            return Ok(false);
        }
        let mut all = true;
        if stat.file_type == FileType::Directory {
            for child in self.list_directory(path)? {
                all &= self.remove_tree(&path.join(&child.name), keep)?;
            }
        }
        if path.is_root() || !all {
            return Ok(all && path.is_root());
        }
        let parent = self.open_parent(path)?;
        let flags = match stat.file_type {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        rustix::fs::unlinkat(&parent.dir, name_of(&parent.name), flags)
            .map_err(self.failed("remove", path))?;
        Ok(true)
    }

    /// As [`Root::read_dir`], but a symlink is not followed.
    pub(crate) fn list_directory(&self, path: &ImagePath) -> Result<Vec<DirEntry>, LayerError> {
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, false)?;
        list(&dir).map_err(self.failed("list", path))
    }

    /// Sets owner, mode, extended attributes and time of what is at the entry's path, in this order
    /// (conformance: G35); gives the attributes that could not be set.
    pub fn set_metadata(&self, entry: &Entry, owners: Owners) -> Result<Vec<Skipped>, LayerError> {
        let (dir, name) = if entry.path.is_root() {
            (Arc::clone(&self.dir), b".".to_vec())
        } else {
            let parent = self.open_parent(&entry.path)?;
            (parent.dir, parent.name)
        };
        set_metadata_at(dir.as_fd(), &name, entry, owners)
            .map_err(self.failed("set attributes of", &entry.path))
    }

    fn open_with(
        &self,
        path: &ImagePath,
        flags: OFlags,
        follow_last: bool,
    ) -> Result<OwnedFd, LayerError> {
        lookup::open(self, path, flags, follow_last)
    }

    /// The parent of `path`; `None` when a directory on the way is missing or is none.
    pub(crate) fn find_parent(&self, path: &ImagePath) -> Result<Option<Parent>, LayerError> {
        lookup::parent(self, path)
    }

    /// A path of the root as the host names it, for messages.
    pub(crate) fn host(&self, path: &ImagePath) -> PathBuf {
        self.path.join(path.as_path())
    }

    fn failed(
        &self,
        operation: &'static str,
        path: &ImagePath,
    ) -> impl Fn(Errno) -> LayerError + use<> {
        let path = self.host(path);
        move |error| LayerError::io(operation, &path, error)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl From<rustix::fs::Stat> for Stat {
    #[expect(
        clippy::unnecessary_cast,
        reason = "the widths differ between architectures"
    )]
    fn from(stat: rustix::fs::Stat) -> Self {
        Self {
            file_type: FileType::of(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: stat.st_mtime as i64,
            mtime_nanos: stat.st_mtime_nsec as u32,
            ctime: stat.st_ctime as i64,
            ctime_nanos: stat.st_ctime_nsec as u32,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
        }
    }
}

impl FileType {
    fn of(file_type: rustix::fs::FileType) -> Self {
        match file_type {
            rustix::fs::FileType::Directory => Self::Directory,
            rustix::fs::FileType::Symlink => Self::Symlink,
            rustix::fs::FileType::CharacterDevice => Self::CharDevice,
            rustix::fs::FileType::BlockDevice => Self::BlockDevice,
            rustix::fs::FileType::Fifo => Self::Fifo,
            rustix::fs::FileType::Socket => Self::Socket,
            rustix::fs::FileType::RegularFile | rustix::fs::FileType::Unknown => Self::File,
        }
    }
}

/// Bytes as a name for a system call.
pub(crate) fn name_of(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Metadata of a name in a directory; `None` when there is no such name.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name_of(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stat::from(stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A new file that only its owner can use until its mode is set.
pub(crate) fn create_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name_of(name), flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// A new device node or fifo.
pub(crate) fn make_node(
    dir: BorrowedFd<'_>,
    name: &[u8],
    file_type: FileType,
    mode: u32,
    (major, minor): (u32, u32),
) -> Result<(), Errno> {
    let file_type = match file_type {
        FileType::CharDevice => rustix::fs::FileType::CharacterDevice,
        FileType::BlockDevice => rustix::fs::FileType::BlockDevice,
        FileType::Fifo => rustix::fs::FileType::Fifo,
        _ => return Err(Errno::INVAL),
    };
    let device = rustix::fs::makedev(major, minor);
    let bits = Mode::from_raw_mode(mode);
    rustix::fs::mknodat(dir, name_of(name), file_type, bits, device)?;
    // The umask had its say in mknod.
    rustix::fs::chmodat(dir, name_of(name), bits, AtFlags::empty())
}

fn make_directory(parent: &Parent, new: &NewDirectory) -> Result<(), Errno> {
    let name = name_of(&parent.name);
    rustix::fs::mkdirat(&parent.dir, name, Mode::RWXU)?;
    if let Some((uid, gid)) = new.owner {
        metadata::chown_at(parent.dir.as_fd(), &parent.name, uid, gid)?;
    }
    let mode = Mode::from_raw_mode(new.mode);
    rustix::fs::chmodat(&parent.dir, name, mode, AtFlags::empty())?;
    match new.mtime {
        Some(mtime) => metadata::set_times_at(parent.dir.as_fd(), &parent.name, mtime),
        None => Ok(()),
    }
}

/// Names and types in an open directory, sorted.
fn list(dir: &OwnedFd) -> Result<Vec<DirEntry>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let file_type = match entry.file_type() {
            rustix::fs::FileType::Unknown => match stat_at(dir.as_fd(), name)? {
                Some(stat) => stat.file_type,
                // Gone since it was listed.
                None => continue,
            },
            known => FileType::of(known),
        };
        entries.push(DirEntry {
            name: name.to_vec(),
            file_type,
        });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A root beside a file that nothing in it may reach.
    fn fixture() -> (tempfile::TempDir, Root) {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("secret"), "outside").unwrap();
        let dir = temp.path().join("root");
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/f"), "inside").unwrap();
        symlink("/a", dir.join("abs")).unwrap();
        symlink("../../../../secret", dir.join("out")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("../../..", dir.join("a/up")).unwrap();
        let root = Root::open(&dir).unwrap();
        (temp, root)
    }

    // conformance: G28
    #[test]
    fn nothing_outside_is_reached() {
        let (_temp, root) = fixture();
        assert!(root.open_file(&"out".into(), true).is_err());
        assert!(root.open_file(&"abs/f".into(), true).is_ok());
        assert!(root.open_file(&"abs".into(), false).is_err());
        let cases = [
            ("abs/f", true, "a/f", 0),
            ("out", true, "secret", 1),
            ("out", false, "out", 0),
            ("a/up/x", true, "x", 1),
            ("/../a/./b", true, "a/b", 0),
        ];
        for (path, follow, expected, missing) in cases {
            let found = root.resolve(path.as_bytes(), follow).unwrap();
            assert_eq!(
                (found.path, found.missing),
                (ImagePath::from(expected), missing),
                "{path}"
            );
        }
        assert!(matches!(
            root.resolve(b"loop/x", true),
            Err(LayerError::SymlinkLoop { .. })
        ));
    }

    // conformance: G28
    #[test]
    fn writing_through_a_link_stays_inside() {
        let (temp, root) = fixture();
        root.create_file(&"a/up/new".into(), 0o640).unwrap();
        let made = temp.path().join("root/new");
        assert_eq!(fs::metadata(made).unwrap().mode() & 0o7777, 0o640);
        let made = root
            .create_dir_all(&"abs/c/d".into(), &NewDirectory::default())
            .unwrap();
        assert_eq!(made, [ImagePath::from("a/c"), ImagePath::from("a/c/d")]);
        assert!(
            root.create_dir_all(&"a/f".into(), &NewDirectory::default())
                .is_err()
        );
        assert!(
            root.create_dir_all(&"a/f/x".into(), &NewDirectory::default())
                .is_err()
        );
    }

    #[test]
    fn a_tree_goes_but_for_what_is_kept() {
        let (temp, root) = fixture();
        fs::write(temp.path().join("root/a/b/keep"), "").unwrap();
        let keep = ImagePath::from("a/b/keep");
        let all = root
            .remove_tree(&ImagePath::root(), &|path| *path == keep)
            .unwrap();
        assert!(!all);
        let left: Vec<String> = fs::read_dir(temp.path().join("root"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left, ["a"]);
        assert!(temp.path().join("root/a/b/keep").exists());
        assert!(!temp.path().join("root/a/f").exists());
        assert!(temp.path().join("secret").exists());
        assert!(root.remove_tree(&"a".into(), &|_| false).unwrap());
    }

    #[test]
    fn listings_are_sorted_and_entries_carry_attributes() {
        let (_temp, root) = fixture();
        let names: Vec<Vec<u8>> = root
            .read_dir(&ImagePath::root())
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, [&b"a"[..], b"abs", b"loop", b"out"]);
        let link = root.entry(&"abs".into()).unwrap().unwrap();
        assert_eq!(
            link.kind,
            EntryKind::Symlink {
                target: b"/a".to_vec()
            }
        );
        assert_eq!(root.entry(&"none".into()).unwrap(), None);
        assert_eq!(root.stat(&"a/f/x".into()).unwrap(), None);
    }
}
