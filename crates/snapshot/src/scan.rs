//! What a step changed in a root without an overlay, found by looking at every file's metadata twice.
//!
//! A file is unchanged if device, inode, change time, size, mode, owner and modification time are what they were. The
//! change time (ctime) is set by the kernel at every change of content or metadata and cannot be set back by a
//! process in the root, so this is as strong as hashing everything (conformance: G20). Two cases need more:
//!
//! - A file that changed so shortly before the walk that a further change may get the very same change time. Its
//!   fingerprint is taken while the root rests, and compared at the next walk. Where that would mean reading much,
//!   the walk waits instead until the clock has moved on.
//! - A file of which the change time or the inode differs, and nothing else that a layer records. Where its
//!   fingerprint from before is known ([`Contents`]) that decides. Otherwise it is recorded, marked as
//!   [doubtful](crate::ChangeSet::doubtful): a superfluous entry is legal, a missing one never is.
//!
//! Directories are always listed and their attributes always read; links' targets are kept. So there is no doubt
//! about anything but files.

mod compare;
mod fingerprint;
mod note;
mod remember;
mod state;
mod walk;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_layer::{Entry, ImagePath, Root};
use rayon::ThreadPool;

use self::state::State;
use crate::change::ChangeSet;
use crate::error::SnapshotError;
use crate::filter::{Filter, Ignored};
use crate::stat::Time;
use crate::tree::Tree;

/// Of which files a [`Scan`] remembers the content, as a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Contents {
    /// Of those whose change time alone cannot be trusted yet: the least that is safe.
    #[default]
    Recent,
    /// Of all files. Every file is read once, and no change is ever [doubtful](crate::ChangeSet::doubtful).
    All,
}

/// The state of a root, for finding what changed since.
#[derive(Debug)]
pub struct Scan {
    filter: Filter,
    contents: Contents,
    pool: Option<Arc<ThreadPool>>,
    state: State,
}

impl Scan {
    /// Looks at everything below `root` that `filter` allows, with `threads` threads (0: the current rayon pool).
    pub fn take(root: &Path, filter: &Filter, threads: usize) -> Result<Self, SnapshotError> {
        Self::take_with(root, filter, threads, Contents::Recent)
    }

    /// Like [`Scan::take`], remembering as much content as `contents` says.
    pub fn take_with(
        root: &Path,
        filter: &Filter,
        threads: usize,
        contents: Contents,
    ) -> Result<Self, SnapshotError> {
        let mut scan = Self {
            filter: filter.clone(),
            contents,
            pool: start_threads(threads)?,
            state: State::default(),
        };
        let tree = Tree::open(root)?;
        scan.state = scan.working(|| {
            let mut state = walk::whole(&tree, &scan.ignored(root)?, horizon())?;
            remember::remember(&tree, &mut state, None, contents)?;
            Ok(state)
        })?;
        Ok(scan)
    }

    /// What changed since the last look. This look becomes the one to compare with next time.
    ///
    /// Nothing below `root` may be running any more. On error the earlier state is kept.
    pub fn diff(&mut self, root: &Path) -> Result<ChangeSet, SnapshotError> {
        let tree = Arc::new(Tree::open(root)?);
        let (state, changes) = self.working(|| {
            let mut state = walk::whole(&tree, &self.ignored(root)?, horizon())?;
            let candidates = compare::compare(&self.state, &state);
            let changes = compare::complete(&tree, candidates)?;
            remember::remember(&tree, &mut state, Some(&self.state), self.contents)?;
            Ok((state, changes))
        })?;
        self.state = state;
        Ok(ChangeSet::assemble(tree, changes))
    }

