//! The set of changes and how it is put together.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_layer::{Entry, EntryKind, ImagePath};

use crate::stat::{Inode, Stat};
use crate::tree::Tree;
use crate::xattr::Attributes;

/// What changed in a root: the entries of a layer, and where the content of its files is.
///
/// The entries are sorted as a layer wants them (conformance: G2), the parents of every change are among them (G3),
/// and of the names of one file the first holds the data (G6).
#[derive(Debug)]
pub struct ChangeSet {
    pub(crate) tree: Arc<Tree>,
    pub(crate) entries: Vec<Entry>,
    /// One for each entry.
    pub(crate) details: Vec<Detail>,
}

#[derive(Debug, Clone)]
pub(crate) struct Detail {
    pub(crate) role: Role,
    /// Set for a file that has other names.
    pub(crate) inode: Option<Inode>,
    pub(crate) size: u64,
    /// It is in the set because the file has another name that is new or different.
    joined: bool,
    /// The tree does not have the file under this name, but under another one.
    lent: bool,
    /// That other name, where this one holds the data in the layer.
    pub(crate) data: Option<ImagePath>,
}

impl Detail {
    fn plain(role: Role) -> Self {
        Self {
            role,
            inode: None,
            size: 0,
            joined: false,
            lent: false,
            data: None,
        }
    }
}

/// Why an entry is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A directory that did not change itself.
    Parent,
    /// It differs.
    Changed,
    /// A file of which only the change time or the inode differs for certain: its content may be as before.
    Touched,
    /// Not in the set after all; on its way out.
    Equal,
}

/// One entry before the set is put together; the names of one file are all [`EntryKind::File`] still.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) entry: Entry,
    pub(crate) role: Role,
    pub(crate) inode: Option<Inode>,
}

impl Change {
    /// `None` for what a layer cannot hold.
    pub(crate) fn new(path: Vec<u8>, stat: &Stat, target: Vec<u8>, role: Role) -> Option<Self> {
        let kind = stat.kind(target)?;
        Some(Self {
            entry: entry(path, kind, stat, Attributes::new()),
            role,
            inode: (stat.is_file() && stat.nlink > 1).then(|| stat.inode()),
        })
    }

    pub(crate) fn whiteout(path: Vec<u8>) -> Self {
        Self {
            entry: Entry::whiteout(ImagePath::from_bytes_cleaned(path)),
            role: Role::Changed,
            inode: None,
        }
    }
}

pub(crate) fn entry(path: Vec<u8>, kind: EntryKind, stat: &Stat, xattrs: Attributes) -> Entry {
    Entry {
        path: ImagePath::from_bytes_cleaned(path),
        kind,
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.mtime.sec,
        xattrs,
    }
}

impl ChangeSet {
    /// Puts a set together from changes in walk order.
    pub(crate) fn assemble(tree: Arc<Tree>, changes: Vec<Change>) -> Self {
        let mut set = Self {
            tree,
            entries: Vec::with_capacity(changes.len()),
            details: Vec::with_capacity(changes.len()),
        };
        for change in changes {
            let size = match change.entry.kind {
                EntryKind::File { size } => size,
                _ => 0,
            };
            set.details.push(Detail {
                role: change.role,
                inode: change.inode,
                size,
                joined: false,
                lent: false,
                data: None,
            });
            set.entries.push(change.entry);
        }
        set.tidy();
        set
    }

    /// The entries of the layer, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The files that are in the set for safety only: they were touched, but whether their content or extended
    /// attributes differ from before is not known. [`ChangeSet::settle`] finds out.
    ///
    /// Only a [`Scan`](crate::Scan) has such files; an overlay keeps the earlier content at hand.
    pub fn doubtful(&self) -> impl Iterator<Item = &ImagePath> {
        let pairs = self.entries.iter().zip(&self.details);
        pairs
            .filter(|(_, detail)| detail.role == Role::Touched)
            .map(|(entry, _)| &entry.path)
    }

    /// Drops what is equal and the parents nobody needs any more, then decides which name of a file holds the data.
    pub(crate) fn tidy(&mut self) {
        self.join_names();
        let mut keep = vec![false; self.entries.len()];
        let mut next: Option<&ImagePath> = None;
        for (at, entry) in self.entries.iter().enumerate().rev() {
            keep[at] = match self.details[at].role {
                Role::Equal => false,
                Role::Changed | Role::Touched => true,
                Role::Parent => next.is_some_and(|next| next.starts_with(&entry.path)),
            };
            if keep[at] {
                next = Some(&entry.path);
            }
        }
        let mut flags = keep.iter().copied();
        self.entries.retain(|_| flags.next().unwrap_or(false));
        let mut flags = keep.iter().copied();
        self.details.retain(|_| flags.next().unwrap_or(false));
        self.link();
    }

