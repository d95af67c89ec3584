//! The root filesystem of one stage: the seam for other kinds than those of this crate.

use std::fmt::Debug;
use std::path::PathBuf;

use kiln_sandbox::{RunRoot, Runner};
use kiln_snapshot::ChangeSet;

use super::{Exposed, RootError};
use kiln_store::image_view::LayerDir;
use kiln_store::layers::Layer;

/// A command that is run in a root, by the runner that the root needs; says whether it succeeded.
pub type Execute<'a> = dyn FnMut(RunRoot, &dyn Runner) -> bool + 'a;

/// The root filesystem of one stage. Which kind it is, [`Roots::create`](super::Roots::create) decides.
pub trait StageRoot: Debug + Send + Sync {
    /// Unpacks what is not unpacked yet, runs a command and says what it changed; `None` when it failed.
    fn run(
        &mut self,
        layers: &[Layer],
        command: &mut Execute<'_>,
    ) -> Result<Option<ChangeSet>, RootError>;

    /// Tells the root that the last command's changes are now the image's layer number `number`; without
    /// a number they were nothing.
    fn settle(&mut self, number: Option<usize>);

    /// Where the files of the layers are that this root holds.
    fn layer_dirs(&self) -> Vec<LayerDir>;

    /// Whether the root is the stage's own, and not lent to one stage after the other.
    fn outlives_its_stage(&self) -> bool;

    /// A root for a stage that starts where this one ended; `None` if it has to be made anew.
    fn fork(&self) -> Option<Box<dyn StageRoot>>;

    /// The directory that holds all files of the stage as they are, if there is one.
    fn directory(&self) -> Option<PathBuf>;

    /// Becomes a directory that mounts can show, with the files of all these layers.
    fn expose(self: Box<Self>, layers: &[Layer]) -> Result<Exposed, RootError>;
}
