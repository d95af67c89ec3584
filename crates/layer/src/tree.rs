//! The tree a process would see, merged from the headers of an image's layers.
//!
//! No file system is needed: this is what COPY, ADD, WORKDIR and USER look at, and what is walked to copy from a
//! stage that was never unpacked. Merging follows the same rules as [`extract`](crate::extract).

use std::collections::{BTreeMap, VecDeque};

use thiserror::Error;

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
    /// Extended attributes; `None` when there are none.
    pub xattrs: Option<Box<Xattrs>>,
    /// The layer that holds it.
    pub layer: u32,
    /// The path of the entry in that layer that holds the data: for a hard link its target.
    pub source: ImagePath,
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
}

#[derive(Debug, Clone)]
struct Slot {
    node: Node,
    children: BTreeMap<Box<[u8]>, u32>,
}

impl Slot {
    fn is_dir(&self) -> bool {
        matches!(self.node.kind, NodeKind::Directory)
    }
}

/// The slot of the root directory.
const ROOT: u32 = 0;

/// More symlinks on one path than the kernel follows.
const LINK_LIMIT: usize = 40;

/// Where a lookup ended, in slots.
struct Found {
    path: Vec<Vec<u8>>,
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
        let root = Node::of(&Entry::directory(ImagePath::root()), 0, NodeKind::Directory);
        Self {
            slots: vec![Slot {
                node: root,
                children: BTreeMap::new(),
            }],
            free: Vec::new(),
            groups: 0,
        }
    }

    /// Lays the entries of a layer over the tree. Whiteouts and opaque markers delete what lower layers brought, in
    /// whatever order they come (conformance: G32). `layer` must be larger than that of the layers below.
    pub fn apply_layer(
        &mut self,
        layer: u32,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), LayerError> {
        let mut added = Vec::new();
        for entry in entries {
            match entry.kind {
                EntryKind::Whiteout => self.remove(&entry.path)?,
                EntryKind::OpaqueMarker => self.empty(&entry.path)?,
                _ => added.push(entry),
            }
        }
        for entry in added {
            self.add(layer, &entry)?;
        }
        Ok(())
    }

    /// The node at exactly this path; symlinks are not followed anywhere.
    pub fn get(&self, path: &ImagePath) -> Option<&Node> {
        self.slot_at(path).map(|slot| &self.slot(slot).node)
    }

    /// Follows symlinks inside the root, in the last component as well if `follow_last`; `..` stops at the root.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>, TreeError> {
        let found = self.find(path, follow_last)?;
        Ok(Resolved {
            path: ImagePath::from_clean(found.path.join(&b'/')),
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

    fn find(&self, path: &[u8], follow_last: bool) -> Result<Found, TreeError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let mut pending: VecDeque<Vec<u8>> = parts(path).collect();
        let mut at: Vec<(Vec<u8>, Option<u32>)> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            if part == b".." {
                at.pop();
                continue;
            }
            let dir = at.last().map_or(Some(ROOT), |(_, slot)| *slot);
            let Some(dir) = dir else {
                at.push((part, None));
                continue;
            };
            if !self.slot(dir).is_dir() {
                let names: Vec<Vec<u8>> = at.into_iter().map(|(name, _)| name).collect();
                return Err(TreeError::NotADirectory {
                    path: shown(),
                    file: ImagePath::from_clean(names.join(&b'/')),
                });
            }
            let child = self.slot(dir).children.get(part.as_slice()).copied();
            let follow = follow_last || !pending.is_empty();
            if let Some(NodeKind::Symlink { target }) =
                child.map(|child| &self.slot(child).node.kind)
                && follow
            {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(TreeError::Loop { path: shown() });
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                    pending.push_front(part);
                }
                continue;
            }
            at.push((part, child));
        }
        Ok(Found {
            slot: at.last().map_or(Some(ROOT), |(_, slot)| *slot),
            missing: at.iter().filter(|(_, slot)| slot.is_none()).count(),
            path: at.into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// The real path of an entry: symlinks on the way are followed, the last component never (G28).
    fn place(&self, path: &ImagePath) -> Result<Found, LayerError> {
        self.find(path.as_bytes(), false)
            .map_err(|error| match error {
                TreeError::Loop { .. } => LayerError::SymlinkLoop { path: path.clone() },
                TreeError::NotADirectory { file, .. } => LayerError::NotADirectory {
                    path: file,
                    wanted: path.clone(),
                },
            })
    }

    /// A whiteout; one of nothing, or below something that is no directory, is fine (G32).
    fn remove(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let found = match self.place(path) {
            Err(LayerError::NotADirectory { .. }) => return Ok(()),
            found => found?,
        };
        if found.slot.is_some() {
            self.detach(&found.path);
        }
        Ok(())
    }

    /// An opaque marker.
    fn empty(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let found = match self.place(path) {
            Err(LayerError::NotADirectory { .. }) => return Ok(()),
            found => found?,
        };
        if let Some(dir) = found.slot {
            let children = std::mem::take(&mut self.slots[dir as usize].children);
            for child in children.into_values() {
                self.release(child);
            }
        }
        Ok(())
    }

    fn add(&mut self, layer: u32, entry: &Entry) -> Result<(), LayerError> {
        if entry.path.is_root() {
            self.slots[ROOT as usize].node = Node::of(entry, layer, NodeKind::Directory);
            return Ok(());
        }
        let found = self.place(&entry.path)?;
        let node = self.node_of(layer, entry)?;
        if let Some(slot) = found.slot {
            let both = self.slot(slot).is_dir() && matches!(node.kind, NodeKind::Directory);
            if both {
                self.slots[slot as usize].node = node;
                return Ok(());
            }
            self.detach(&found.path);
        }
        let Some((name, above)) = found.path.split_last() else {
            return Ok(());
        };
        let dir = self.make_directories(above, layer);
        let slot = self.allocate(node);
        let children = &mut self.slots[dir as usize].children;
        children.insert(name.as_slice().into(), slot);
        Ok(())
    }

    fn node_of(&mut self, layer: u32, entry: &Entry) -> Result<Node, LayerError> {
        let EntryKind::Hardlink { target } = &entry.kind else {
            let kind = NodeKind::of(&entry.kind);
            return Ok(Node::of(entry, layer, kind));
        };
        let missing = || LayerError::MissingLinkTarget {
            entry: entry.path.clone(),
            target: target.clone(),
        };
        let slot = self.place(target)?.slot.ok_or_else(missing)?;
        let groups = &mut self.groups;
        let node = &mut self.slots[slot as usize].node;
        if let NodeKind::File { links, .. } = &mut node.kind
            && links.is_none()
        {
            *links = Some(LinkGroup(*groups));
            *groups += 1;
        }
        Ok(node.clone())
    }

    /// The directory with these components; missing ones are root's, with mode 0755 (G30).
    fn make_directories(&mut self, path: &[Vec<u8>], layer: u32) -> u32 {
        let mut dir = ROOT;
        for (depth, name) in path.iter().enumerate() {
            let known = self.slot(dir).children.get(name.as_slice()).copied();
            dir = known.unwrap_or_else(|| {
                let path = ImagePath::from_clean(path[..=depth].join(&b'/'));
                let entry = Entry::directory(path);
                let slot = self.allocate(Node::of(&entry, layer, NodeKind::Directory));
                let children = &mut self.slots[dir as usize].children;
                children.insert(name.as_slice().into(), slot);
                slot
            });
        }
        dir
    }

    fn allocate(&mut self, node: Node) -> u32 {
        let slot = Slot {
            node,
            children: BTreeMap::new(),
        };
        if let Some(free) = self.free.pop() {
            self.slots[free as usize] = slot;
            return free;
        }
        self.slots.push(slot);
        // 4 billion files do not fit into memory.
        (self.slots.len() - 1) as u32
    }

    fn detach(&mut self, path: &[Vec<u8>]) {
        let Some((name, above)) = path.split_last() else {
            return;
        };
        let dir = above.iter().try_fold(ROOT, |dir, name| {
            self.slot(dir).children.get(name.as_slice()).copied()
        });
        let Some(dir) = dir else { return };
        let gone = self.slots[dir as usize].children.remove(name.as_slice());
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
            self.free.push(slot);
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
    fn of(entry: &Entry, layer: u32, kind: NodeKind) -> Self {
        Self {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: (!entry.xattrs.is_empty()).then(|| Box::new(entry.xattrs.clone())),
            layer,
            source: entry.path.clone(),
        }
    }
}

/// The components of a path that say something.
fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
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
        assert_eq!(tree.get(&"c".into()).unwrap().source, "a".into());
        assert!(
            TreeIndex::new()
                .apply_layer(0, [link("b", "none")])
                .is_err()
        );
    }
}