    /// Where one name of a file is new or different, all its names are in the layer: a link to a name in a lower layer
    /// would be lost with that layer's directory, and a file of its own would be another file (conformance: G7).
    fn join_names(&mut self) {
        let changed: HashSet<Inode> = self
            .details
            .iter()
            .filter(|detail| detail.role == Role::Changed)
            .filter_map(|detail| detail.inode)
            .collect();
        for detail in &mut self.details {
            let with_others = detail.inode.is_some_and(|inode| changed.contains(&inode));
            if with_others && detail.role != Role::Changed {
                detail.role = Role::Changed;
                detail.joined = true;
            }
        }
    }

    /// The names that nothing happened to but that their file has a further one now, or differs under another.
    pub fn joined(&self) -> impl Iterator<Item = &ImagePath> {
        let pairs = self.entries.iter().zip(&self.details);
        pairs
            .filter(|(_, detail)| detail.joined)
            .map(|(entry, _)| &entry.path)
    }

    /// Adds further names of the file `of`, unless something else is recorded at them or on the way to them.
    ///
    /// An overlay copies up the one name of a file that was used, and forgets its others (conformance: G7). Whoever
    /// knows the layers knows those. `directory` gives the entry of a directory above them.
    pub fn add_names(
        &mut self,
        of: &ImagePath,
        names: &[ImagePath],
        mut directory: impl FnMut(&ImagePath) -> Option<Entry>,
    ) {
        let Some(at) = self.find(of) else { return };
        let (like, inode, size) = (
            self.entries[at].clone(),
            self.details[at].inode,
            self.details[at].size,
        );
        for name in names {
            if self.find(name).is_some() || self.hides(name) {
                continue;
            }
            let above = std::iter::successors(name.parent(), ImagePath::parent);
            for dir in above.take_while(|dir| !dir.is_root()) {
                if self.find(&dir).is_none()
                    && let Some(entry) = directory(&dir)
                {
                    self.insert(entry, Detail::plain(Role::Parent));
                }
            }
            let entry = Entry {
                path: name.clone(),
                kind: EntryKind::File { size },
                ..like.clone()
            };
            let detail = Detail {
                inode,
                size,
                lent: true,
                ..Detail::plain(Role::Changed)
            };
            self.insert(entry, detail);
        }
        self.link();
    }

    /// Whether something that is no directory is recorded above `path`.
    fn hides(&self, path: &ImagePath) -> bool {
        std::iter::successors(path.parent(), ImagePath::parent)
            .filter_map(|dir| self.find(&dir))
            .any(|at| !matches!(self.entries[at].kind, EntryKind::Directory))
    }

    fn find(&self, path: &ImagePath) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()
    }

    fn insert(&mut self, entry: Entry, detail: Detail) {
        let at = self
            .entries
            .partition_point(|known| known.path < entry.path);
        self.entries.insert(at, entry);
        self.details.insert(at, detail);
    }

    fn link(&mut self) {
        let mut first: HashMap<Inode, ImagePath> = HashMap::new();
        let mut data: HashMap<Inode, ImagePath> = HashMap::new();
        for (entry, detail) in self.entries.iter().zip(&self.details) {
            if let (Some(inode), false) = (detail.inode, detail.lent) {
                data.entry(inode).or_insert_with(|| entry.path.clone());
            }
        }
        for (entry, detail) in self.entries.iter_mut().zip(&mut self.details) {
            let Some(inode) = detail.inode else { continue };
            if detail.lent {
                detail.data = data.get(&inode).cloned();
            }
            entry.kind = match first.entry(inode) {
                Slot::Occupied(first) => EntryKind::Hardlink {
                    target: first.get().clone(),
                },
                Slot::Vacant(slot) => {
                    slot.insert(entry.path.clone());
                    EntryKind::File { size: detail.size }
                }
            };
        }
    }
}

/// Collects changes in walk order and brings in a directory once something below it changed.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    changes: Vec<Change>,
    /// The directories from the root to here, except those that are collected already.
    open: Vec<Option<Entry>>,
    /// How many of `open`, from the root, are known to be collected.
    flushed: usize,
}

impl Collector {
    /// Goes into a directory; `None` is the root, which is never recorded.
    pub(crate) fn enter(&mut self, directory: Option<Entry>, changed: bool) {
        match directory {
            Some(entry) if changed => {
                self.push(Change {
                    entry,
                    role: Role::Changed,
                    inode: None,
                });
                self.open.push(None);
            }
            directory => self.open.push(directory),
        }
    }

    pub(crate) fn leave(&mut self) {
        self.open.pop();
        self.flushed = self.flushed.min(self.open.len());
    }

    /// Adds a change, after the directories above it, and gives its place.
    pub(crate) fn push(&mut self, change: Change) -> usize {
        for parent in &mut self.open[self.flushed..] {
            if let Some(entry) = parent.take() {
                self.changes.push(Change {
                    entry,
                    role: Role::Parent,
                    inode: None,
                });
            }
        }
        self.flushed = self.open.len();
        self.changes.push(change);
        self.changes.len() - 1
    }

    pub(crate) fn finish(self) -> Vec<Change> {
        self.changes
    }
}
