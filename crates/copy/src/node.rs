//! From a node of the tree index back to the entry that a layer would hold.

use kiln_layer::{Entry, EntryKind, ImagePath, Node, NodeKind};

/// The node as an entry at `path`; names of one file are all regular files here.
pub fn entry_of(path: ImagePath, node: &Node) -> Entry {
    let kind = match &node.kind {
        NodeKind::File { size, .. } => EntryKind::File { size: *size },
        NodeKind::Directory => EntryKind::Directory,
        NodeKind::Symlink { target } => EntryKind::Symlink {
            target: target.to_vec(),
        },
        NodeKind::CharDevice { major, minor } => EntryKind::CharDevice {
            major: *major,
            minor: *minor,
        },
        NodeKind::BlockDevice { major, minor } => EntryKind::BlockDevice {
            major: *major,
            minor: *minor,
        },
        NodeKind::Fifo => EntryKind::Fifo,
    };
    Entry {
        path,
        kind,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime: node.mtime,
        xattrs: node.xattrs.clone(),
    }
}
