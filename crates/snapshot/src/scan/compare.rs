//! The difference between two states of a root.

use std::cmp::Ordering;
use std::collections::HashMap;

use kiln_layer::EntryKind;
use rayon::prelude::*;
use rustix::fs::FileType;

use super::fingerprint::{self, Fingerprint};
use super::state::{Dir, Node, State, What};
use crate::change::{Change, Collector, Role, entry};
use crate::error::SnapshotError;
use crate::filter::join;
use crate::tree::{Tree, is_gone};
use crate::write::Opener;
use crate::xattr;

/// Changes in walk order; files lack their attributes yet, and some may turn out to be none.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    changes: Vec<Change>,
    /// What the content of a candidate, by its place in `changes`, was before.
    before: HashMap<usize, [u8; 32]>,
}

/// Compares two states without reading any file.
pub(super) fn compare(old: &State, new: &State) -> Candidates {
    let Some(root) = new.root() else {
        return Candidates::default();
    };
    let mut comparison = Comparison {
        old,
        new,
        collector: Collector::default(),
        before: HashMap::new(),
    };
    comparison.run(old.root(), root);
    Candidates {
        changes: comparison.collector.finish(),
        before: comparison.before,
    }
}

struct Comparison<'a> {
    old: &'a State,
    new: &'a State,
    collector: Collector,
    before: HashMap<usize, [u8; 32]>,
}

/// A directory on the way down, and how far its two lists are done.
struct Level<'a> {
    path: Vec<u8>,
    old: Option<&'a Dir>,
    new: &'a Dir,
    old_at: usize,
    new_at: usize,
}

/// A node with the directory that knows its name.
#[derive(Clone, Copy)]
struct Named<'a> {
    dir: &'a Dir,
    node: &'a Node,
}

impl<'a> Named<'a> {
    fn name(self) -> &'a [u8] {
        self.dir.name(self.node)
    }
}

impl<'a> Level<'a> {
    fn new(path: Vec<u8>, old: Option<&'a Dir>, new: &'a Dir) -> Self {
        Self {
            path,
            old,
            new,
            old_at: 0,
            new_at: 0,
        }
    }

