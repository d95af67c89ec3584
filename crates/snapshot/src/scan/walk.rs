//! Looking at every file.
//!
//! Not with `walkdir`, which goes by path and with one thread: here directories are opened one from the other, so that no
//! name is looked up twice and no link leads out of the root, and several threads share them. `tests/benches`, `walk`,
//! has the two side by side.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FileType;

use super::Horizon;
use super::state::{Builder, Dir, Recent, State, What};
use crate::error::{SnapshotError, check_length};
use crate::filter::{Ignored, join};
use crate::jobs;
use crate::stat::Stat;
use crate::tree::{Names, Tree, is_gone, read_link};
use crate::xattr;

/// Looks at the whole tree.
pub(super) fn whole(
    tree: &Tree,
    ignored: &Ignored,
    horizon: Horizon,
) -> Result<State, SnapshotError> {
    let mut state = State::default();
    if !ignored.everything {
        let walk = Walk::new(tree, ignored, horizon, 1);
        let root = Job {
            id: 0,
            path: Vec::new(),
        };
        jobs::run(vec![root], |job, more| walk.visit(&job, more))?;
        walk.finish(&mut state);
    }
    Ok(state)
}

/// A walk over a tree or parts of it.
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    ignored: &'a Ignored,
    horizon: Horizon,
    next: AtomicU32,
    found: Mutex<Findings>,
}

#[derive(Default)]
struct Findings {
    dirs: Vec<(u32, Dir)>,
    recent: Vec<Recent>,
}

/// A directory to visit and the number it gets.
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) path: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// A walk that numbers the directories it finds from `next`.
    pub(super) fn new(tree: &'a Tree, ignored: &'a Ignored, horizon: Horizon, next: u32) -> Self {
        Self {
            tree,
            ignored,
            horizon,
            next: AtomicU32::new(next),
            found: Mutex::default(),
        }
    }

    pub(super) fn visit(&self, job: &Job, more: &mut Vec<Job>) -> Result<(), SnapshotError> {
        let mut recent = Vec::new();
        let Some(dir) = self.list(&job.path, &mut recent, more, |_, _| None)? else {
            return Ok(());
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.dirs.push((job.id, dir));
        found.recent.append(&mut recent);
        Ok(())
    }

    /// Lists one directory; `None` if it is gone. `known` may give the number of a directory that need not be visited.
    pub(super) fn list(
        &self,
        path: &[u8],
        recent: &mut Vec<Recent>,
        more: &mut Vec<Job>,
        known: impl Fn(&[u8], &Stat) -> Option<u32>,
    ) -> Result<Option<Dir>, SnapshotError> {
        check_length(path)?;
        let fail = |operation, errno| self.tree.error(operation, path, errno);
        let fd = match self.tree.open_dir(path) {
            Ok(fd) => fd,
            Err(errno) if is_gone(errno) => return Ok(None),
            Err(errno) => return Err(fail("open the directory", errno)),
        };
        let xattrs =
            xattr::kept(&fd).map_err(|errno| fail("read the extended attributes of", errno))?;
        let names = match Names::read(&fd) {
            Ok(names) => names,
            // It was removed after it was opened.
            Err(errno) if is_gone(errno) => return Ok(None),
            Err(errno) => return Err(fail("list", errno)),
        };
        let ignored = self.ignored.names_in(path);
        let mut builder = Builder::default();
        for name in names.iter() {
            let bytes = name.to_bytes();
            if self.ignored.unseen.contains(bytes) {
                continue;
            }
            if ignored.is_some_and(|names| names.contains(bytes)) {
                builder.push(bytes, &[], What::Ignored, Stat::default());
                continue;
            }
            let looked = Stat::of(&fd, name).and_then(|stat| {
                let is_link = stat.file_type() == FileType::Symlink;
                let target = if is_link {
                    read_link(&fd, name)?
                } else {
                    Vec::new()
                };
                Ok((stat, target))
            });
            let (stat, target) = match looked {
                Ok(looked) => looked,
                Err(errno) if is_gone(errno) => continue,
                Err(errno) => return Err(self.tree.error("stat", &join(path, bytes), errno)),
            };
            let what = match stat.file_type() {
                _ if stat.mount_root && self.ignored.mounts && !self.enters(path, bytes) => {
                    What::Ignored
                }
                FileType::Socket => continue,
                FileType::Directory => What::Dir(known(bytes, &stat).unwrap_or_else(|| {
                    let id = self.next.fetch_add(1, Ordering::Relaxed);
                    let path = join(path, bytes);
                    more.push(Job { id, path });
                    id
                })),
                _ => What::Leaf,
            };
            if what == What::Leaf && stat.is_file() && self.horizon.is_recent(stat.ctime) {
                let path = join(path, bytes);
                recent.push(Recent { path, stat });
            }
            builder.push(bytes, &target, what, stat);
        }
        Ok(Some(builder.finish(xattrs)))
    }

    /// Whether a mount point is a part of the root.
    fn enters(&self, dir: &[u8], name: &[u8]) -> bool {
        let entered = &self.ignored.entered;
        !entered.is_empty() && entered.contains(&join(dir, name))
    }

    pub(super) fn finish(self, state: &mut State) {
        let found = self
            .found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.recent.extend(found.recent);
        state.fill(found.dirs, self.next.into_inner());
    }
}
