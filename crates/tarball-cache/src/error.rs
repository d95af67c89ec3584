//! What can go wrong when the volume is changed. Reading has no errors, only a [`Miss`](crate::Miss).

use std::io;
use std::path::{Path, PathBuf};

use kiln_oci::{Digest, DocumentError, LayoutError, Mismatch};
use thiserror::Error;

use crate::Miss;

/// The volume could not be changed.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The system refused an operation.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The volume was opened for reading only.
    #[error("image cache `{}` is open for reading only", dir.display())]
    ReadOnly {
        /// The volume.
        dir: PathBuf,
    },
    /// A blob is not what its descriptor says (I25); nothing of it was kept.
    #[error("blob `{digest}` was not put into the image cache")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Expected and actual.
        #[source]
        source: Mismatch,
    },
    /// The manifest is not the one the entry was begun for.
    #[error("manifest `{actual}` offered for cache entry `{expected}`")]
    WrongManifest {
        /// The digest the entry was begun with.
        expected: Digest,
        /// The digest of the manifest offered.
        actual: Digest,
    },
    /// The config is not the one the manifest names.
    #[error("config `{actual}` offered for a manifest whose config is `{expected}`")]
    WrongConfig {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of the config offered.
        actual: Digest,
    },
    /// A step is stored with a layer that its manifest does not name.
    #[error("layer `{layer}` offered for manifest `{manifest}`, which does not name it")]
    WrongLayer {
        /// The manifest digest.
        manifest: Digest,
        /// The layer offered.
        layer: Digest,
    },
    /// The manifest of a step is that of an image.
    #[error("manifest `{manifest}` of a step has {layers} layers, expected one at most")]
    StepLayers {
        /// The manifest digest.
        manifest: Digest,
        /// How many layers it has.
        layers: usize,
    },
    /// What is in the volume cannot be found out, so nothing is taken out of it.
    #[error("image cache `{}` cannot be listed", dir.display())]
    Unlisted {
        /// The volume.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<Miss>,
    },
    /// A key or the name of a note cannot be a file name.
    #[error("`{name}` cannot be stored in the cache under this name")]
    Name {
        /// The key or name.
        name: String,
    },
    /// The manifest or config cannot be read.
    #[error("image `{digest}` was not put into the image cache")]
    Document {
        /// The manifest digest.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// A layer of the manifest was not put.
    #[error("image `{manifest}` is not complete: layer `{layer}` is missing")]
    Incomplete {
        /// The manifest digest.
        manifest: Digest,
        /// The first layer that is not there in full.
        layer: Digest,
    },
    /// The volume's OCI layout cannot be made or changed.
    #[error("image cache `{}` cannot be used as an OCI layout", dir.display())]
    Layout {
        /// The volume.
        dir: PathBuf,
        /// Why.
        #[source]
        source: LayoutError,
    },
}

pub(crate) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Io {
        operation,
        path,
        source,
    }
}
