//! What is remembered of a root: about 110 bytes and the name for each file.

use std::collections::HashMap;

use super::fingerprint::Fingerprint;
use crate::filter::join;
use crate::stat::{Inode, Stat};
use crate::xattr::Attributes;

/// The directories by number; the root is number 0.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) dirs: Vec<Dir>,
    pub(super) fingerprints: HashMap<Inode, Fingerprint>,
    /// Files that changed too shortly before they were looked at.
    pub(super) recent: Vec<Recent>,
}

#[derive(Debug)]
pub(super) struct Recent {
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
}

#[derive(Debug, Default)]
pub(super) struct Dir {
    /// Names, each followed by the target if it is a link's.
    text: Box<[u8]>,
    /// In byte order of the names.
    nodes: Box<[Node]>,
    pub(super) xattrs: Attributes,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    start: u32,
    name: u16,
    target: u16,
    pub(super) what: What,
    pub(super) stat: Stat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing but the name is known, and whatever it is does not count.
    Ignored,
    /// The directory of that number.
    Dir(u32),
    /// Anything else.
    Leaf,
}

/// Builds a [`Dir`]; names must come in order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    text: Vec<u8>,
    nodes: Vec<Node>,
}

impl Builder {
    pub(super) fn push(&mut self, name: &[u8], target: &[u8], what: What, stat: Stat) {
        self.nodes.push(Node {
            start: self.text.len() as u32,
            name: name.len() as u16,
            target: target.len() as u16,
            what,
            stat,
        });
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(target);
    }

    pub(super) fn finish(self, xattrs: Attributes) -> Dir {
        Dir {
            text: self.text.into_boxed_slice(),
            nodes: self.nodes.into_boxed_slice(),
            xattrs,
        }
    }
}

impl Dir {
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn name(&self, node: &Node) -> &[u8] {
        let start = node.start as usize;
        &self.text[start..start + usize::from(node.name)]
    }

    pub(super) fn target(&self, node: &Node) -> &[u8] {
        let start = node.start as usize + usize::from(node.name);
        &self.text[start..start + usize::from(node.target)]
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Node> {
        let at = self
            .nodes
            .binary_search_by(|node| self.name(node).cmp(name))
            .ok()?;
        Some(&self.nodes[at])
    }

    fn remove_dirs(&mut self, gone: &[bool]) {
        let stays = |node: &&Node| match node.what {
            What::Dir(id) => !gone[id as usize],
            _ => true,
        };
        self.nodes = self.nodes.iter().filter(stays).copied().collect();
    }
}

impl State {
    /// Puts the results of a walk in place; directories that are missing vanished while it went on.
    pub(super) fn fill(&mut self, found: Vec<(u32, Dir)>, numbers: u32) {
        let first = self.dirs.len();
        let mut gone = vec![false; numbers as usize];
        gone[first..].fill(true);
        self.dirs.resize_with(numbers as usize, Dir::default);
        for (id, dir) in found {
            gone[id as usize] = false;
            self.dirs[id as usize] = dir;
        }
        if gone.contains(&true) {
            self.dirs.iter_mut().for_each(|dir| dir.remove_dirs(&gone));
        }
    }

    pub(super) fn root(&self) -> Option<&Dir> {
        self.dirs.first()
    }

    pub(super) fn dir(&self, node: &Node) -> Option<&Dir> {
        match node.what {
            What::Dir(id) => self.dirs.get(id as usize),
            _ => None,
        }
    }

    /// Calls `visit` for every regular file with its path.
    pub(super) fn files(&self, mut visit: impl FnMut(&[u8], &Stat)) {
        let mut todo: Vec<(Vec<u8>, &Dir)> = self
            .root()
            .map(|root| (Vec::new(), root))
            .into_iter()
            .collect();
        while let Some((path, dir)) = todo.pop() {
            for node in dir.nodes() {
                let path = join(&path, dir.name(node));
                match self.dir(node) {
                    Some(below) => todo.push((path, below)),
                    None if node.what == What::Leaf && node.stat.is_file() => {
                        visit(&path, &node.stat);
                    }
                    None => {}
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        let mut count = 0;
        let mut todo: Vec<&Dir> = self.root().into_iter().collect();
        while let Some(dir) = todo.pop() {
            count += dir
                .nodes()
                .iter()
                .filter(|node| node.what != What::Ignored)
                .count();
            todo.extend(dir.nodes().iter().filter_map(|node| self.dir(node)));
        }
        count
    }

    /// Whether the tree below a directory holds an ignored path.
    pub(super) fn holds_ignored(&self, dir: &Dir) -> bool {
        let mut todo = vec![dir];
        while let Some(dir) = todo.pop() {
            if dir.nodes().iter().any(|node| node.what == What::Ignored) {
                return true;
            }
            todo.extend(dir.nodes().iter().filter_map(|node| self.dir(node)));
        }
        false
    }
}
