//! The tree a process would see, merged from the headers of an image's layers.
//!
//! No file system is needed: this is what COPY, ADD, WORKDIR and USER look at, and what is walked to copy from a
//! stage that was never unpacked. Merging follows the same rules as [`extract`](crate::extract).

use std::borrow::Borrow;
use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{ArchiveLimits, DIRECTORY, Spent};
use crate::path::{LINK_LIMIT, parts};
use crate::{Entry, EntryKind, ImagePath, LayerError, Xattrs};

/// Nodes with the same group are names of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkGroup(pub u32);

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// Set when it has, or had, further names.
        links: Option<LinkGroup>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The text exactly as stored.
        target: Box<[u8]>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds.
    pub mtime: i64,
    /// Extended attributes, shared with other nodes that have the same.
    pub xattrs: Xattrs,
    /// The layer that holds it.
    pub layer: u32,
    /// See [`Node::source`]; a box, because nearly all have none.
    source: Option<Box<ImagePath>>,
}

impl Node {
    /// The path of the entry in its layer that holds the data: for a hard link its target. `own` is the path of the
    /// node itself, under which most files came.
    pub fn source<'a>(&'a self, own: &'a ImagePath) -> &'a ImagePath {
        self.source.as_deref().unwrap_or(own)
    }
}

/// Where a path leads in the tree.
#[derive(Debug, Clone)]
pub struct Resolved<'a> {
    /// The path without symlinks, as far as it exists; the components that do not exist follow as they were.
    pub path: ImagePath,
    /// What is there; `None` when something is missing.
    pub node: Option<&'a Node>,
    /// How many components at the end do not exist.
    pub missing: usize,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// More than 40 symlinks on the way.
    #[error("too many symbolic links on the way to `{path}`")]
    Loop {
        /// The path as given.
        path: String,
    },
    /// A component that is not the last is no directory.
    #[error("`/{file}` is not a directory, wanted on the way to `{path}`")]
    NotADirectory {
        /// The path as given.
        path: String,
        /// The file in the way.
        file: ImagePath,
    },
}

/// The merged file tree of an image.
#[derive(Debug, Clone)]
pub struct TreeIndex {
    /// Slot 0 is the root directory; slots of removed nodes are used again.
    slots: Vec<Slot>,
    free: Vec<u32>,
    groups: u32,
    /// Layers laid over the root so far.
    applied: u32,
    limits: ArchiveLimits,
    /// Bytes of names, links and attributes in all slots.
    text: u64,
    /// Those of the last entry, which the next one may share.
    xattrs: Xattrs,
}

#[derive(Debug, Clone)]
struct Slot {
    node: Node,
    children: BTreeMap<Box<[u8]>, u32>,
    /// Which of the applied layers has an entry for it, 0 for none: whiteouts of that layer leave it alone. Not the
    /// layer of the node, which for a hard link is that of the file.
    brought: u32,
    /// Its part of [`TreeIndex::text`].
    charged: u32,
}

impl Slot {
    fn is_dir(&self) -> bool {
        matches!(self.node.kind, NodeKind::Directory)
    }
}

/// The slot of the root directory.
const ROOT: u32 = 0;

/// Where a lookup ended.
struct Found {
    /// Without symlinks.
    path: ImagePath,
    slot: Option<u32>,
    missing: usize,
}

impl Default for TreeIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeIndex {
    /// A tree with nothing but its root directory (root:root 0755).
    pub fn new() -> Self {
        let root = Node::implied(0);
        Self {
            slots: vec![Slot {
                node: root,
                children: BTreeMap::new(),
                brought: 0,
                charged: 0,
            }],
            free: Vec::new(),
            groups: 0,
            applied: 0,
            limits: ArchiveLimits::default(),
            text: 0,
            xattrs: Xattrs::new(),
        }
    }

