//! A docker archive, the file that `docker load` reads (conformance I38).

use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use kiln_oci::{Descriptor, DiffId, ImageConfig, Manifest, Reference, write_docker_archive};
use kiln_registry::BlobSource;
use kiln_sandbox::Cancel;
use kiln_store::parcel::Parcel;
use kiln_work::unless_cancelled::UnlessCancelled;

use super::{Output, OutputError};

/// A docker archive; its name appears once it is whole.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    names: Vec<Reference>,
    cancel: Cancel,
}

/// What the archive holds of an image.
struct Parts {
    config: Vec<u8>,
    layers: Vec<(Descriptor, DiffId, PathBuf)>,
}

impl Archive {
    /// Writes `path`, with these names in it.
    pub fn new(path: PathBuf, names: Vec<Reference>, cancel: Cancel) -> Archive {
        Archive {
            path,
            names,
            cancel,
        }
    }

    async fn write(&self, parcel: &Parcel) -> Result<(), OutputError> {
        let parts = self.parts(parcel).await?;
        let path = &self.path;
        let failed = |source| OutputError::Write {
            path: path.clone(),
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
        let file = UnlessCancelled::new(file, &self.cancel);
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write_docker_archive(&mut out, &parts.config, &parts.layers, &self.names).map_err(
            |source| OutputError::Archive {
                path: path.clone(),
                source: Box::new(source),
            },
        )?;
        out.flush().map_err(failed)?;
        let file = out
            .into_inner()
            .map_err(|error| failed(error.into_error()))?
            .into_inner();
        let permissions = std::fs::Permissions::from_mode(mode);
        file.as_file()
            .set_permissions(permissions)
            .map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    async fn parts(&self, parcel: &Parcel) -> Result<Parts, OutputError> {
        let unfit = |what: String| OutputError::NotForArchive {
            path: self.path.clone(),
            what,
        };
        let manifest = Manifest::parse(&parcel.top.bytes)
            .map_err(|error| unfit(format!("it is not one image: {error}")))?;
        let BlobSource::Bytes(config) = blob_source(parcel, manifest.config(), &unfit).await?
        else {
            return Err(unfit("its config is not at hand".to_owned()));
        };
        let parsed = ImageConfig::parse(&config).map_err(|error| unfit(error.to_string()))?;
        let mut layers = Vec::with_capacity(manifest.layers().len());
        for (layer, diff_id) in manifest.layers().iter().zip(parsed.diff_ids()) {
            let BlobSource::File(file) = blob_source(parcel, layer, &unfit).await? else {
                return Err(unfit(format!("layer {} is no file", layer.digest())));
            };
            layers.push((layer.clone(), *diff_id, file));
        }
        Ok(Parts {
            config: config.to_vec(),
            layers,
        })
    }
}

async fn blob_source(
    parcel: &Parcel,
    descriptor: &Descriptor,
    unfit: &impl Fn(String) -> OutputError,
) -> Result<BlobSource, OutputError> {
    let digest = &descriptor.digest();
    let blob = parcel.blob(digest);
    let blob = blob.ok_or_else(|| unfit(format!("blob {digest} is not part of it")))?;
    Ok(blob.source().await?)
}

impl Output for Archive {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<(), OutputError>> {
        Box::pin(self.write(parcel))
    }
}
