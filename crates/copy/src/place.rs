//! Where copied files go: the destination, its parents and what stands there already
//! (conformance E12-E36).

use std::collections::HashMap;
use std::sync::Arc;

use kiln_context::ViewEntry;
use kiln_layer::{Entry, EntryKind, ImagePath, NodeKind, TreeIndex, Xattrs};

use super::items::{Content, Item, Items};
use super::source::Found;
use super::{CopyError, CopyRequest, shown};
use crate::node::entry_of;

/// The mode of directories that a copy makes up (conformance E18, E21).
const NEW_DIR_MODE: u32 = 0o755;

/// The bit of a directory that hands its group, and the bit, to what is made in it.
pub const SETGID: u32 = 0o2000;

/// What a directory that has no source is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MadeFor {
    /// The files of a copy: an octal `--chmod` and `--chown` count (E21).
    Files,
    /// An archive, to be unpacked there: `--chmod` is for files (E39).
    Archive,
    /// An entry of an archive that does not bring its directory (E40).
    Member,
}

/// The destination after resolving it in the image.
#[derive(Debug)]
pub(super) struct Destination {
    /// The path, symlinks followed (E15).
    pub(super) path: ImagePath,
    /// Files go into it under their own names (E13).
    pub(super) is_dir: bool,
}

/// What stands at a path of the image, with this copy's own entries on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    Directory,
    Other,
}

/// Collects the entries of one copy.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    pub(super) request: &'a CopyRequest<'a>,
    pub(super) tree: &'a TreeIndex,
    pub(super) items: Items,
    /// The directories on the way to what is being placed that are not in the layer for their own sake: they come with
    /// the first thing below them.
    above: Vec<Above>,
    /// Which source brought a directory last.
    brought: HashMap<ImagePath, usize>,
}

/// A directory of the source that comes only with something below it.
#[derive(Debug)]
struct Above {
    dir: ViewEntry,
    to: ImagePath,
    done: bool,
}

/// A directory whose entries are being placed.
struct Level {
    children: std::vec::IntoIter<ViewEntry>,
    to: ImagePath,
    /// It is the last of those that come only with something below them.
    waits: bool,
}

/// A source that is being placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'s> {
    /// What paths count from that `--exclude` looks at (E34).
    pub(super) root: &'s ImagePath,
    /// Which names stay names of one file (E25).
    pub(super) group: usize,
}

