//! A root that is a plain directory, compared by a scan: where namespaces work but no overlay does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_layer::{ImagePath, Root};
use kiln_sandbox::RunRoot;
use kiln_snapshot::{ChangeSet, Filter, Scan};

use super::twin::Twin;
use super::{Execute, Exposed, RootError, Roots, StageRoot};
use kiln_store::image_view::LayerDir;
use kiln_store::layers::Layer;

/// The directory of one stage, with all of the stage's layers in it.
#[derive(Debug)]
pub struct PlainRoot {
    roots: Arc<Roots>,
    path: PathBuf,
    root: Arc<Root>,
    tree: ScannedTree,
}

/// A directory tree whose state is known from a scan: what plain and in-place roots share.
#[derive(Debug, Default)]
pub(super) struct ScannedTree {
    /// How many of the stage's layers are in the tree.
    pub(super) applied: usize,
    scan: Option<Scan>,
}

impl ScannedTree {
    /// Unpacks the layers that are missing.
    pub(super) fn apply(
        &mut self,
        roots: &Roots,
        root: &Root,
        layers: &[Layer],
        protected: &(dyn Fn(&ImagePath) -> bool + Sync),
    ) -> Result<(), RootError> {
        let missing = layers.get(self.applied..).unwrap_or_default();
        if missing.is_empty() {
            return Ok(());
        }
        roots.blobs.prefetch(missing);
        for layer in missing {
            roots.unpack(layer, root, protected)?;
        }
        self.applied = layers.len();
        // The tree is another one now; the next command starts from a new scan.
        self.scan = None;
        Ok(())
    }

    /// Runs a command between two scans, while `twins` are joined.
    pub(super) fn run(
        &mut self,
        root: &Path,
        filter: &Filter,
        threads: usize,
        mut twins: Vec<Twin>,
        command: impl FnOnce() -> bool,
    ) -> Result<Option<ChangeSet>, RootError> {
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => Scan::take(root, filter, threads)?,
        };
        let mut joined = twins.iter_mut().try_for_each(Twin::join);
        let outcome = joined.is_ok().then(command);
        for twin in &mut twins {
            joined = joined.and(twin.part());
        }
        joined?;
        let Some(succeeded) = outcome else {
            return Err(RootError::Interrupted);
        };
        if !succeeded {
            return Ok(None);
        }
        let changes = scan.diff(root)?;
        self.scan = Some(scan);
        Ok(Some(changes))
    }

    pub(super) fn settle(&mut self, number: Option<usize>) {
        if let Some(number) = number {
            self.applied = number + 1;
        }
    }
}

impl PlainRoot {
    pub(super) fn new(roots: Arc<Roots>, path: PathBuf) -> Result<PlainRoot, RootError> {
        let root = Root::open(&path)?;
        Ok(PlainRoot {
            roots,
            path,
            root: Arc::new(root),
            tree: ScannedTree::default(),
        })
    }

    /// Unpacks the layers that are missing.
    fn apply(&mut self, layers: &[Layer]) -> Result<(), RootError> {
        let roots = Arc::clone(&self.roots);
        self.tree.apply(&roots, &self.root, layers, &|_| false)
    }
}

impl StageRoot for PlainRoot {
    fn run(
        &mut self,
        layers: &[Layer],
        command: &mut Execute<'_>,
    ) -> Result<Option<ChangeSet>, RootError> {
        self.apply(layers)?;
        let roots = Arc::clone(&self.roots);
        let filter = Filter::new(roots.ignore.iter().cloned());
        let path = self.path.clone();
        self.tree
            .run(&path, &filter, roots.threads, Vec::new(), || {
                command(RunRoot::Directory(path.clone()), &*roots.runner)
            })
    }

    fn settle(&mut self, number: Option<usize>) {
        self.tree.settle(number);
    }

    fn layer_dirs(&self) -> Vec<LayerDir> {
        // The tree is at the state after its last layer, which is the one that COPY --from sees.
        vec![LayerDir {
            layers: 0..self.tree.applied,
            root: Arc::clone(&self.root),
        }]
    }

    fn outlives_its_stage(&self) -> bool {
        true
    }

    fn fork(&self) -> Option<Box<dyn StageRoot>> {
        None
    }

    fn directory(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }

    fn expose(mut self: Box<Self>, layers: &[Layer]) -> Result<Exposed, RootError> {
        self.apply(layers)?;
        Ok(Exposed::new(self.path.clone(), None, Some(self)))
    }
}
