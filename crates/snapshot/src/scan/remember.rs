//! Taking the fingerprints of files that the next comparison cannot judge by their change time.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::prelude::*;

use super::fingerprint::{Fingerprint, hash};
use super::state::{Recent, State};
use super::{Contents, TICK, horizon};
use crate::error::SnapshotError;
use crate::stat::{Inode, Stat};
use crate::tree::{Tree, is_gone};
use crate::write::Opener;
use crate::xattr;

/// More than this is not read to be safe about recent files: by the time it is, the clock has ticked anyway.
const WORTH_READING: u64 = 16 << 20;

/// Takes the fingerprints that the next comparison will need.
///
/// Those of `earlier`, and those the state has already, are used again where the file has not changed since.
pub(super) fn remember(
    tree: &Tree,
    state: &mut State,
    earlier: Option<&State>,
    contents: Contents,
) -> Result<(), SnapshotError> {
    let mut wanted = mem::take(&mut state.recent);
    match contents {
        Contents::Recent => wait_instead(tree, &mut wanted),
        Contents::All => {
            let mut known = Vec::new();
            let now = horizon();
            state.files(|path, stat| {
                let inode = stat.inode();
                let found = state.fingerprints.get(&inode);
                let found = found.or_else(|| earlier?.fingerprints.get(&inode));
                match found {
                    Some(found) if found.ctime == stat.ctime && !now.is_recent(stat.ctime) => {
                        known.push((inode, *found));
                    }
                    _ => wanted.push(Recent {
                        path: path.to_vec(),
                        stat: *stat,
                    }),
                }
            });
            state.fingerprints.extend(known);
        }
    }
    let taken = take_all(tree, &wanted)?;
    state.fingerprints.extend(taken);
    Ok(())
}

/// Forgets files that will be safe once the clock has ticked, and lets it tick, if that is quicker than reading them.
fn wait_instead(tree: &Tree, wanted: &mut Vec<Recent>) {
    let bytes: u64 = wanted.iter().map(|file| file.stat.size).sum();
    if bytes <= WORTH_READING {
        return;
    }
    thread::sleep(TICK);
    let now = horizon();
    let mut opener = Opener::new(tree);
    wanted.retain(|file| {
        let again = opener
            .open_path(&file.path)
            .and_then(|open| Stat::of(&open, c""));
        let rests = again.is_ok_and(|again| {
            again.inode() == file.stat.inode() && again.ctime == file.stat.ctime
        });
        !rests || now.is_recent(file.stat.ctime)
    });
}

fn take_all(tree: &Tree, wanted: &[Recent]) -> Result<Vec<(Inode, Fingerprint)>, SnapshotError> {
    let taken = Mutex::new(Vec::with_capacity(wanted.len()));
    wanted.par_chunks(64).try_for_each(|files| {
        let mut opener = Opener::new(tree);
        for file in files {
            let hashed = opener.open_path(&file.path).and_then(|mut open| {
                let xattrs = xattr::kept(&open)?;
                hash(&mut open, &xattrs)
            });
            match hashed {
                Ok(hash) => {
                    let ctime = file.stat.ctime;
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.push((file.stat.inode(), Fingerprint { ctime, hash }));
                }
                // It vanished, so there is nothing to compare with next time.
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(tree.error("read", &file.path, errno)),
            }
        }
        Ok(())
    })?;
    Ok(taken.into_inner().unwrap_or_else(PoisonError::into_inner))
}
