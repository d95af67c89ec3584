//! Where the blobs are of layers that a build did not make.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use kiln_oci::{Descriptor, Repository};
use kiln_registry::Client;
use kiln_tarball_cache::CachedImage;

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
            Origin::Step(step) => step.repository(),
            Origin::File(_) => None,
        }
    }
}

/// The layer of a cached step, which may turn out to be another than its entry says.
pub trait StepBlob: Debug + Send + Sync {
    /// The repository that holds it, if it is in one.
    fn repository(&self) -> Option<&Repository>;

    /// Finds out where its bytes are. A place that only itself can read writes them to the file `into`, which nobody else
    /// uses, and says so.
    fn locate<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>>;

    /// It was fetched, and is in this file.
    fn fetched(&self, file: &Path);

    /// It is not there, or not what it should be: the entry is of no use, and the build begins again without it.
    fn distrust(&self);
}

/// Where the bytes of a cached step are.
#[derive(Debug)]
pub enum Located<'a> {
    /// In this repository, to be pulled like any other layer.
    Repository(&'a Client, &'a Repository),
    /// In this file, to be compared with the digest.
    File(PathBuf),
    /// Nowhere any more.
    Gone,
}
