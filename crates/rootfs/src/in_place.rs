//! The container's own `/` as the root: the only way to RUN where no mount is allowed. One stage at a time
//! has it, and the next one finds it empty again (conformance C23).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use kiln_layer::{ImagePath, Root};
use kiln_sandbox::{RunRoot, SandboxMount, mount_points};
use kiln_snapshot::{ChangeSet, Filter};
use rustix::fs::StatVfsMountFlags;

use super::aside::Lent;
use super::placed::{Copying, Placed};
use super::placing::Placing;
use super::plain::ScannedTree;
use super::twin::{Links, Twin};
use super::{Execute, Exposed, RootError, Roots, StageRoot, io_error};
use kiln_store::image_view::LayerDir;
use kiln_store::layers::Layer;

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
pub struct InPlaceRoot {
    roots: Arc<Roots>,
    root: Root,
    keep: Arc<Kept>,
    tree: ScannedTree,
    links: Links,
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
        refuse_read_only()?;
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
            tree: ScannedTree::default(),
            links: Links::default(),
        };
        if used {
            taken.clear()?;
        } else {
            taken.leave_working_directory();
        }
        Ok(taken.watching())
    }

    fn watching(mut self) -> InPlaceRoot {
        self.links = Links::above(&self.keep.mounts, &self.keep.owned);
        self
    }

    fn clear(&self) -> Result<(), RootError> {
        self.root
            .remove_tree(&ImagePath::root(), &|path| self.keep.covers(path))?;
        self.roots.aside.reset_place()
    }

    /// The directory that a container starts in is made by its runtime if the image has none; the image that is built
    /// knows nothing of it.
    fn leave_working_directory(&self) {
        let Ok(dir) = std::env::current_dir() else {
            return;
        };
        let path = ImagePath::from(dir.as_path());
        if path.is_root() || self.keep.covers(&path) || std::env::set_current_dir("/").is_err() {
            return;
        }
        // Goes only if it is empty.
        let _ = std::fs::remove_dir(&dir);
    }

    /// Unpacks the layers that are missing; once more if they have files where the context is, which then steps aside.
    pub(super) fn apply(&mut self, layers: &[Layer]) -> Result<(), RootError> {
        if self.unpack(layers)? {
            self.roots.aside.make_room()?;
            self.keep = Arc::new(Kept::now(&self.roots)?);
            self.tree = ScannedTree::default();
            self.links = Links::above(&self.keep.mounts, &self.keep.owned);
            self.clear()?;
            self.unpack(layers)?;
        }
        Ok(())
    }

    /// Says whether a layer has files where the context is.
    fn unpack(&mut self, layers: &[Layer]) -> Result<bool, RootError> {
        let roots = Arc::clone(&self.roots);
        let keep = Arc::clone(&self.keep);
        let met = AtomicBool::new(false);
        let context = keep.context.as_ref();
        let covers = |path: &ImagePath| {
            let covered = keep.covers(path);
            if covered
                && context.is_some_and(|context| path != context && path.starts_with(context))
            {
                met.store(true, Ordering::Relaxed);
            }
            covered
        };
        let first = self.tree.applied;
        self.tree.apply(&roots, &self.root, layers, &covers)?;
        for layer in layers.get(first..).unwrap_or_default() {
            roots
                .blobs
                .visit_entries(layer, &mut |entry| self.links.see(entry))?;
        }
        Ok(met.into_inner())
    }
}

impl StageRoot for InPlaceRoot {
    fn run(
        &mut self,
        layers: &[Layer],
        command: &mut Execute<'_>,
    ) -> Result<Option<ChangeSet>, RootError> {
        self.apply(layers)?;
        let roots = Arc::clone(&self.roots);
        let root = Path::new("/");
        let twins = self.links.twins(root, &self.keep.paths);
        let filter = self.keep.filter(&twins);
        roots.note_twins(&twins);
        let runner = Placing(Arc::clone(&roots));
        self.tree.run(root, &filter, roots.threads, twins, || {
            command(RunRoot::Host, &runner)
        })
    }

    fn settle(&mut self, number: Option<usize>) {
        self.tree.settle(number);
    }

    fn layer_dirs(&self) -> Vec<LayerDir> {
        // `/` belongs to the next stage soon.
        Vec::new()
    }

    fn outlives_its_stage(&self) -> bool {
        false
    }