impl<'a> Placer<'a> {
    pub(super) fn new(request: &'a CopyRequest<'a>, tree: &'a TreeIndex) -> Placer<'a> {
        Placer {
            request,
            tree,
            items: Items::default(),
            above: Vec::new(),
            brought: HashMap::new(),
        }
    }

    /// What the destination is for one source. The sources before it may have made it a file or a directory (E14).
    pub(super) fn destination(&self, found: &Found) -> Result<Destination, CopyError> {
        let path = self.destination_path()?;
        let is_dir = self.is_written_as_directory()
            || self.standing(&path) == Standing::Directory
            || found.makes_directory();
        Ok(Destination { path, is_dir })
    }

    fn destination_path(&self) -> Result<ImagePath, CopyError> {
        let absolute = absolute(self.request.workdir, self.request.destination);
        self.resolve(absolute.as_bytes())
    }

    fn is_written_as_directory(&self) -> bool {
        let written = self.request.destination;
        written.ends_with(b"/")
            || matches!(written, b"." | b"..")
            || written.ends_with(b"/.")
            || written.ends_with(b"/..")
    }

    /// Whether the destination is a directory whatever comes, so that several sources do not meet at one path (E14).
    pub(super) fn has_room_for_several(&self) -> Result<bool, CopyError> {
        Ok(self.request.parents
            || self.is_written_as_directory()
            || self.standing(&self.destination_path()?) == Standing::Directory)
    }

    fn resolve(&self, path: &[u8]) -> Result<ImagePath, CopyError> {
        let resolved = self
            .tree
            .resolve(path, true)
            .map_err(|source| CopyError::Destination {
                path: String::from_utf8_lossy(path).into_owned(),
                source,
            })?;
        Ok(resolved.path)
    }

    pub(super) fn standing(&self, path: &ImagePath) -> Standing {
        if path.is_root() {
            return Standing::Directory;
        }
        if let Some(item) = self.items.get(path) {
            return match item.entry.kind {
                EntryKind::Directory => Standing::Directory,
                _ => Standing::Other,
            };
        }
        match self.tree.get(path) {
            None => Standing::Nothing,
            Some(node) if matches!(node.kind, NodeKind::Directory) => Standing::Directory,
            Some(_) => Standing::Other,
        }
    }

    /// `--parents`: the path below `root` is recreated below the destination (E33).
    pub(super) fn place_with_parents(
        &mut self,
        root: &ViewEntry,
        entry: &ViewEntry,
        group: usize,
        into: &Destination,
    ) -> Result<(), CopyError> {
        self.parents_root(root, into)?;
        let source = Source {
            root: &root.entry.path,
            group,
        };
        let relative = below(source.root, &entry.entry.path).unwrap_or_default();
        let names: Vec<&[u8]> = relative
            .split(|b| *b == b'/')
            .filter(|name| !name.is_empty())
            .collect();
        let Some((name, dirs)) = names.split_last() else {
            return self.place_children(source, entry, &into.path);
        };
        let (mut from, mut to) = (source.root.clone(), into.path.clone());
        for dir in dirs {
            (from, to) = (from.join(dir), to.join(dir));
            let Some(dir) = self.request.view.lstat(&from)? else {
                continue;
            };
            self.above.push(Above {
                dir,
                to: to.clone(),
                done: false,
            });
        }
        let placed = self.place_below(source, entry, &to.join(name));
        self.above.clear();
        placed
    }

    /// The destination of `--parents` is a directory, even if nothing comes into it. The context's own time is nobody's
    /// business.
    pub(super) fn parents_root(
        &mut self,
        root: &ViewEntry,
        into: &Destination,
    ) -> Result<(), CopyError> {
        let of_context = root.entry.path.is_root() && !self.request.keep_owner;
        let mtime = (!of_context).then_some(root.entry.mtime);
        self.directory_itself(&into.path, mtime, MadeFor::Files)
    }

    pub(super) fn place_children(
        &mut self,
        source: Source<'_>,
        dir: &ViewEntry,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        let top = self.level(dir, to, false)?;
        self.place_levels(source, top)
    }

    fn place_below(
        &mut self,
        source: Source<'_>,
        entry: &ViewEntry,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        match self.place_one(source, entry, to)? {
            Some(top) => self.place_levels(source, top),
            None => Ok(()),
        }
    }

    /// Places what is in a directory, and below. Trees can be deeper than the stack, so nothing recurses.
    fn place_levels(&mut self, source: Source<'_>, top: Level) -> Result<(), CopyError> {
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            let Some(child) = level.children.next() else {
                if level.waits {
                    self.above.pop();
                }
                levels.pop();
                continue;
            };
            let to = level
                .to
                .join(child.entry.path.file_name().unwrap_or_default());
            levels.extend(self.place_one(source, &child, &to)?);
        }
        Ok(())
    }

    fn level(&self, dir: &ViewEntry, to: &ImagePath, waits: bool) -> Result<Level, CopyError> {
        Ok(Level {
            children: self.request.view.read_dir(&dir.entry.path)?.into_iter(),
            to: to.clone(),
            waits,
        })
    }

    /// One entry below the top: nothing is followed any more (E17), source attributes are taken over (E20), `--exclude`
    /// is matched relative to the source's root (E34). Gives what is in it, if it is a directory.
    fn place_one(
        &mut self,
        source: Source<'_>,
        entry: &ViewEntry,
        to: &ImagePath,
    ) -> Result<Option<Level>, CopyError> {
        let relative = below(source.root, &entry.entry.path).unwrap_or_default();
        let excludes = self.request.excludes;
        let excluded = !relative.is_empty() && excludes.is_excluded(relative);
        if excluded && !(entry.is_dir() && excludes.may_include_below(relative)) {
            return Ok(None);
        }
        if excluded {
            // The directory itself comes only with something that stays below it.
            self.above.push(Above {
                dir: entry.clone(),
                to: to.clone(),
                done: false,
            });
            return self.level(entry, to, true).map(Some);
        }
        self.bring_above(source)?;
        if entry.is_dir() {
            self.directory_below(source.group, entry, to)?;
            return self.level(entry, to, false).map(Some);
        }
        if self.standing(to) == Standing::Directory {
            return Err(CopyError::ReplaceDirectory { path: shown(to) });
        }
        let item = self.copied(source.group, entry, to.clone());
        self.put(item)?;
        Ok(None)
    }