    /// Changes how large the tree may get.
    #[must_use]
    pub fn limited_to(mut self, limits: ArchiveLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lays the entries of a layer over the tree. Whiteouts and opaque markers delete what lower layers brought and
    /// never what this one brings, in whatever order they come (conformance: G32). `layer` must be larger than that
    /// of the layers below.
    pub fn apply_layer<E: Borrow<Entry>>(
        &mut self,
        layer: u32,
        entries: impl IntoIterator<Item = E>,
    ) -> Result<(), LayerError> {
        self.begin_layer();
        for entry in entries {
            self.apply(layer, entry.borrow())?;
        }
        Ok(())
    }

    /// Begins a layer whose entries follow one by one, with [`apply`](Self::apply).
    pub fn begin_layer(&mut self) {
        self.applied += 1;
    }

    /// The next entry of the layer that was begun. In the order of the layer, as they are unpacked: an entry can change
    /// where the names of later ones lead. After an error the tree is of no use.
    pub fn apply(&mut self, layer: u32, entry: &Entry) -> Result<(), LayerError> {
        match entry.kind {
            EntryKind::Whiteout => self.remove(layer, &entry.path),
            EntryKind::OpaqueMarker => self.empty(layer, &entry.path),
            _ => self.add(layer, entry),
        }
    }

    /// The node at exactly this path; symlinks are not followed anywhere.
    pub fn get(&self, path: &ImagePath) -> Option<&Node> {
        self.slot_at(path).map(|slot| &self.slot(slot).node)
    }

    /// Follows symlinks inside the root, in the last component as well if `follow_last`; `..` stops at the root, and
    /// takes back the component before it even if that does not exist.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>, TreeError> {
        let found = self.find(path, follow_last)?;
        Ok(Resolved {
            path: found.path,
            node: found.slot.map(|slot| &self.slot(slot).node),
            missing: found.missing,
        })
    }

    /// Names and nodes in a directory, in byte order; nothing when `path` is no directory.
    pub fn children(&self, path: &ImagePath) -> impl Iterator<Item = (&[u8], &Node)> {
        let dir = self.slot_at(path).map(|slot| self.slot(slot));
        dir.into_iter()
            .flat_map(|dir| &dir.children)
            .map(|(name, slot)| (&**name, &self.slot(*slot).node))
    }

    /// `path` and everything below it, in [`ImagePath`] order.
    pub fn walk(&self, path: &ImagePath) -> impl Iterator<Item = (ImagePath, &Node)> {
        let mut pending: Vec<(ImagePath, u32)> = self
            .slot_at(path)
            .map(|slot| (path.clone(), slot))
            .into_iter()
            .collect();
        std::iter::from_fn(move || {
            let (path, slot) = pending.pop()?;
            let slot = self.slot(slot);
            let below = slot.children.iter().rev();
            pending.extend(below.map(|(name, child)| (path.join(name), *child)));
            Some((path, &slot.node))
        })
    }

    /// Number of nodes, the root included.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Is there nothing but the root?
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    fn slot_at(&self, path: &ImagePath) -> Option<u32> {
        path.components()
            .try_fold(ROOT, |dir, name| self.slot(dir).children.get(name).copied())
    }

