//! The container's own `/` as the root: the only way to RUN where no mount is allowed. One stage at a time
//! has it, and the next one finds it empty again (conformance C23).

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use kiln_layer::{ImagePath, Root};
use kiln_sandbox::{RunRoot, SandboxMount, mount_points};
use kiln_snapshot::{ChangeSet, Filter};

use super::placed::Placed;
use super::plain::Tracked;
use super::{RootError, Roots};
use crate::layers::Layer;

/// Who has `/` now.
#[derive(Debug, Default)]
pub(super) struct Floor {
    state: Mutex<FloorState>,
    free: Condvar,
}

impl Floor {
    /// `used` says that `/` is not as it was found.
    pub(super) fn new(used: bool) -> Floor {
        Floor {
            state: Mutex::new(FloorState { taken: false, used }),
            free: Condvar::new(),
        }
    }

    /// Whether a stage has unpacked into `/`.
    pub(super) fn is_used(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.used
    }
}

#[derive(Debug, Default)]
struct FloorState {
    taken: bool,
    /// A stage has unpacked into `/` before.
    used: bool,
}

/// `/`, for as long as a stage needs it.
#[derive(Debug)]
pub(crate) struct InPlaceRoot {
    roots: Arc<Roots>,
    root: Root,
    keep: Arc<Kept>,
    tracked: Tracked,
}

impl Drop for InPlaceRoot {
    fn drop(&mut self) {
        let floor = &self.roots.in_place;
        let mut state = floor.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = false;
        floor.free.notify_one();
    }
}

impl InPlaceRoot {
    /// Waits for `/`, and clears it if another stage used it before.
    pub(super) fn take(roots: Arc<Roots>) -> Result<InPlaceRoot, RootError> {
        let used = {
            let floor = &roots.in_place;
            let mut state = floor.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.taken {
                state = floor
                    .free
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            state.taken = true;
            std::mem::replace(&mut state.used, true)
        };
        let root = Root::open("/");
        let kept = Kept::now(&roots);
        let taken = InPlaceRoot {
            root: root?,
            keep: Arc::new(kept?),
            roots,
            tracked: Tracked::default(),
        };
        if used {
            let keep = Arc::clone(&taken.keep);
            taken
                .root
                .remove_tree(&ImagePath::root(), &|path| keep.covers(path))?;
        }
        Ok(taken)
    }

    /// Unpacks the layers that are missing.
    pub(super) fn apply(&mut self, layers: &[Layer]) -> Result<(), RootError> {
        let roots = Arc::clone(&self.roots);
        let keep = Arc::clone(&self.keep);
        self.tracked
            .apply(&roots, &self.root, layers, &|path| keep.covers(path))
    }

    pub(super) fn run<T, E>(
        &mut self,
        layers: &[Layer],
        command: impl FnOnce(RunRoot) -> Result<T, E>,
    ) -> Result<Result<(T, ChangeSet), E>, RootError> {
        self.apply(layers)?;
        let roots = Arc::clone(&self.roots);
        let filter = Filter::new(self.keep.paths.iter().cloned());
        self.tracked
            .run(Path::new("/"), &filter, roots.threads, || {
                command(RunRoot::Host)
            })
    }

    pub(super) fn settle(&mut self, number: Option<usize>) {
        self.tracked.settle(number);
    }
}

impl Roots {
    /// Moves mounts into place in `/`, but nowhere near what a build in place never touches.
    pub(crate) fn place(&self, work: &Path, mounts: &[SandboxMount]) -> Result<Placed, RootError> {
        let kept = Kept::now(self)?;
        Placed::put(Path::new("/"), work, mounts, &kept.paths)
    }
}

/// Paths that a build in place never touches, deletes or records (conformance G24-G26, G38, G39): mounts,
/// the tool's own files, the context, and what the user named.
#[derive(Debug)]
struct Kept {
    paths: Vec<ImagePath>,
}

impl Kept {
    fn now(roots: &Roots) -> Result<Kept, RootError> {
        let mounts = mount_points().map_err(RootError::Mount)?;
        let mut paths: Vec<ImagePath> = mounts
            .iter()
            .chain(&roots.keep)
            .map(|path| {
                // Judged by where it really is (G25).
                let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                ImagePath::from(real.as_path())
            })
            .filter(|path| !path.is_root())
            .collect();
        paths.extend(roots.ignore.iter().cloned());
        Ok(Kept { paths })
    }

    /// Whether `path` is kept: one of the paths or below one.
    fn covers(&self, path: &ImagePath) -> bool {
        self.paths.iter().any(|kept| path.starts_with(kept))
    }
}