    /// Something comes, and with it the directories above it that are there for its sake: as they are in the source if
    /// they are new, and otherwise as they are (E33).
    fn bring_above(&mut self, source: Source<'_>) -> Result<(), CopyError> {
        for at in 0..self.above.len() {
            let Above { dir, to, done } = &mut self.above[at];
            if std::mem::replace(done, true) {
                continue;
            }
            let (dir, to) = (dir.clone(), to.clone());
            match self.standing(&to) {
                Standing::Other => return Err(CopyError::NotADirectory { path: shown(&to) }),
                Standing::Nothing => self.directory_below(source.group, &dir, &to)?,
                Standing::Directory => {
                    self.parents(&to, MadeFor::Files)?;
                    self.keep_directory(&to, None);
                    self.share(source.group, &dir, &to);
                }
            }
        }
        Ok(())
    }

    /// A directory that another source brought has the mode it has in the source, whatever `--chmod` says: that is for
    /// what is copied, and here BuildKit only makes sure of the way.
    fn share(&mut self, group: usize, dir: &ViewEntry, to: &ImagePath) {
        let before = self.brought.insert(to.clone(), group);
        if before.is_some_and(|before| before != group)
            && self.tree.get(to).is_none()
            && let Some(item) = self.items.get_mut(to)
        {
            item.entry.mode = dir.entry.mode;
        }
    }

    fn directory_below(
        &mut self,
        group: usize,
        dir: &ViewEntry,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        if self.standing(to) == Standing::Other {
            return Err(CopyError::NotADirectory { path: shown(to) });
        }
        self.brought.insert(to.clone(), group);
        let item = self.copied(group, dir, to.clone());
        self.put(item)
    }

    /// A single file, under its own name in a directory or as the destination itself (E13).
    pub(super) fn place_file(
        &mut self,
        name: &[u8],
        mut item: Item,
        into: &Destination,
    ) -> Result<(), CopyError> {
        let path = if into.is_dir {
            self.parents(&into.path, MadeFor::Files)?;
            match self.standing(&into.path) {
                Standing::Other => {
                    return Err(CopyError::DestinationIsFile {
                        path: shown(&into.path),
                    });
                }
                Standing::Nothing => {
                    self.new_directory(&into.path, self.request.now, MadeFor::Files);
                }
                Standing::Directory => self.keep_directory(&into.path, None),
            }
            into.path.join(name)
        } else {
            into.path.clone()
        };
        if self.standing(&path) == Standing::Directory {
            return Err(CopyError::ReplaceDirectory { path: shown(&path) });
        }
        item.entry.path = path;
        self.put(item)
    }

    /// The top destination as a directory: made with 0755, or kept, with the source's time if it has one (E18, E19).
    pub(super) fn directory_itself(
        &mut self,
        path: &ImagePath,
        mtime: Option<i64>,
        made_for: MadeFor,
    ) -> Result<(), CopyError> {
        self.parents(path, made_for)?;
        match self.standing(path) {
            Standing::Other => return Err(CopyError::NotADirectory { path: shown(path) }),
            Standing::Nothing => {
                self.new_directory(path, mtime.unwrap_or(self.request.now), made_for);
            }
            Standing::Directory => self.keep_directory(path, mtime),
        }
        Ok(())
    }

    fn put(&mut self, item: Item) -> Result<(), CopyError> {
        self.parents(&item.entry.path, MadeFor::Files)?;
        self.items.put(item);
        Ok(())
    }

    /// Brings the directories above `path` into the layer: existing ones as they are (G3), missing
    /// ones made up (E21).
    pub(super) fn parents(&mut self, path: &ImagePath, made_for: MadeFor) -> Result<(), CopyError> {
        let mut above: Vec<ImagePath> = std::iter::successors(path.parent(), ImagePath::parent)
            .take_while(|dir| !dir.is_root() && !self.items.contains(dir))
            .collect();
        // The first one that is there already has to be a directory, and the rest may be missing.
        let known = above.last().unwrap_or(path).parent();
        let missing = std::iter::from_fn(|| above.pop());
        for dir in known.into_iter().chain(missing) {
            match self.standing(&dir) {
                Standing::Other => return Err(CopyError::NotADirectory { path: shown(&dir) }),
                Standing::Nothing => self.new_directory(&dir, self.request.now, made_for),
                Standing::Directory if self.items.contains(&dir) => {}
                Standing::Directory => self.keep_directory(&dir, None),
            }
        }
        Ok(())
    }