    /// The next name, with what it was and what it is.
    fn next(&mut self) -> Option<(Option<Named<'a>>, Option<Named<'a>>)> {
        let named = |dir: &'a Dir, at| dir.nodes().get(at).map(|node| Named { dir, node });
        let old = self.old.and_then(|dir| named(dir, self.old_at));
        let new = named(self.new, self.new_at);
        let order = match (old, new) {
            (Some(old), Some(new)) => old.name().cmp(new.name()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        self.old_at += usize::from(order != Ordering::Greater);
        self.new_at += usize::from(order != Ordering::Less);
        Some((
            old.filter(|_| order != Ordering::Greater),
            new.filter(|_| order != Ordering::Less),
        ))
    }
}

impl<'a> Comparison<'a> {
    fn run(&mut self, old: Option<&'a Dir>, new: &'a Dir) {
        self.collector.enter(None, false);
        let mut stack = vec![Level::new(Vec::new(), old, new)];
        while let Some(level) = stack.last_mut() {
            let Some((old, new)) = level.next() else {
                self.collector.leave();
                stack.pop();
                continue;
            };
            let below = match (old, new) {
                (Some(old), None) => {
                    self.vanish(&level.path, old);
                    None
                }
                (old, Some(new)) => self.pair(&level.path, old, new),
                (None, None) => None,
            };
            stack.extend(below);
        }
    }

    /// Compares what is under one name; gives the directory to go into, if it is one.
    fn pair(&mut self, dir: &[u8], old: Option<Named<'a>>, new: Named<'a>) -> Option<Level<'a>> {
        let is_ignored = |named: Named<'_>| named.node.what == What::Ignored;
        // What was ignored before is unknown, so it cannot be called new (a file system unmounted meanwhile).
        if is_ignored(new) || old.is_some_and(is_ignored) {
            return None;
        }
        let path = join(dir, new.name());
        let Some(now) = self.new.dir(new.node) else {
            self.leaf(path, old, new);
            return None;
        };
        let before = old.and_then(|old| Some((old.node, self.old.dir(old.node)?)));
        let changed = before.is_none_or(|(node, before)| {
            !node.stat.same_owner_and_mode(&new.node.stat) || before.xattrs != now.xattrs
        });
        let entry = entry(
            path.clone(),
            EntryKind::Directory,
            &new.node.stat,
            now.xattrs.clone(),
        );
        self.collector.enter(Some(entry), changed);
        Some(Level::new(path, before.map(|(_, dir)| dir), now))
    }

    fn leaf(&mut self, path: Vec<u8>, old: Option<Named<'_>>, new: Named<'_>) {
        let stat = &new.node.stat;
        let target = new.dir.target(new.node);
        let (role, before) = match old.filter(|old| old.node.stat.same_record(stat)) {
            None => (Role::Changed, None),
            Some(old) if stat.is_file() => {
                let before = &old.node.stat;
                let known = self.old.fingerprints.get(&before.inode());
                let known = known.filter(|known| known.ctime == before.ctime);
                let same = before.inode() == stat.inode() && before.ctime == stat.ctime;
                if same && known.is_none() {
                    return;
                }
                (Role::Touched, known)
            }
            Some(old)
                if stat.file_type() == FileType::Symlink && old.dir.target(old.node) != target =>
            {
                (Role::Changed, None)
            }
            Some(_) => return,
        };
        if let Some(change) = Change::new(path, stat, target.to_vec(), role) {
            let at = self.collector.push(change);
            self.before
                .extend(before.map(|Fingerprint { hash, .. }| (at, *hash)));
        }
    }

    /// Records that a name is gone: one whiteout for a whole tree (conformance: G15), except around ignored paths,
    /// which stay in the image (G26).
    fn vanish(&mut self, dir: &[u8], old: Named<'_>) {
        if old.node.what == What::Ignored {
            return;
        }
        let path = join(dir, old.name());
        match self
            .old
            .dir(old.node)
            .filter(|dir| self.old.holds_ignored(dir))
        {
            None => {
                self.collector.push(Change::whiteout(path));
            }
            // As deep as an ignored path, at most.
            Some(dir) => {
                for node in dir.nodes() {
                    self.vanish(&path, Named { dir, node });
                }
            }
        }
    }
}

/// Reads the attributes of the files, and compares content where it was known before.
pub(super) fn complete(tree: &Tree, candidates: Candidates) -> Result<Vec<Change>, SnapshotError> {
    const CHUNK: usize = 256;
    let Candidates {
        mut changes,
        before,
    } = candidates;
    changes
        .par_chunks_mut(CHUNK)
        .enumerate()
        .try_for_each(|(chunk, changes)| {
            let mut opener = Opener::new(tree);
            for (at, change) in changes.iter_mut().enumerate() {
                if matches!(change.entry.kind, EntryKind::File { .. }) {
                    complete_one(tree, &mut opener, change, before.get(&(chunk * CHUNK + at)))?;
                }
            }
            Ok(())
        })?;
    Ok(changes)
}

fn complete_one(
    tree: &Tree,
    opener: &mut Opener<'_>,
    change: &mut Change,
    before: Option<&[u8; 32]>,
) -> Result<(), SnapshotError> {
    let path = change.entry.path.as_bytes();
    let read = opener.open_path(path).and_then(|mut file| {
        let xattrs = xattr::kept(&file)?;
        let now = before
            .map(|_| fingerprint::hash(&mut file, &xattrs))
            .transpose()?;
        Ok((xattrs, now))
    });
    match read {
        Ok((xattrs, now)) => {
            change.entry.xattrs = xattrs;
            if let Some(now) = now {
                change.role = if before == Some(&now) {
                    Role::Equal
                } else {
                    Role::Changed
                };
            }
        }
        // It vanished while the root was walked (conformance: G22).
        Err(errno) if is_gone(errno) => (change.role, change.inode) = (Role::Equal, None),
        Err(errno) => return Err(tree.error("read", path, errno)),
    }
    Ok(())
}
