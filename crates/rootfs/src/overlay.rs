//! A root made of an overlay: directories of layers below, a new upper directory for each command.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_layer::Root;
use kiln_sandbox::{OverlayMount, RunRoot, mount_overlay};
use kiln_snapshot::{ChangeSet, Filter, overlay_changes};

use super::{Execute, Exposed, RootError, Roots, StageRoot};
use kiln_store::image_view::LayerDir;
use kiln_store::layers::Layer;

/// Lower directories of one overlay. The kernel takes 500 (`OVL_MAX_STACK`), and their names have to fit into one page of
/// options before Linux 6.8.
const MOST_LOWERS: usize = 180;

/// The overlay root of one stage. Directories below are never written to again, so stages share them.
#[derive(Debug)]
pub struct OverlayRoot {
    roots: Arc<Roots>,
    base_layers: usize,
    /// Bottom first.
    lowers: Vec<Lower>,
    /// How many of the stage's layers are in the lower directories.
    applied: usize,
    /// The upper directory of the last command.
    last: Option<(PathBuf, Arc<Root>)>,
}

#[derive(Debug, Clone)]
struct Lower {
    path: PathBuf,
    dir: LayerDir,
}

impl OverlayRoot {
    pub(super) fn new(roots: Arc<Roots>, base_layers: usize) -> OverlayRoot {
        OverlayRoot {
            roots,
            base_layers,
            lowers: Vec::new(),
            applied: 0,
            last: None,
        }
    }

    /// Brings the lower directories up to the layers that the stage has by now.
    fn apply(&mut self, layers: &[Layer]) -> Result<(), RootError> {
        if self.lowers.is_empty() {
            let base = &layers[..self.base_layers.min(layers.len())];
            let dir = self.roots.base_dir(base)?;
            let path = dir.root.path().to_owned();
            self.applied = base.len();
            self.lowers.push(Lower { path, dir });
        }
        if self.lowers.len() + (layers.len() - self.applied) > MOST_LOWERS {
            return self.merge(layers);
        }
        for (number, layer) in layers.iter().enumerate().skip(self.applied) {
            // From COPY, ADD or WORKDIR, or from the cache: its own parents come with it, so it can be
            // unpacked on nothing.
            let path = self.roots.fresh_dir("layer")?;
            let root = Root::open(&path)?;
            self.roots.unpack_apart(layer, &root)?;
            self.push(path, Arc::new(root), number);
        }
        Ok(())
    }

    /// Puts all layers into one directory, made anew, because others may be using those that there are.
    fn merge(&mut self, layers: &[Layer]) -> Result<(), RootError> {
        let dir = self.roots.base_dir(layers)?;
        let path = dir.root.path().to_owned();
        self.applied = layers.len();
        self.lowers = vec![Lower { path, dir }];
        Ok(())
    }

    fn push(&mut self, path: PathBuf, root: Arc<Root>, number: usize) {
        let layers = number..number + 1;
        self.lowers.push(Lower {
            path,
            dir: LayerDir { layers, root },
        });
        self.applied = number + 1;
    }

    /// An overlay of all lower directories; what is written goes to a new upper one.
    fn mount(&self) -> Result<Mounted, RootError> {
        let upper = self.roots.fresh_dir("upper")?;
        let work = self.roots.fresh_dir("work")?;
        let merged = self.roots.fresh_dir("merged")?;
        let lowers: Vec<PathBuf> = self.lowers.iter().rev().map(|l| l.path.clone()).collect();
        let mount = mount_overlay(&lowers, &upper, &work, &merged).map_err(RootError::Mount)?;
        let mount = mount.telling(self.roots.not_unmounted());
        Ok(Mounted {
            mount,
            lowers,
            upper,
            work,
            merged,
        })
    }
}

struct Mounted {
    mount: OverlayMount,
    lowers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    merged: PathBuf,
}

impl StageRoot for OverlayRoot {
    fn run(
        &mut self,
        layers: &[Layer],
        command: &mut Execute<'_>,
    ) -> Result<Option<ChangeSet>, RootError> {
        self.apply(layers)?;
        let mounted = self.mount()?;
        let root = RunRoot::Directory(mounted.merged.clone());
        let succeeded = command(root, &*self.roots.runner);
        mounted.mount.unmount().map_err(RootError::Mount)?;
        for gone in [&mounted.merged, &mounted.work] {
            // The kernel leaves an inner `work` folder; what stays goes with the work folder.
            if let Err(error) = std::fs::remove_dir_all(gone) {
                tracing::debug!(%error, path = %gone.display(), "left for later");
            }
        }
        if !succeeded {
            return Ok(None);
        }
        let filter = Filter::new(self.roots.ignore.iter().cloned());
        let changes = overlay_changes(&mounted.upper, &mounted.lowers, &filter)?;
        let root = Root::open(&mounted.upper)?;
        self.last = Some((mounted.upper, Arc::new(root)));
        Ok(Some(changes))
    }

    fn settle(&mut self, number: Option<usize>) {
        let Some((path, root)) = self.last.take() else {
            return;
        };
        match number {
            Some(number) => self.push(path, root, number),
            None => {
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::debug!(%error, path = %path.display(), "left for later");
                }
            }
        }
    }

    fn layer_dirs(&self) -> Vec<LayerDir> {
        self.lowers.iter().map(|lower| lower.dir.clone()).collect()
    }

    fn outlives_its_stage(&self) -> bool {
        true
    }

    fn fork(&self) -> Option<Box<dyn StageRoot>> {
        Some(Box::new(OverlayRoot {
            roots: Arc::clone(&self.roots),
            base_layers: self.base_layers,
            lowers: self.lowers.clone(),
            applied: self.applied,
            last: None,
        }))
    }

    fn directory(&self) -> Option<PathBuf> {
        None
    }

    /// The only lower directory, or an overlay of them.
    fn expose(mut self: Box<Self>, layers: &[Layer]) -> Result<Exposed, RootError> {
        self.apply(layers)?;
        if let [only] = self.lowers.as_slice() {
            let path = only.path.clone();
            return Ok(Exposed::new(path, None, Some(self)));
        }
        let Mounted { mount, merged, .. } = self.mount()?;
        Ok(Exposed::new(merged, Some(mount), Some(self)))
    }
}
