//! Where the blobs are of layers that a build did not make.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_oci::Repository;
use kiln_registry::Client;
use kiln_tarball_cache::{CachedImage, ImageCache};

/// Where the blob of a layer is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In this repository of a registry.
    Registry(Repository),
    /// In a file of this machine.
    File(PathBuf),
    /// In an entry of the cache of steps.
    Step(Arc<dyn StepBlob>),
    /// In the local cache; with the repository that holds it as well, so that a push can mount it.
    Cached(Arc<CachedImage>, Repository),
}

impl Origin {
    /// The repository that is known to hold the blob.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Origin::Registry(repository) | Origin::Cached(_, repository) => Some(repository),
            Origin::Step(step) => match step.place() {
                StepPlace::Repository(_, repository) => Some(repository),
                StepPlace::Folder(_) => None,
            },
            Origin::File(_) => None,
        }
    }
}

/// What keeps a cached step.
#[derive(Debug, Clone, Copy)]
pub enum StepPlace<'a> {
    /// A repository of a registry.
    Repository(&'a Client, &'a Repository),
    /// A folder of this machine.
    Folder(&'a ImageCache),
}

/// The layer of a cached step, which may turn out to be another than its entry says.
pub trait StepBlob: Debug + Send + Sync {
    /// Where it is.
    fn place(&self) -> StepPlace<'_>;

    /// It was fetched, and is in this file.
    fn fetched(&self, file: &Path);

    /// It is not there, or not what it should be: the entry is of no use, and the build begins again without it.
    fn distrust(&self);
}