    fn new_directory(&mut self, path: &ImagePath, mtime: i64, made_for: MadeFor) {
        let ((uid, gid), mode) = match made_for {
            MadeFor::Files => {
                // Only an octal mode says what a directory without a source should have, and of it only what mkdir(2)
                // takes (E21).
                let mode = match self.request.chmod {
                    Some(chmod) if chmod.is_octal() => chmod.apply(NEW_DIR_MODE, true) & 0o777,
                    _ => NEW_DIR_MODE,
                };
                self.inherited(path, mode)
            }
            MadeFor::Archive => self.inherited(path, NEW_DIR_MODE),
            MadeFor::Member => ((0, 0), self.inherited(path, NEW_DIR_MODE).1),
        };
        self.items.put(Item {
            entry: Entry {
                path: path.clone(),
                kind: EntryKind::Directory,
                mode,
                uid,
                gid,
                mtime,
                xattrs: Xattrs::default(),
            },
            content: Content::None,
            link: None,
        });
    }

    /// Owner and mode of a directory that is made at `path`: one with the set-group-id bit above it gives it its group
    /// and the bit.
    fn inherited(&self, path: &ImagePath, mode: u32) -> ((u32, u32), u32) {
        let above = path.parent().unwrap_or_else(ImagePath::root);
        let (above_mode, above_gid) = match (self.items.get(&above), self.tree.get(&above)) {
            (Some(item), _) => (item.entry.mode, item.entry.gid),
            (None, Some(node)) => (node.mode, node.gid),
            (None, None) => (NEW_DIR_MODE, 0),
        };
        let bit = above_mode & SETGID;
        let gid = if bit == 0 { 0 } else { above_gid };
        (self.request.owner.unwrap_or((0, gid)), mode | bit)
    }

    /// An existing directory comes along as it is, with a new time if one is given (E19).
    fn keep_directory(&mut self, path: &ImagePath, mtime: Option<i64>) {
        if path.is_root() {
            return;
        }
        let mut entry = match (self.items.get(path), self.tree.get(path)) {
            (Some(item), _) => item.entry.clone(),
            (None, Some(node)) => entry_of(path.clone(), node),
            (None, None) => return,
        };
        if let Some(mtime) = mtime {
            entry.mtime = mtime;
        }
        self.items.put(Item {
            entry,
            content: Content::None,
            link: None,
        });
    }

    /// The entry of the view as it will be in the layer, at `to`.
    pub(super) fn copied(&self, group: usize, from: &ViewEntry, to: ImagePath) -> Item {
        let request = self.request;
        let mut entry = from.entry.clone();
        let content = match entry.kind {
            EntryKind::File { size } if size > 0 => {
                Content::View(Arc::clone(request.view), entry.path.clone())
            }
            _ => Content::None,
        };
        let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
        entry.path = to;
        let own = if request.keep_owner {
            (entry.uid, entry.gid)
        } else {
            entry.xattrs.clear();
            (0, 0)
        };
        (entry.uid, entry.gid) = request.owner.unwrap_or(own);
        if let (Some(chmod), false) = (request.chmod, is_link) {
            entry.mode = chmod.apply(entry.mode, matches!(entry.kind, EntryKind::Directory));
        }
        Item {
            entry,
            content,
            link: from.link.map(|id| (group, id)),
        }
    }

    /// A file that has no source entry: heredocs and downloads belong to root unless told otherwise.
    pub(super) fn fresh_file(&self, mode: u32, size: u64, mtime: i64) -> Entry {
        let (uid, gid) = self.request.owner.unwrap_or((0, 0));
        let mode = self
            .request
            .chmod
            .map_or(mode, |chmod| chmod.apply(mode, false));
        Entry {
            path: ImagePath::root(),
            kind: EntryKind::File { size },
            mode,
            uid,
            gid,
            mtime,
            xattrs: Xattrs::default(),
        }
    }

    pub(super) fn finish(mut self) -> Items {
        self.items.link_up();
        self.items
    }
}

/// `path` relative to `root`, if it is there or below.
fn below<'p>(root: &ImagePath, path: &'p ImagePath) -> Option<&'p [u8]> {
    let rest = path.as_bytes().strip_prefix(root.as_bytes())?;
    if root.is_root() || rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(b"/")
}

/// A destination as written, joined to the working directory if it is relative; `..` takes away what stands before it,
/// symlink or not (E12).
fn absolute(workdir: &[u8], path: &[u8]) -> ImagePath {
    if path.starts_with(b"/") {
        ImagePath::from_bytes_cleaned(path)
    } else {
        ImagePath::from_bytes_cleaned([workdir, b"/", path].concat())
    }
}