    fn find<'a>(&'a self, path: &'a [u8], follow_last: bool) -> Result<Found, TreeError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let joined = |at: &[(&[u8], Option<u32>)]| {
            let names: Vec<&[u8]> = at.iter().map(|(name, _)| *name).collect();
            ImagePath::from_clean(names.join(&b'/'))
        };
        // What is still to go, the next component last.
        let mut pending: Vec<&[u8]> = parts(path).rev().collect();
        let mut at: Vec<(&[u8], Option<u32>)> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            let Some(dir) = at.last().map_or(Some(ROOT), |(_, slot)| *slot) else {
                at.push((part, None));
                continue;
            };
            if !self.slot(dir).is_dir() {
                return Err(TreeError::NotADirectory {
                    path: shown(),
                    file: joined(&at),
                });
            }
            let child = self.slot(dir).children.get(part).copied();
            match child.map(|child| &self.slot(child).node.kind) {
                Some(NodeKind::Symlink { target }) if follow_last || !pending.is_empty() => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(TreeError::Loop { path: shown() });
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    pending.extend(parts(target).rev());
                }
                _ => at.push((part, child)),
            }
        }
        Ok(Found {
            path: joined(&at),
            slot: at.last().map_or(Some(ROOT), |(_, slot)| *slot),
            missing: at.iter().filter(|(_, slot)| slot.is_none()).count(),
        })
    }

    /// The real path of an entry: symlinks on the way are followed, the last component never (G28).
    fn place(&self, path: &ImagePath, follow_last: bool) -> Result<Found, LayerError> {
        self.find(path.as_bytes(), follow_last)
            .map_err(|error| match error {
                TreeError::Loop { .. } => LayerError::SymlinkLoop { path: path.clone() },
                TreeError::NotADirectory { file, .. } => LayerError::NotADirectory {
                    path: file,
                    wanted: path.clone(),
                },
            })
    }

    /// What is at a path; nothing as well when something on the way is no directory.
    fn existing(
        &self,
        path: &ImagePath,
        follow_last: bool,
    ) -> Result<Option<(ImagePath, u32)>, LayerError> {
        match self.place(path, follow_last) {
            Err(LayerError::NotADirectory { .. }) => Ok(None),
            found => found.map(|found| found.slot.map(|slot| (found.path, slot))),
        }
    }

    /// A whiteout; one of nothing is fine (G32).
    fn remove(&mut self, layer: u32, path: &ImagePath) -> Result<(), LayerError> {
        if let Some((path, slot)) = self.existing(path, false)? {
            self.clear_below(layer, slot);
            if self.is_of_this_layer(slot) {
                self.imply(layer, slot);
            } else {
                self.detach(&path);
            }
        }
        Ok(())
    }

    /// An opaque marker; the name of its directory is not the last one in the layer, so it is followed (G28).
    fn empty(&mut self, layer: u32, path: &ImagePath) -> Result<(), LayerError> {
        if let Some((_, slot)) = self.existing(path, true)? {
            self.clear_below(layer, slot);
        }
        Ok(())
    }

    /// Does this layer have an entry for it, or for something below it, once it is cleared?
    fn is_of_this_layer(&self, slot: u32) -> bool {
        let slot = self.slot(slot);
        slot.brought == self.applied || !slot.children.is_empty()
    }

    /// Removes what lower layers have below `top`.
    fn clear_below(&mut self, layer: u32, top: u32) {
        // Parents come before their children here. A layer can nest deeper than the stack, so nothing recurses.
        let mut below = vec![top];
        let mut next = 0;
        while let Some(&slot) = below.get(next) {
            below.extend(self.slot(slot).children.values());
            next += 1;
        }
        for slot in below.into_iter().rev() {
            let mut children = std::mem::take(&mut self.slots[slot as usize].children);
            children.retain(|_, child| {
                let stays = self.is_of_this_layer(*child);
                if stays {
                    self.imply(layer, *child);
                } else {
                    self.give_back(*child);
                }
                stays
            });
            self.slots[slot as usize].children = children;
        }
    }

    /// A deleted directory that holds something of this layer is there because of that alone (G30).
    fn imply(&mut self, layer: u32, slot: u32) {
        let applied = self.applied;
        let slot = &mut self.slots[slot as usize];
        if slot.brought != applied {
            slot.node = Node::implied(layer);
        }
    }

    fn add(&mut self, layer: u32, entry: &Entry) -> Result<(), LayerError> {
        if entry.path.is_root() {
            self.slots[ROOT as usize].node =
                Node::of(entry, &entry.path, layer, NodeKind::Directory);
            return self.charge(ROOT, 0);
        }
        let Found { path, slot, .. } = self.place(&entry.path, false)?;
        let node = self.node_of(layer, entry, &path)?;
        let is_dir = node.kind == NodeKind::Directory;
        let slot = match slot {
            Some(slot) if is_dir && self.slot(slot).is_dir() => {
                self.slots[slot as usize].node = node;
                slot
            }
            other => {
                if other.is_some() {
                    self.detach(&path);
                }
                self.insert(&path, node, layer)?
            }
        };
        self.slots[slot as usize].brought = self.applied;
        self.charge(slot, path.file_name().unwrap_or_default().len())
    }

    /// Counts what a slot holds now, under a name of this length.
    fn charge(&mut self, slot: u32, name: usize) -> Result<(), LayerError> {
        let Slot { node, charged, .. } = &mut self.slots[slot as usize];
        let mut text = name
            + node
                .source
                .as_deref()
                .map_or(0, |path| path.as_bytes().len());
        if let NodeKind::Symlink { target } = &node.kind {
            text += target.len();
        }
        let mut text = text as u64;
        if node.kind == NodeKind::Directory {
            text += DIRECTORY;
        }
        if !node.xattrs.shares_with(&self.xattrs) {
            text += node.xattrs.cost();
            self.xattrs = node.xattrs.clone();
        }
        self.text = self.text + text - u64::from(*charged);
        // What does not fit into 32 bits is beyond any limit.
        *charged = u32::try_from(text).unwrap_or(u32::MAX);
        Spent {
            entries: self.len() as u64,
            text: self.text,
            holes: 0,
        }
        .check(self.limits)
    }

    fn give_back(&mut self, slot: u32) {
        let gone = &mut self.slots[slot as usize];
        self.text -= u64::from(std::mem::take(&mut gone.charged));
        // Nothing it held is needed while the slot waits to be used again.
        gone.node = Node::implied(0);
        self.free.push(slot);
    }

    /// The node for an entry whose real path is `path`.
    fn node_of(&mut self, layer: u32, entry: &Entry, path: &ImagePath) -> Result<Node, LayerError> {
        let EntryKind::Hardlink { target } = &entry.kind else {
            return Ok(Node::of(entry, path, layer, NodeKind::of(&entry.kind)));
        };
        // What goes away to make room for the link is no target.
        let found = self.existing(target, false)?;
        let found = found.filter(|(found, _)| found == path || !found.starts_with(path));
        let Some((found, slot)) = found else {
            return Err(LayerError::MissingLinkTarget {
                entry: entry.path.clone(),
                target: target.clone(),
            });
        };
        if self.slot(slot).is_dir() {
            return Err(LayerError::link_to_directory(&entry.path));
        }
        let node = &mut self.slots[slot as usize].node;
        if let NodeKind::File { links, .. } = &mut node.kind
            && links.is_none()
        {
            *links = Some(LinkGroup(self.groups));
            self.groups += 1;
        }
        let mut node = node.clone();
        if found != *path {
            node.source.get_or_insert_with(|| Box::new(found));
        }
        Ok(node)
    }

    /// Puts a node where nothing is; missing parents are root's, with mode 0755 (G30).
    fn insert(&mut self, path: &ImagePath, node: Node, layer: u32) -> Result<u32, LayerError> {
        let mut dir = ROOT;
        let mut start = 0;
        let bytes = path.as_bytes();
        for (end, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let name = &bytes[start..end];
            dir = match self.slot(dir).children.get(name) {
                Some(known) => *known,
                None => {
                    let made = self.put(dir, name, Node::implied(layer));
                    // One name can imply two thousand directories.
                    self.charge(made, name.len())?;
                    made
                }
            };
            start = end + 1;
        }
        Ok(self.put(dir, &bytes[start..], node))
    }

    fn put(&mut self, dir: u32, name: &[u8], node: Node) -> u32 {
        let slot = self.allocate(node);
        let children = &mut self.slots[dir as usize].children;
        children.insert(name.into(), slot);
        slot
    }

    fn allocate(&mut self, node: Node) -> u32 {
        let slot = Slot {
            node,
            children: BTreeMap::new(),
            brought: 0,
            charged: 0,
        };
        if let Some(free) = self.free.pop() {
            self.slots[free as usize] = slot;
            return free;
        }
        self.slots.push(slot);
        // 4 billion files do not fit into memory.
        (self.slots.len() - 1) as u32
    }

    fn detach(&mut self, path: &ImagePath) {
        let Some((above, name)) = path.parent().zip(path.file_name()) else {
            return;
        };
        let Some(dir) = self.slot_at(&above) else {
            return;
        };
        let gone = self.slots[dir as usize].children.remove(name);
        if let Some(gone) = gone {
            self.release(gone);
        }
    }

    /// Gives back a slot and all below it.
    fn release(&mut self, slot: u32) {
        let mut pending = vec![slot];
        while let Some(slot) = pending.pop() {
            let children = std::mem::take(&mut self.slots[slot as usize].children);
            pending.extend(children.into_values());
            self.give_back(slot);
        }
    }
}