    fn fork(&self) -> Option<Box<dyn StageRoot>> {
        None
    }

    fn directory(&self) -> Option<PathBuf> {
        None
    }

    fn expose(self: Box<Self>, _layers: &[Layer]) -> Result<Exposed, RootError> {
        Err(RootError::NoIsolation {
            reason: "`/` belongs to one stage at a time, and cannot be shown to another".to_owned(),
        })
    }
}

/// A container's root may be read-only; what would be unpacked would seem to be in the way of mounts, file by file.
fn refuse_read_only() -> Result<(), RootError> {
    let root = Path::new("/");
    let found = rustix::fs::statvfs(root);
    let found = found.map_err(|error| io_error("look at", root)(error.into()))?;
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(RootError::ReadOnly);
    }
    Ok(())
}

impl Roots {
    fn note_twins(&self, twins: &[Twin]) {
        let links = twins.iter().map(|twin| twin.link.clone());
        let noted = self.twin_links.lock();
        noted.unwrap_or_else(PoisonError::into_inner).extend(links);
    }

    /// A copy in `work` of a directory that commands could reach.
    pub fn copy_of(&self, dir: &Path, work: &Path) -> Result<PathBuf, RootError> {
        let copy = tempfile::tempdir_in(work).map_err(io_error("write to", work))?;
        let copy = copy.keep();
        let at = copy.join("copy");
        Copying::new(&self.stop)?.copy(dir, &at)?;
        Ok(at)
    }

    /// Moves mounts into place in `/`, but nowhere near what a build in place never touches.
    pub fn place(&self, work: &Path, mounts: &[SandboxMount]) -> Result<Placed, RootError> {
        let kept = Kept::now(self)?;
        Placed::put(Path::new("/"), work, mounts, &kept.paths, &self.events)
    }
}

/// Paths that a build in place never touches, deletes or records (conformance G24-G26, G38, G39): mounts,
/// the tool's own files, the context unless it stepped aside, and what the user named.
#[derive(Debug)]
struct Kept {
    paths: Vec<ImagePath>,
    /// Those that are mounts.
    mounts: Vec<ImagePath>,
    /// Those that the builder or the user named, and the context, wherever it is now.
    owned: Vec<ImagePath>,
    /// Where the context is, unless it stepped aside.
    context: Option<ImagePath>,
    lent: Option<Lent>,
}

impl Kept {
    fn now(roots: &Roots) -> Result<Kept, RootError> {
        let mounts = mount_points().map_err(RootError::Mount)?;
        let context = ImagePath::from(roots.aside.dir());
        let lent = roots.aside.lent();
        // Judged by where it really is (G25).
        let real = |path: &PathBuf| {
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            ImagePath::from(real.as_path())
        };
        let mounts: Vec<ImagePath> = mounts.iter().map(real).collect();
        let mut owned: Vec<ImagePath> = roots.keep.iter().map(real).collect();
        let mut paths: Vec<ImagePath> = mounts
            .iter()
            .chain(&owned)
            .filter(|path| !path.is_root())
            .cloned()
            .collect();
        owned.push(context.clone());
        owned.retain(|path| !path.is_root());
        let context = match &lent {
            Some(lent) => {
                paths.retain(|path| !path.starts_with(&lent.place));
                paths.push(lent.hidden.clone());
                None
            }
            None => {
                paths.push(context.clone());
                Some(context)
            }
        };
        paths.extend(roots.ignore.iter().cloned());
        paths.retain(|path| !path.is_root());
        paths.sort();
        paths.dedup();
        Ok(Kept {
            paths,
            mounts,
            owned,
            context,
            lent,
        })
    }

    /// Whether `path` is kept: one of the paths or below one.
    fn covers(&self, path: &ImagePath) -> bool {
        self.paths.iter().any(|kept| path.starts_with(kept))
    }

    /// What a scan does not look at. A mount that was lent is the image's, and what hides in it is nobody's.
    fn filter(&self, twins: &[Twin]) -> Filter {
        let links = twins.iter().map(|twin| twin.link.clone());
        let mut filter = Filter::new(self.paths.iter().cloned().chain(links));
        if let Some(lent) = &self.lent {
            filter.ignore.retain(|path| *path != lent.hidden);
            filter.entered = vec![lent.place.clone()];
            filter
                .unseen
                .extend(lent.hidden.file_name().map(<[u8]>::to_vec));
        }
        filter
    }
}
