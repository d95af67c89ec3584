//! One entry after the other onto the disk.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::{ExtractOptions, OpaqueXattr, Owners, SkipReason, Skipped, Whiteouts};
use crate::root::{
    create_at, make_node, name_of, set_metadata_at, set_times_at, set_xattrs, stat_at, times,
};
use crate::{Entry, EntryKind, FileType, ImagePath, LayerError, NewDirectory, Parent, Root};

/// The state of one unpacking.
pub(super) struct Unpacker<'a> {
    root: &'a Root,
    options: &'a ExtractOptions<'a>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) unresolved_links: Vec<Entry>,
    /// Names of attributes that were reported as lost.
    lost: HashSet<String>,
    /// Real paths that this layer brought: its own whiteouts leave them alone (G32).
    brought: HashSet<ImagePath>,
    /// Directories with their real paths; what they look like is set when their content is there (G30).
    directories: Vec<(ImagePath, Entry)>,
    /// The directory of the last entry, by the path that the layer has for it.
    last: Option<(Vec<u8>, Parent)>,
    buffer: Vec<u8>,
}

/// Why an entry did not get its place, if that is no error.
enum Refusal {
    Skip(SkipReason),
    Fail(LayerError),
}

impl From<LayerError> for Refusal {
    fn from(error: LayerError) -> Self {
        Self::Fail(error)
    }
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(root: &'a Root, options: &'a ExtractOptions<'a>) -> Self {
        Self {
            root,
            options,
            skipped: Vec::new(),
            unresolved_links: Vec::new(),
            lost: HashSet::new(),
            brought: HashSet::new(),
            directories: Vec::new(),
            last: None,
            buffer: vec![0; 256 * 1024],
        }
    }

    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        if entry.path.is_root() {
            if self.options.root_entry && matches!(entry.kind, EntryKind::Directory) {
                self.directories.push((ImagePath::root(), entry.clone()));
            }
            if matches!(entry.kind, EntryKind::OpaqueMarker) {
                return self.opaque(&ImagePath::root());
            }
            return Ok(());
        }
        match self.place(entry, content) {
            Ok(()) => Ok(()),
            Err(Refusal::Skip(reason)) => {
                self.skip(&entry.path, reason);
                Ok(())
            }
            Err(Refusal::Fail(error)) => Err(error),
        }
    }

    fn skip(&mut self, path: &ImagePath, reason: SkipReason) {
        let path = path.clone();
        self.skipped.push(Skipped { path, reason });
    }

    /// Reports lost attributes once per name, and every lost capability (G34).
    fn report_lost(&mut self, lost: Vec<Skipped>) {
        for skipped in lost {
            let first = match &skipped.reason {
                SkipReason::Xattr { name, .. } => {
                    self.lost.insert(name.clone()) || name == "security.capability"
                }
                _ => true,
            };
            if first {
                self.skipped.push(skipped);
            }
        }
    }

    fn protects(&self, path: &ImagePath) -> bool {
        self.options
            .protected
            .is_some_and(|protected| protected(path))
    }

    /// The directory that an entry goes into, made if it is missing.
    fn parent(&mut self, path: &ImagePath) -> Result<Parent, LayerError> {
        let above = path.parent_bytes().unwrap_or_default();
        if let Some((known, parent)) = &self.last
            && known == above
        {
            let name = path.file_name().unwrap_or_default().to_vec();
            return Ok(Parent {
                name,
                ..parent.clone()
            });
        }
        let dir = ImagePath::from_clean(above);
        if self.root.stat(path)?.is_none() {
            self.make_parents(&dir)?;
        }
        let parent = self.root.open_parent(path)?;
        self.last = Some((above.to_vec(), parent.clone()));
        Ok(parent)
    }

    /// Parents that the layer does not bring: root's, 0755, unless the caller knows better (G30).
    fn make_parents(&mut self, dir: &ImagePath) -> Result<(), LayerError> {
        let made = self.root.create_dir_all(dir, &NewDirectory::default())?;
        for path in made {
            let known = self.options.implied_parent.and_then(|parent| parent(&path));
            if let Some(entry) = known {
                self.directories.push((path, entry));
            }
        }
        Ok(())
    }

    fn place(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Refusal> {
        if matches!(entry.kind, EntryKind::Whiteout) {
            return self.whiteout(&entry.path);
        }
        let parent = self.parent(&entry.path)?;
        let real = parent.path.join(&parent.name);
        if self.protects(&real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        if matches!(entry.kind, EntryKind::OpaqueMarker) {
            return Ok(self.opaque(&real)?);
        }
        let link = match &entry.kind {
            EntryKind::Hardlink { target } => match self.link_source(entry, target, &real)? {
                Some(source) => Some(source),
                None => return Ok(()),
            },
            _ => None,
        };
        self.make_room(entry, &parent, &real)?;
        let done = match &entry.kind {
            EntryKind::File { size } => self.file(entry, *size, &parent, content),
            EntryKind::Directory => self.directory(entry, &parent, &real),
            EntryKind::Symlink { target } => self.symlink(entry, target, &parent),
            _ => match link {
                Some(source) => self.hard_link(&source, &parent),
                None => self.device(entry, &parent),
            },
        };
        done?;
        self.brought.insert(real);
        Ok(())
    }

    fn failed(
        &self,
        operation: &'static str,
        path: &ImagePath,
    ) -> impl Fn(Errno) -> Refusal + use<> {
        let host = self.root.host(path);
        move |error| match error {
            // A mount is in the way (G38).
            Errno::BUSY | Errno::ROFS => Refusal::Skip(SkipReason::Mounted),
            error => Refusal::Fail(LayerError::io(operation, &host, error)),
        }
    }

    /// Removes what stands where the entry goes, unless both are directories (G29).
    fn make_room(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        real: &ImagePath,
    ) -> Result<(), Refusal> {
        let stat =
            stat_at(parent.dir.as_fd(), &parent.name).map_err(self.failed("read", &entry.path))?;
        let Some(stat) = stat else { return Ok(()) };
        if stat.file_type != FileType::Directory {
            // Something other than a directory at this name may have been a way into one.
            self.last = None;
            return rustix::fs::unlinkat(&parent.dir, name_of(&parent.name), AtFlags::empty())
                .map_err(self.failed("replace", &entry.path));
        }
        if matches!(entry.kind, EntryKind::Directory) {
            return Ok(());
        }
        self.last = None;
        let gone = match self.root.remove_tree(real, &|path| self.protects(path)) {
            Err(error) => return Err(busy(error)),
            Ok(gone) => gone,
        };
        if gone {
            Ok(())
        } else {
            Err(Refusal::Skip(SkipReason::Protected))
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        size: u64,
        parent: &Parent,
        content: &mut dyn Read,
    ) -> Result<(), Refusal> {
        let failed = self.failed("create", &entry.path);
        let mut file = create_at(parent.dir.as_fd(), &parent.name).map_err(&failed)?;
        self.copy(entry, size, content, &mut file)?;
        if self.options.owners == Owners::Keep {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::fchown(&file, Some(uid), Some(gid))
                .map_err(self.failed("set owner of", &entry.path))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(&failed)?;
        if !entry.xattrs.is_empty() {
            let lost = set_xattrs(file.as_fd(), entry);
            self.report_lost(lost);
        }
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(&failed)
    }

    fn copy(
        &mut self,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
        file: &mut File,
    ) -> Result<(), LayerError> {
        let mut left = size;
        while left > 0 {
            let want = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = content
                .read(&mut self.buffer[..want])
                .map_err(|error| match error.downcast::<LayerError>() {
                    Ok(error) => error,
                    Err(source) => LayerError::Content {
                        path: entry.path.clone(),
                        source,
                    },
                })?;
            if read == 0 {
                return Err(LayerError::ContentSize {
                    path: entry.path.clone(),
                    expected: size,
                    actual: size - left,
                });
            }
            file.write_all(&self.buffer[..read])
                .map_err(|error| LayerError::io("write", self.root.host(&entry.path), error))?;
            left -= read as u64;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        real: &ImagePath,
    ) -> Result<(), Refusal> {
        match rustix::fs::mkdirat(&parent.dir, name_of(&parent.name), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed("create directory", &entry.path)(error)),
        }
        self.directories.push((real.clone(), entry.clone()));
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, target: &[u8], parent: &Parent) -> Result<(), Refusal> {
        let failed = self.failed("create symlink", &entry.path);
        rustix::fs::symlinkat(name_of(target), &parent.dir, name_of(&parent.name))
            .map_err(&failed)?;
        self.attributes(entry, parent)
    }

    fn device(&mut self, entry: &Entry, parent: &Parent) -> Result<(), Refusal> {
        let (file_type, device) = match entry.kind {
            EntryKind::CharDevice { major, minor } => (FileType::CharDevice, (major, minor)),
            EntryKind::BlockDevice { major, minor } => (FileType::BlockDevice, (major, minor)),
            _ => (FileType::Fifo, (0, 0)),
        };
        if file_type != FileType::Fifo && !self.options.devices {
            return Err(Refusal::Skip(SkipReason::Device));
        }
        let dir = parent.dir.as_fd();
        match make_node(dir, &parent.name, file_type, entry.mode, device) {
            Ok(()) => self.attributes(entry, parent),
            Err(Errno::PERM) => Err(Refusal::Skip(SkipReason::Device)),
            Err(error) => Err(self.failed("create device", &entry.path)(error)),
        }
    }

    /// Owner, mode, attributes and time of something that is no regular file.
    fn attributes(&mut self, entry: &Entry, parent: &Parent) -> Result<(), Refusal> {
        let failed = self.failed("set attributes of", &entry.path);
        let (dir, owners) = (parent.dir.as_fd(), self.options.owners);
        let lost = set_metadata_at(dir, &parent.name, entry, owners).map_err(&failed)?;
        self.report_lost(lost);
        set_times_at(dir, &parent.name, entry.mtime).map_err(&failed)
    }

    /// Where the file is that a hard link shares (G31); `None` when there is nothing to do.
    fn link_source(
        &mut self,
        entry: &Entry,
        target: &ImagePath,
        real: &ImagePath,
    ) -> Result<Option<Parent>, LayerError> {
        let found = self.root.stat(target)?;
        let Some(found) = found else {
            if matches!(self.options.whiteouts, Whiteouts::Overlay(_)) {
                self.unresolved_links.push(entry.clone());
                return Ok(None);
            }
            return Err(LayerError::MissingLinkTarget {
                entry: entry.path.clone(),
                target: target.clone(),
            });
        };
        if found.file_type == FileType::Directory {
            return Err(LayerError::UnsafeEntry {
                entry: entry.path.to_string(),
                reason: "a hard link to a directory",
            });
        }
        // Two names of one file already, as after unpacking a layer twice (G37).
        let same = self.root.stat(real)?;
        if same.is_some_and(|same| (same.dev, same.ino) == (found.dev, found.ino)) {
            return Ok(None);
        }
        self.root.open_parent(target).map(Some)
    }

    fn hard_link(&self, source: &Parent, parent: &Parent) -> Result<(), Refusal> {
        let (old, new) = (name_of(&source.name), name_of(&parent.name));
        rustix::fs::linkat(&source.dir, old, &parent.dir, new, AtFlags::empty())
            .map_err(self.failed("create hard link", &parent.path.join(&parent.name)))
    }

    /// Deletes what lower layers have at `path`, or leaves the mark that overlayfs understands (G32).
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Refusal> {
        if let Whiteouts::Overlay(_) = self.options.whiteouts {
            let parent = self.parent(path)?;
            let there =
                stat_at(parent.dir.as_fd(), &parent.name).map_err(self.failed("read", path))?;
            if there.is_some() {
                return Ok(());
            }
            return rustix::fs::mknodat(
                &parent.dir,
                name_of(&parent.name),
                rustix::fs::FileType::CharacterDevice,
                Mode::empty(),
                rustix::fs::makedev(0, 0),
            )
            .map_err(self.failed("create whiteout", path));
        }
        if self.root.stat(path)?.is_none() {
            return Ok(());
        }
        let parent = self.root.open_parent(path)?;
        let real = parent.path.join(&parent.name);
        self.remove_lower(&real)
    }

    fn remove_lower(&mut self, real: &ImagePath) -> Result<(), Refusal> {
        if self.protects(real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        self.last = None;
        // Directories of this layer go with what lower layers had in them, and are made again.
        let ours: HashSet<&ImagePath> = self.directories.iter().map(|(path, _)| path).collect();
        let keep = |path: &ImagePath| {
            (self.brought.contains(path) && !ours.contains(path)) || self.protects(path)
        };
        self.root.remove_tree(real, &keep).map_err(busy)?;
        for path in ours.into_iter().filter(|path| path.starts_with(real)) {
            self.root.create_dir_all(path, &NewDirectory::default())?;
        }
        Ok(())
    }

    /// Empties a directory of lower content, or marks it for overlayfs (G32).
    fn opaque(&mut self, real: &ImagePath) -> Result<(), LayerError> {
        if let Whiteouts::Overlay(xattr) = self.options.whiteouts {
            let name = match xattr {
                OpaqueXattr::Trusted => "trusted.overlay.opaque",
                OpaqueXattr::User => "user.overlay.opaque",
            };
            self.make_parents(real)?;
            let dir = self.root.open_file(real, false)?;
            return rustix::fs::fsetxattr(&dir, name, b"y", XattrFlags::empty())
                .map_err(|error| LayerError::io("mark as opaque", self.root.host(real), error));
        }
        if self.root.stat(real)?.is_none() {
            return Ok(());
        }
        for child in self.root.read_dir(real)? {
            match self.remove_lower(&real.join(&child.name)) {
                Err(Refusal::Fail(error)) => return Err(error),
                Err(Refusal::Skip(reason)) => self.skip(&real.join(&child.name), reason),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Gives directories their looks, inner ones first, so that no later change touches their times.
    pub(super) fn finish_directories(&mut self) -> Result<(), LayerError> {
        let mut seen = HashSet::new();
        let directories = std::mem::take(&mut self.directories);
        for (real, entry) in directories.into_iter().rev() {
            // The last entry of a name counts; it is met first.
            if !seen.insert(real.clone()) {
                continue;
            }
            let stat = self.root.stat(&real)?;
            if !stat.is_some_and(|stat| stat.file_type == FileType::Directory) {
                continue;
            }
            let entry = Entry {
                path: real.clone(),
                ..entry
            };
            match self.root.set_metadata(&entry, self.options.owners) {
                Ok(lost) => self.report_lost(lost),
                Err(error) => match busy(error) {
                    Refusal::Skip(reason) => self.skip(&real, reason),
                    Refusal::Fail(error) => return Err(error),
                },
            }
        }
        Ok(())
    }
}

/// A mount that is in the way is no error (G38).
fn busy(error: LayerError) -> Refusal {
    match &error {
        LayerError::Io { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::ResourceBusy | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Refusal::Skip(SkipReason::Mounted)
        }
        _ => Refusal::Fail(error),
    }
}
