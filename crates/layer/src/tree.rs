//! The tree a process would see, merged from the headers of an image's layers.
//!
//! No file system is needed: this is what COPY, ADD, WORKDIR and USER look at, and what is walked to copy from a
//! stage that was never unpacked. Merging follows the same rules as [`extract`](crate::extract).

use thiserror::Error;

use crate::{Entry, ImagePath, LayerError, Xattrs};

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
#[derive(Debug, Clone, Default)]
pub struct TreeIndex {
    nodes: Vec<Node>,
}

impl TreeIndex {
    /// A tree with nothing but its root directory (root:root 0755).
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays the entries of a layer over the tree. Whiteouts and opaque markers delete what lower layers brought, in
    /// whatever order they come (conformance: G32). `layer` must be larger than that of the layers below.
    pub fn apply_layer(
        &mut self,
        layer: u32,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), LayerError> {
        let _ = (layer, entries.into_iter());
        todo!()
    }

    /// The node at exactly this path; symlinks are not followed anywhere.
    pub fn get(&self, path: &ImagePath) -> Option<&Node> {
        let _ = path;
        self.nodes.first()
    }

    /// Follows symlinks inside the root, in the last component as well if `follow_last`; `..` stops at the root.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>, TreeError> {
        let _ = (path, follow_last);
        todo!()
    }

    /// Names and nodes in a directory, in byte order; nothing when `path` is no directory.
    pub fn children(&self, path: &ImagePath) -> impl Iterator<Item = (&[u8], &Node)> {
        let _ = path;
        self.nodes.iter().map(|node| (&[][..], node))
    }

    /// `path` and everything below it, in [`ImagePath`] order.
    pub fn walk(&self, path: &ImagePath) -> impl Iterator<Item = (ImagePath, &Node)> {
        self.nodes.iter().map(|node| (path.clone(), node))
    }

    /// Number of nodes, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Is there nothing but the root?
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }
}
