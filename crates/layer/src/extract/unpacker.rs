//! One entry after the other onto the disk.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, XattrFlags};
use rustix::io::Errno;

use super::{ExtractOptions, OpaqueXattr, Whiteouts};
use crate::holes::HoleWriter;
use crate::limits::{Limit, MAX_TEXT};
use crate::root::{create_at, make_node, name_of, set_metadata, set_metadata_at, stat_at};
use crate::{
    Entry, EntryKind, FileType, ImagePath, LayerError, NewDirectory, Owners, Parent, Root,
    SkipReason, Skipped, Stat,
};

/// The state of one unpacking.
pub(super) struct Unpacker<'a> {
    root: &'a Root,
    options: &'a ExtractOptions<'a>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) unresolved_links: Vec<Entry>,
    /// Names of attributes that were reported as lost.
    lost: HashSet<String>,
    /// Real paths that this layer brought: its own whiteouts leave them alone (G32).
    brought: BTreeSet<ImagePath>,
    /// Bytes of those paths.
    text: u64,
    /// Directories by their real paths; what they look like is set when their content is there (G30).
    directories: BTreeMap<ImagePath, Entry>,
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
            brought: BTreeSet::new(),
            text: 0,
            directories: BTreeMap::new(),
            last: None,
            buffer: vec![0; 256 * 1024],
        }
    }

    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let done = match &entry.kind {
            EntryKind::Whiteout => self.whiteout(&entry.path),
            EntryKind::OpaqueMarker => self.opaque(&entry.path),
            _ if entry.path.is_root() => {
                if self.options.root_entry && entry.kind == EntryKind::Directory {
                    self.looks(&ImagePath::root(), entry.clone());
                }
                Ok(())
            }
            _ => self.place(entry, content),
        };
        match done {
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
    fn parent(&mut self, path: &ImagePath) -> Result<Parent, Refusal> {
        let above = path.parent_bytes().unwrap_or_default();
        let name = path.file_name().unwrap_or_default();
        if let Some((known, parent)) = &self.last
            && known == above
        {
            let name = name.to_vec();
            return Ok(Parent {
                name,
                ..parent.clone()
            });
        }
        let parent = match self.root.find_parent(path) {
            Ok(Some(parent)) => parent,
            // Missing, or only found if `..` takes back what is missing.
            Ok(None) => {
                let dir = self.make_directory(&ImagePath::from_clean(above), path)?;
                self.root.open_parent(&dir.join(name))?
            }
            Err(error) => return Err(on_the_way(error, path).into()),
        };
        self.last = Some((above.to_vec(), parent.clone()));
        Ok(parent)
    }

    /// A directory that the layer does not bring but needs for `wanted`: root's, 0755, unless the caller knows better
    /// (G30). Gives its real path.
    fn make_directory(
        &mut self,
        dir: &ImagePath,
        wanted: &ImagePath,
    ) -> Result<ImagePath, Refusal> {
        let found = self.root.resolve(dir.as_bytes(), true);
        let found = found.map_err(|error| on_the_way(error, wanted))?;
        if found.missing_paths().any(|path| self.protects(&path)) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        // Said on its own, since a directory with a group of its own gives that to what is made in it.
        let keep = self.options.owners == Owners::Keep;
        let new = NewDirectory {
            owner: keep.then_some((0, 0)),
            ..NewDirectory::default()
        };
        let made = self.root.create_dir_all(&found.path, &new);
        for path in made.map_err(|error| on_the_way(error, wanted))? {
            if let Some(entry) = self.implied(&path) {
                self.looks(&path, entry);
            }
        }
        Ok(found.path)
    }

    fn implied(&self, path: &ImagePath) -> Option<Entry> {
        self.options.implied_parent.and_then(|parent| parent(path))
    }

    /// Says what a directory is to look like in the end.
    fn looks(&mut self, real: &ImagePath, entry: Entry) {
        // Its path is the key; there may be very many.
        let path = ImagePath::root();
        self.directories
            .insert(real.clone(), Entry { path, ..entry });
    }

    fn place(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Refusal> {
        let parent = self.parent(&entry.path)?;
        let real = parent.path.join(&parent.name);
        if self.protects(&real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        let source = match &entry.kind {
            EntryKind::Hardlink { target } => match self.link_source(entry, target, &real)? {
                Some(source) => Some(source),
                None => return Ok(()),
            },
            _ => None,
        };
        let hidden = self.make_room(entry, &parent, &real)?;
        match &entry.kind {
            EntryKind::File { size } => self.file(entry, *size, &parent, content)?,
            EntryKind::Directory => self.directory(entry, &parent, &real)?,
            EntryKind::Symlink { target } => self.symlink(entry, target, &parent)?,
            _ => match source {
                Some(source) => self.hard_link(&source, &parent)?,
                None => self.device(entry, &parent)?,
            },
        }
        if hidden && entry.kind == EntryKind::Directory {
            self.mark_opaque(&real)?;
        }
        self.bring(real)?;
        Ok(())
    }

    /// Remembers a path. Through a symlink a short name can have a very long one, as often as the archive likes.
    fn bring(&mut self, real: ImagePath) -> Result<(), LayerError> {
        self.text += real.as_bytes().len() as u64;
        Limit::text(MAX_TEXT).check(self.text)?;
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

    /// Removes what stands where the entry goes, unless both are directories (G29). Says whether that was a whiteout
    /// of this layer in the form of overlayfs.
    fn make_room(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        real: &ImagePath,
    ) -> Result<bool, Refusal> {
        let stat =
            stat_at(parent.dir.as_fd(), &parent.name).map_err(self.failed("read", &entry.path))?;
        let Some(stat) = stat else { return Ok(false) };
        let is_dir = stat.file_type == FileType::Directory;
        if is_dir && entry.kind == EntryKind::Directory {
            return Ok(false);
        }
        // What goes away may have been a way into a directory.
        self.last = None;
        if !is_dir {
            rustix::fs::unlinkat(&parent.dir, name_of(&parent.name), AtFlags::empty())
                .map_err(self.failed("replace", &entry.path))?;
            return Ok(is_whiteout(&stat, self.options.whiteouts));
        }
        self.forget(real);
        let gone = self.root.remove_tree(real, &|path| self.protects(path));
        if gone.map_err(busy)? {
            Ok(false)
        } else {
            Err(Refusal::Skip(SkipReason::Protected))
        }
    }

    /// What this layer had at `real` and below is replaced: a later whiteout or look must not find it.
    fn forget(&mut self, real: &ImagePath) {
        let brought: Vec<ImagePath> = self.brought_from(real).cloned().collect();
        for path in brought {
            self.brought.remove(&path);
        }
        let looks = self.directories.range(real.clone()..).map(|(path, _)| path);
        let looks = looks.take_while(|path| path.starts_with(real));
        for path in looks.cloned().collect::<Vec<_>>() {
            self.directories.remove(&path);
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
        let mut file = create_at(parent.dir.as_fd(), &parent.name).map_err(failed)?;
        self.copy(entry, size, content, &mut file)?;
        let lost = set_metadata(file.as_fd(), entry, self.options.owners)
            .map_err(self.failed("set attributes of", &entry.path))?;
        self.report_lost(lost);
        Ok(())
    }

    fn copy(
        &mut self,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
        file: &mut File,
    ) -> Result<(), LayerError> {
        let failed = |error| LayerError::io("write", self.root.host(&entry.path), error);
        let mut writer = HoleWriter::new(file);
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
            writer.put(&self.buffer[..read]).map_err(failed)?;
            left -= read as u64;
        }
        writer.finish().map_err(failed)
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
        self.looks(real, entry.clone());
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, target: &[u8], parent: &Parent) -> Result<(), Refusal> {
        rustix::fs::symlinkat(name_of(target), &parent.dir, name_of(&parent.name))
            .map_err(self.failed("create symlink", &entry.path))?;
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

    /// Owner, mode and time of something that is no regular file.
    fn attributes(&mut self, entry: &Entry, parent: &Parent) -> Result<(), Refusal> {
        let (dir, owners) = (parent.dir.as_fd(), self.options.owners);
        let lost = set_metadata_at(dir, &parent.name, entry, owners)
            .map_err(self.failed("set attributes of", &entry.path))?;
        self.report_lost(lost);
        Ok(())
    }

    /// Where the file is that a hard link shares (G31); `None` when there is nothing to do.
    fn link_source(
        &mut self,
        entry: &Entry,
        target: &ImagePath,
        real: &ImagePath,
    ) -> Result<Option<Parent>, LayerError> {
        let source = self.root.existing(target, false)?;
        // What goes away to make room for the link is no target.
        let source = source.filter(|source| source == real || !source.starts_with(real));
        let stat = source.as_ref().map(|source| self.root.stat(source));
        let Some((source, found)) = source.zip(stat.transpose()?.flatten()) else {
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
            return Err(LayerError::link_to_directory(&entry.path));
        }
        // Two names of one file already, as after unpacking a layer twice (G37).
        let same = self.root.stat(real)?;
        if same.is_some_and(|same| (same.dev, same.ino) == (found.dev, found.ino)) {
            self.bring(real.clone())?;
            return Ok(None);
        }
        self.root.open_parent(&source).map(Some)
    }

    fn hard_link(&self, source: &Parent, parent: &Parent) -> Result<(), Refusal> {
        let (old, new) = (name_of(&source.name), name_of(&parent.name));
        rustix::fs::linkat(&source.dir, old, &parent.dir, new, AtFlags::empty())
            .map_err(self.failed("create hard link", &parent.path.join(&parent.name)))
    }

    /// Deletes what lower layers have at `path`, or leaves the mark that overlayfs understands (G32).
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Refusal> {
        if let Whiteouts::Overlay(_) = self.options.whiteouts {
            return self.whiteout_node(path);
        }
        match self.root.existing(path, false)? {
            Some(real) => self.delete_lower(&real),
            None => Ok(()),
        }
    }

    fn whiteout_node(&mut self, path: &ImagePath) -> Result<(), Refusal> {
        let parent = self.parent(path)?;
        let real = parent.path.join(&parent.name);
        if self.protects(&real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        let there = stat_at(parent.dir.as_fd(), &parent.name).map_err(self.failed("read", path))?;
        match there.map(|there| there.file_type) {
            // The layer's own; what lower ones have must not show through it.
            Some(FileType::Directory) => self.mark_opaque(&real),
            Some(_) => Ok(()),
            None => {
                let (dir, name) = (parent.dir.as_fd(), &parent.name);
                make_node(dir, name, FileType::CharDevice, 0, WHITEOUT_DEVICE)
                    .map_err(self.failed("create whiteout", path))
            }
        }
    }

    /// Empties a directory of lower content, or marks it for overlayfs (G32). The directory is not the last name in
    /// the layer, the marker's own is, so a link to it is followed (G28).
    fn opaque(&mut self, path: &ImagePath) -> Result<(), Refusal> {
        if let Whiteouts::Overlay(_) = self.options.whiteouts {
            let real = self.make_directory(path, path)?;
            return self.mark_opaque(&real);
        }
        let Some(real) = self.root.existing(path, true)? else {
            return Ok(());
        };
        if !self.root.is_directory(&real)? {
            return Ok(());
        }
        for child in self.root.list_directory(&real)? {
            let child = real.join(&child.name);
            match self.delete_lower(&child) {
                Err(Refusal::Skip(reason)) => self.skip(&child, reason),
                done => done?,
            }
        }
        Ok(())
    }

    fn mark_opaque(&self, real: &ImagePath) -> Result<(), Refusal> {
        let name = match self.options.whiteouts {
            Whiteouts::Apply => return Ok(()),
            Whiteouts::Overlay(OpaqueXattr::Trusted) => "trusted.overlay.opaque",
            Whiteouts::Overlay(OpaqueXattr::User) => "user.overlay.opaque",
        };
        if self.protects(real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        let dir = self.root.open_file(real, false)?;
        rustix::fs::fsetxattr(&dir, name, b"y", XattrFlags::empty())
            .map_err(self.failed("mark as opaque", real))
    }

    /// What this layer brought at and below `real`.
    fn brought_from<'b>(&'b self, real: &'b ImagePath) -> impl Iterator<Item = &'b ImagePath> {
        let from = self.brought.range(real.clone()..);
        from.take_while(move |path| path.starts_with(real))
    }

    /// Deletes what lower layers have at and below `real`.
    fn delete_lower(&mut self, real: &ImagePath) -> Result<(), Refusal> {
        if self.protects(real) {
            return Err(Refusal::Skip(SkipReason::Protected));
        }
        self.last = None;
        if self.brought_from(real).next().is_none() {
            let gone = self.root.remove_tree(real, &|path| self.protects(path));
            return gone.map(drop).map_err(busy);
        }
        if !self.root.is_directory(real)? {
            return Ok(());
        }
        if !self.brought.contains(real) {
            // It is there because of what this layer has in it, and for nothing else any more (G30).
            let implied = self.implied(real);
            self.looks(
                real,
                implied.unwrap_or_else(|| Entry::directory(real.clone())),
            );
        }
        for child in self.root.list_directory(real)? {
            match self.delete_lower(&real.join(&child.name)) {
                // What cannot go stays, and the rest goes.
                Err(Refusal::Skip(_)) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Gives directories their looks, inner ones first, so that no later change touches their times.
    pub(super) fn finish_directories(&mut self) -> Result<(), LayerError> {
        for (real, entry) in std::mem::take(&mut self.directories).into_iter().rev() {
            let entry = Entry {
                path: real,
                ..entry
            };
            match self.root.set_metadata(&entry, self.options.owners) {
                Ok(lost) => self.report_lost(lost),
                Err(error) => match busy(error) {
                    Refusal::Skip(reason) => self.skip(&entry.path, reason),
                    Refusal::Fail(error) => return Err(error),
                },
            }
        }
        Ok(())
    }
}

/// The device number of a whiteout of overlayfs.
const WHITEOUT_DEVICE: (u32, u32) = (0, 0);

fn is_whiteout(stat: &Stat, whiteouts: Whiteouts) -> bool {
    matches!(whiteouts, Whiteouts::Overlay(_))
        && stat.file_type == FileType::CharDevice
        && (stat.major, stat.minor) == WHITEOUT_DEVICE
}

/// Names the entry in an error about the directories on the way to it.
fn on_the_way(error: LayerError, entry: &ImagePath) -> LayerError {
    let wanted = entry.clone();
    match error {
        LayerError::NotADirectory { path, .. } => LayerError::NotADirectory { path, wanted },
        LayerError::SymlinkLoop { .. } => LayerError::SymlinkLoop { path: wanted },
        other => other,
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
