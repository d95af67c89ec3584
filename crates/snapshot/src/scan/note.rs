//! Bringing a state up to date after a layer was unpacked, without walking everything.

use std::collections::{BTreeSet, HashSet};

use kiln_layer::{Entry, EntryKind};

use super::Horizon;
use super::state::{Dir, Node, State, What};
use super::walk::Walk;
use crate::error::SnapshotError;
use crate::filter::{Ignored, join, split};
use crate::jobs;
use crate::stat::Stat;
use crate::tree::Tree;

/// Lists the directories that hold the entries anew, and walks those that are new.
///
/// `false` means that this cannot tell everything that changed, and the whole root has to be walked: a path leads
/// through a link, or a file with further names elsewhere was replaced, which moves the change time of those.
pub(super) fn refresh(
    tree: &Tree,
    state: &mut State,
    ignored: &Ignored,
    entries: &[Entry],
    horizon: Horizon,
) -> Result<bool, SnapshotError> {
    let Concerned { listed, replaced } = concerned(entries);
    let first_new = state.dirs.len() as u32;
    let walk = Walk::new(tree, ignored, horizon, first_new);
    let mut new = Vec::new();
    // A directory sorts before what is below it.
    for path in &listed {
        let id = match locate(state, path, first_new) {
            Place::Known(id) => id,
            Place::New => continue,
            Place::Elsewhere => return Ok(false),
        };
        let before = &state.dirs[id as usize];
        let known = |name: &[u8], stat: &Stat| {
            let node = before.get(name)?;
            let same = node.stat.inode() == stat.inode() && !replaced.contains(&join(path, name));
            match node.what {
                What::Dir(id) if same => Some(id),
                _ => None,
            }
        };
        let mut recent = Vec::new();
        let Some(now) = walk.list(path, &mut recent, &mut new, known)? else {
            return Ok(false);
        };
        if cuts_links(state, before, &now) {
            return Ok(false);
        }
        state.recent.append(&mut recent);
        state.dirs[id as usize] = now;
    }
    jobs::run(new, |job, more| walk.visit(&job, more))?;
    walk.finish(state);
    Ok(true)
}

struct Concerned {
    /// Directories to list anew.
    listed: BTreeSet<Vec<u8>>,
    /// Directories that may have been emptied or made anew under the same inode number.
    replaced: HashSet<Vec<u8>>,
}

fn concerned(entries: &[Entry]) -> Concerned {
    let mut concerned = Concerned {
        listed: BTreeSet::new(),
        replaced: HashSet::new(),
    };
    for entry in entries {
        let path = entry.path.as_bytes();
        concerned.above(path);
        match &entry.kind {
            EntryKind::Directory => {
                concerned.listed.insert(path.to_vec());
            }
            EntryKind::Hardlink { target } => concerned.above(target.as_bytes()),
            EntryKind::Whiteout => {
                concerned.replaced.insert(path.to_vec());
            }
            // What it emptied may have been made anew.
            EntryKind::OpaqueMarker => {
                concerned.replaced.insert(path.to_vec());
                concerned.listed.insert(path.to_vec());
            }
            _ => {}
        }
    }
    concerned
}

impl Concerned {
    fn above(&mut self, mut path: &[u8]) {
        while !path.is_empty() {
            path = split(path).0;
            if !self.listed.insert(path.to_vec()) {
                break;
            }
        }
    }
}

enum Place {
    Known(u32),
    /// It is walked whole, with a directory above it or as one.
    New,
    Elsewhere,
}

fn locate(state: &State, path: &[u8], first_new: u32) -> Place {
    let mut at = 0;
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let node = state.dirs.get(at as usize).and_then(|dir| dir.get(name));
        match node.map(|node| node.what) {
            Some(What::Dir(id)) if id >= first_new => return Place::New,
            Some(What::Dir(id)) => at = id,
            Some(What::Ignored) => return Place::New,
            Some(What::Leaf) | None => return Place::Elsewhere,
        }
    }
    if (at as usize) < state.dirs.len() {
        Place::Known(at)
    } else {
        Place::Elsewhere
    }
}

/// Whether a name of a file with several names is gone or leads to another file now.
fn cuts_links(state: &State, before: &Dir, now: &Dir) -> bool {
    let is_same = |node: &Node, new: &Node| match (node.what, new.what) {
        (What::Dir(before), What::Dir(now)) => before == now,
        (What::Dir(_), _) => false,
        _ => node.stat.inode() == new.stat.inode(),
    };
    before.nodes().iter().any(|node| {
        let stays = now
            .get(before.name(node))
            .is_some_and(|new| is_same(node, new));
        !stays && holds_linked(state, node)
    })
}

fn holds_linked(state: &State, node: &Node) -> bool {
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        if node.what == What::Leaf && node.stat.is_file() && node.stat.nlink > 1 {
            return true;
        }
        todo.extend(state.dir(node).into_iter().flat_map(Dir::nodes));
    }
    false
}