impl NodeKind {
    /// The kind of everything but hard links and markers, which are no nodes of their own.
    fn of(kind: &EntryKind) -> Self {
        match kind {
            EntryKind::File { size } => Self::File {
                size: *size,
                links: None,
            },
            EntryKind::Symlink { target } => Self::Symlink {
                target: target.as_slice().into(),
            },
            EntryKind::CharDevice { major, minor } => Self::CharDevice {
                major: *major,
                minor: *minor,
            },
            EntryKind::BlockDevice { major, minor } => Self::BlockDevice {
                major: *major,
                minor: *minor,
            },
            EntryKind::Fifo => Self::Fifo,
            EntryKind::Directory
            | EntryKind::Hardlink { .. }
            | EntryKind::Whiteout
            | EntryKind::OpaqueMarker => Self::Directory,
        }
    }
}

impl Node {
    fn of(entry: &Entry, real: &ImagePath, layer: u32, kind: NodeKind) -> Self {
        Self {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
            layer,
            source: (entry.path != *real).then(|| Box::new(entry.path.clone())),
        }
    }

    /// A directory that is there because of what is in it (G30).
    fn implied(layer: u32) -> Self {
        Self {
            kind: NodeKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Xattrs::new(),
            layer,
            source: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(layers: &[&[Entry]]) -> TreeIndex {
        let mut tree = TreeIndex::new();
        for (number, entries) in layers.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            tree.apply_layer(number, entries.iter().cloned()).unwrap();
        }
        tree
    }

    fn paths(tree: &TreeIndex) -> Vec<String> {
        tree.walk(&ImagePath::root())
            .skip(1)
            .map(|(path, _)| path.to_string())
            .collect()
    }

    fn link(path: &str, target: &str) -> Entry {
        let target = ImagePath::from(target);
        Entry::new(path, EntryKind::Hardlink { target })
    }

    // conformance: G32
    #[test]
    fn whiteouts_delete_lower_content_whatever_the_order() {
        let base = [
            Entry::directory("d"),
            Entry::file("d/a", 1),
            Entry::file("f", 1),
        ];
        let cases: &[(&[Entry], &[&str])] = &[
            (&[Entry::whiteout("d/a")], &["d", "f"]),
            (&[Entry::whiteout("d")], &["f"]),
            (
                &[Entry::file("f", 2), Entry::whiteout("f")],
                &["d", "d/a", "f"],
            ),
            (&[Entry::whiteout("none/at/all")], &["d", "d/a", "f"]),
            (&[Entry::whiteout("f/x")], &["d", "d/a", "f"]),
            (
                &[
                    Entry::file("d/b", 1),
                    Entry::new("d", EntryKind::OpaqueMarker),
                ],
                &["d", "d/b", "f"],
            ),
        ];
        for (layer, expected) in cases {
            assert_eq!(paths(&tree(&[&base, layer])), *expected, "{layer:?}");
        }
    }

    // conformance: G28 G29 G30
    #[test]
    fn entries_land_where_a_process_would_see_them() {
        let base = [
            Entry::directory("usr"),
            Entry::directory("usr/lib"),
            Entry::symlink("lib", "usr/lib"),
            Entry::symlink("out", "../../.."),
            Entry::file("f", 1),
        ];
        let cases: &[(Entry, &str)] = &[
            (Entry::file("lib/x", 1), "usr/lib/x"),
            (Entry::file("out/y", 1), "y"),
            (Entry::file("new/deep/z", 1), "new/deep/z"),
        ];
        for (entry, expected) in cases {
            let tree = tree(&[&base, std::slice::from_ref(entry)]);
            assert!(tree.get(&ImagePath::from(*expected)).is_some(), "{entry:?}");
        }
        let replaced = tree(&[&base, &[Entry::directory("lib"), Entry::file("usr", 1)]]);
        assert_eq!(paths(&replaced), ["f", "lib", "out", "usr"]);
        let mut tree = tree(&[&base]);
        assert!(tree.apply_layer(1, [Entry::file("f/x", 1)]).is_err());
    }

    // conformance: E15 G33
    #[test]
    fn paths_are_resolved_inside_the_root() {
        let tree = tree(&[&[
            Entry::directory("a"),
            Entry::symlink("abs", "/a"),
            Entry::symlink("dangling", "a/none"),
            Entry::symlink("loop", "loop"),
            Entry::file("a/f", 1),
        ]]);
        let cases = [
            ("/abs/f", true, "a/f", 0),
            ("abs", false, "abs", 0),
            ("../../a", true, "a", 0),
            ("dangling", true, "a/none", 1),
            ("a/x/y", true, "a/x/y", 2),
        ];
        for (path, follow, expected, missing) in cases {
            let found = tree.resolve(path.as_bytes(), follow).unwrap();
            assert_eq!(
                (found.path.to_string(), found.missing),
                (expected.to_owned(), missing)
            );
        }
        assert!(matches!(
            tree.resolve(b"loop/x", true),
            Err(TreeError::Loop { .. })
        ));
        assert!(matches!(
            tree.resolve(b"a/f/x", true),
            Err(TreeError::NotADirectory { .. })
        ));
    }

    // conformance: G6 G31
    #[test]
    fn hard_links_are_names_of_one_file() {
        let tree = tree(&[&[Entry::file("a", 3)], &[link("b", "a"), link("c", "b")]]);
        let group = |name: &str| match tree.get(&ImagePath::from(name)).unwrap().kind {
            NodeKind::File { links, .. } => links,
            _ => None,
        };
        assert!(group("a").is_some());
        assert_eq!(group("a"), group("b"));
        assert_eq!(group("a"), group("c"));
        let own = ImagePath::from("c");
        assert_eq!(tree.get(&own).unwrap().source(&own), &"a".into());
        assert!(
            TreeIndex::new()
                .apply_layer(0, [link("b", "none")])
                .is_err()
        );
    }
}
