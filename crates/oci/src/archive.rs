//! Docker archives: what `docker save` writes and `docker load` reads (I38).
//!
//! A tar with `manifest.json` (config name, tags and layer names of every image), the configs and the layers.

mod read;
mod write;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::MAX_DOCUMENT;
use crate::{Digest, DocumentError, LayerCompression, MediaType, lenient};

pub use read::{ArchiveImage, ArchiveLayer, DockerArchive, MAX_CONFIGS, read_docker_archive};
pub use write::write_docker_archive;

const MANIFEST: &str = "manifest.json";

/// One image in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveEntry {
    config: String,
    #[serde(default, deserialize_with = "lenient::list")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "lenient::list")]
    layers: Vec<String>,
}

/// What can go wrong with a docker archive.
#[derive(Debug, Error)]
pub enum ArchiveError {
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
    /// The archive cannot be written to its destination.
    #[error("cannot write `{entry}` of the docker archive")]
    Write {
        /// The entry that was being written.
        entry: String,
        /// The destination's answer.
        #[source]
        source: io::Error,
    },
    /// A layer file is not as long as its descriptor says.
    #[error("layer `{digest}` in `{}` has {actual} bytes, expected {expected}", path.display())]
    LayerSize {
        /// The layer.
        digest: Digest,
        /// Its file.
        path: PathBuf,
        /// Bytes in the descriptor.
        expected: u64,
        /// Bytes in the file.
        actual: u64,
    },
    /// Docker archives hold plain and gzip layers only (I38).
    #[error("layer `{digest}` has media type `{media_type}`, which a docker archive cannot hold")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
    },
    /// The file is compressed as a whole, so that layers cannot be found in it without unpacking.
    #[error("`{}` is compressed with {compression}, a docker archive must be a plain tar", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// With what.
        compression: LayerCompression,
    },
    /// The file is not a tar, or its headers are damaged.
    #[error("`{}` is no tar archive, or a damaged one", path.display())]
    NotATar {
        /// The file.
        path: PathBuf,
    },
    /// Something `manifest.json` speaks of, or that file itself, is not in the archive.
    #[error("docker archive `{}` has no entry `{entry}`", path.display())]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The name that was looked for.
        entry: String,
    },
    /// An entry of the archive cannot be understood.
    #[error("entry `{entry}` of docker archive `{}` cannot be used", path.display())]
    Document {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// An entry that should be small is not.
    #[error("entry `{entry}` of docker archive `{}` has {size} bytes, and no document in one has more than {MAX_DOCUMENT} (MAX_DOCUMENT)", path.display())]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// Its length in bytes.
        size: u64,
    },
    /// The same config named very often, or very many large ones.
    #[error("the configs of the images in docker archive `{}` have more than {MAX_CONFIGS} bytes together, up to `{entry}` (MAX_CONFIGS)", path.display())]
    Configs {
        /// The archive.
        path: PathBuf,
        /// The name of the config that was too much.
        entry: String,
    },
    /// The config lists another number of layers than the archive.
    #[error("docker archive `{}` has {layers} layers, but its config lists {diff_ids}", path.display())]
    LayerCount {
        /// The archive.
        path: PathBuf,
        /// Layers in `manifest.json`.
        layers: usize,
        /// Layers in the config.
        diff_ids: usize,
    },
}

#[cfg(test)]
mod tests;