    /// Takes note of what somebody else just did to the root by unpacking a layer with these entries, so that it is
    /// not taken for a change of the next step.
    ///
    /// Lists only the directories concerned. Other changes there since the last look are taken note of as well, so
    /// this must not come between a step and its [`Scan::diff`]. After an error the scan is of no use any more.
    pub fn note(&mut self, root: &Path, entries: &[Entry]) -> Result<(), SnapshotError> {
        let tree = Tree::open(root)?;
        let ignored = self.ignored(root)?;
        let horizon = horizon();
        let mut state = std::mem::take(&mut self.state);
        let contents = self.contents;
        self.state = self.working(|| {
            if !note::refresh(&tree, &mut state, &ignored, entries, horizon)? {
                state = walk::whole(&tree, &ignored, horizon)?;
            }
            remember::remember(&tree, &mut state, None, contents)?;
            Ok(state)
        })?;
        Ok(())
    }

    /// How many files, directories and links the last look found.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether the root was empty at the last look.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn working<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, SnapshotError> + Send,
    ) -> Result<T, SnapshotError> {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// The filter, with links in the directories above an ignored path followed (conformance: G25).
    fn ignored(&self, root: &Path) -> Result<Ignored, SnapshotError> {
        let below_links = self
            .filter
            .ignore
            .iter()
            .filter(|path| path.components().count() > 1);
        let mut paths = self.filter.ignore.clone();
        if below_links.clone().next().is_some() {
            let root = Root::open(root).map_err(|source| SnapshotError::Resolve {
                root: root.to_path_buf(),
                source,
            })?;
            for path in below_links {
                paths.extend(resolved(&root, path));
            }
        }
        let entered = self.filter.entered.iter();
        let mut ignored = Ignored::new(&paths, !self.filter.cross_mounts);
        ignored.entered = entered.map(|path| path.as_bytes().to_vec()).collect();
        ignored.unseen = self.filter.unseen.iter().cloned().collect();
        Ok(ignored)
    }
}

/// Where an ignored path really is. A path that leads nowhere, or through a file, has nothing to be ignored.
fn resolved(root: &Root, path: &ImagePath) -> Option<ImagePath> {
    root.resolve(path.as_bytes(), false)
        .inspect_err(|error| tracing::debug!(%path, %error, "ignored path does not resolve"))
        .ok()
        .map(|resolved| resolved.path)
}

fn start_threads(threads: usize) -> Result<Option<Arc<ThreadPool>>, SnapshotError> {
    if threads == 0 {
        return Ok(None);
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("scan-{number}"))
        .build()
        .map(|pool| Some(Arc::new(pool)))
        .map_err(|source| SnapshotError::Threads { threads, source })
}

/// The longest time between two ticks of the clock that file times are taken from (`CONFIG_HZ` 100), twice.
const TICK: Duration = Duration::from_millis(20);
/// The same for filesystems that keep whole seconds only (ext4 with small inodes), or two.
const COARSE_TICK: Duration = Duration::from_secs(3);

/// The moments after which a change time is too recent to be trusted.
#[derive(Debug, Clone, Copy)]
struct Horizon {
    fine: Time,
    coarse: Time,
}

/// The horizon of a walk that starts now.
fn horizon() -> Horizon {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let before = |tick| {
        let time = now.saturating_sub(tick);
        Time {
            sec: time.as_secs() as i64,
            nsec: time.subsec_nanos(),
        }
    };
    Horizon {
        fine: before(TICK),
        coarse: before(COARSE_TICK),
    }
}

impl Horizon {
    /// Whether the change time is so late (or in the future) that another change could get the same one.
    fn is_recent(&self, ctime: Time) -> bool {
        // A time without a fraction is most likely one of a filesystem that has none.
        let horizon = if ctime.nsec == 0 {
            self.coarse
        } else {
            self.fine
        };
        ctime >= horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_is_what_the_clock_cannot_tell_apart() {
        let horizon = Horizon {
            fine: Time { sec: 100, nsec: 5 },
            coarse: Time { sec: 98, nsec: 5 },
        };
        let rows: &[(i64, u32, bool)] = &[
            (100, 4, false),
            (100, 5, true),
            (200, 1, true),
            (99, 1, false),
            (99, 0, true),
            (98, 0, false),
        ];
        assert!(!rows.is_empty());
        for (sec, nsec, expected) in rows.iter().copied() {
            assert_eq!(
                horizon.is_recent(Time { sec, nsec }),
                expected,
                "{sec}.{nsec}"
            );
        }
    }
}
