//! Where a finished image goes: registries, archives, layouts and the small files with its digest
//! (conformance I30-I38).

mod files;
mod push;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use kiln_oci::{Descriptor, Layout, LayoutError, Reference, write_docker_archive};
use kiln_sandbox::Cancel;
use kiln_shown::SecretUrl;

use kiln_image::built::{BuiltImage, ImageLayer, LayerBytes};
use kiln_store::blobs::{BlobError, Blobs};
use kiln_work::unless_cancelled::UnlessCancelled;

pub use files::write_digest_files;
pub use push::{PushError, trust_hint};
pub use push::{check_permission, push};

/// Why an image cannot be written to this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive `{path}`")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<kiln_oci::ArchiveError>,
    },
    /// The layout cannot be written.
    #[error("cannot write the OCI layout `{path}`")]
    Layout {
        /// The layout's directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<LayoutError>,
    },
    /// A layer of the base cannot be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A digest file's address cannot be used.
    #[error("cannot send the digest to `{url}`")]
    Put {
        /// The address.
        url: SecretUrl,
        /// Why it failed.
        #[source]
        source: reqwest::Error,
    },
    /// The server did not take a digest file.
    #[error("cannot send the digest to `{url}`: the server answered {status}")]
    PutStatus {
        /// The address.
        url: SecretUrl,
        /// The HTTP status.
        status: u16,
    },
}

/// The file of a layer's blob, fetched if it is not here.
pub(crate) async fn layer_file(blobs: &Blobs, layer: &ImageLayer) -> Result<PathBuf, BlobError> {
    match &layer.bytes {
        LayerBytes::Packed(path, _) => Ok(path.clone()),
        LayerBytes::Base(origin) => blobs.fetch(&layer.descriptor, origin).await,
    }
}

/// Every layer's blob as a file.
async fn layer_files(
    blobs: &Blobs,
    image: &BuiltImage,
) -> Result<Vec<(Descriptor, kiln_oci::DiffId, PathBuf)>, OutputError> {
    let mut files = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        let path = layer_file(blobs, layer).await?;
        files.push((layer.descriptor.clone(), layer.diff_id, path));
    }
    Ok(files)
}

/// Writes the archive that `docker load` reads; the name appears once it is whole.
pub async fn write_archive(
    blobs: &Blobs,
    image: &BuiltImage,
    names: &[Reference],
    path: &Path,
    cancel: &Cancel,
) -> Result<(), OutputError> {
    let files = layer_files(blobs, image).await?;
    let failed = |source| OutputError::Write {
        path: path.to_owned(),
        source,
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(failed)?;
    // Nobody else's until it is whole; then as any file that somebody asks for.
    let mode = kiln_oci::atomic::ordinary_mode(dir).map_err(failed)?;
    let file = tempfile::Builder::new()
        .prefix(".kiln-")
        .tempfile_in(dir)
        .map_err(failed)?;
    let file = UnlessCancelled::new(file, cancel);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write_docker_archive(&mut out, &image.config_bytes, &files, names).map_err(|source| {
        OutputError::Archive {
            path: path.to_owned(),
            source: Box::new(source),
        }
    })?;
    out.flush().map_err(failed)?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?
        .into_inner();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    file.as_file().set_permissions(mode).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Adds the image to an OCI layout, which is created if it is missing; the index names the image last.
pub async fn write_layout(
    blobs: &Blobs,
    image: &BuiltImage,
    destinations: &[Reference],
    path: &Path,
) -> Result<(), OutputError> {
    let files = layer_files(blobs, image).await?;
    let failed = |source| OutputError::Layout {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let layout = Layout::create(path).map_err(failed)?;
    for (descriptor, _, file) in &files {
        layout
            .adopt_blob(file, &descriptor.digest)
            .map_err(failed)?;
    }
    let media_type = image.manifest.config.media_type.clone();
    layout
        .write_bytes(media_type, &image.config_bytes)
        .map_err(failed)?;
    let media_type = image.manifest.effective_media_type();
    let mut descriptor = layout
        .write_bytes(media_type, &image.manifest_bytes)
        .map_err(failed)?;
    descriptor.platform = Some(image.config.platform());
    let mut names: Vec<Option<String>> = destinations
        .iter()
        .map(|destination| Some(destination.tag_or_latest().to_owned()))
        .collect();
    names.dedup();
    if names.is_empty() {
        names.push(None);
    }
    for name in names {
        let mut named = descriptor.clone();
        if let Some(name) = name {
            named
                .annotations
                .insert("org.opencontainers.image.ref.name".to_owned(), name);
        }
        layout.add_manifest(&named).map_err(failed)?;
    }
    let layers = files.iter().map(|(descriptor, ..)| descriptor.digest);
    let documents = [image.manifest.config.digest, descriptor.digest];
    layout.give_out(layers.chain(documents)).map_err(failed)
}
