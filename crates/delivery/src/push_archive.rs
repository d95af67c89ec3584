//! Pushes an image that lies in a docker archive or an OCI layout (conformance K, I29-I37).
//!
//! An OCI layout is pushed byte for byte: its one image, or its one index with all manifests in it. A docker
//! archive has no manifest of its own, so one is made: docker's schema 2, or OCI's if a layer is packed with zstd,
//! which docker does not know. Layers that the archive holds compressed are pushed as they are; plain ones, which
//! nobody wants to pull, are compressed with gzip, the same way each time.
//!
//! Nothing is believed: every blob is compared with its digest, or every layer with its diff-id, before the first
//! byte of it is sent, and no manifest is sent before all blobs are there.

mod docker;
mod layout;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_layer::LayerError;
use kiln_oci::{
    ArchiveError, DiffId, Digest, DocumentError, Layout, LayoutError, Reference,
    read_docker_archive,
};
use kiln_options::byte_size;
use kiln_registry::{Client, RegistryError};
use kiln_sandbox::Cancel;

use crate::output::{self, DigestsWritten, Output, OutputError, Registries};
use kiln_download as fetch;
use kiln_download::ClientError;
use kiln_events::{Careful, Event, EventSink, NoteKind};
use kiln_options::PushImageSettings;
use kiln_store::noticed::telling;
use kiln_work::folder::{WorkError, WorkFolder};
use kiln_work::interrupt::Interrupt;

use kiln_store::parcel::Parcel;

/// Why an image in a file or folder cannot be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushArchiveError {
    /// There is nothing to be pushed at the path.
    #[error("cannot open `{path}`")]
    Open {
        /// What was to be pushed.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The path is a device, a pipe, a socket.
    #[error("`{path}` is neither a file nor a folder")]
    Kind {
        /// What was to be pushed.
        path: PathBuf,
    },
    /// The file is no docker archive that can be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The folder is no OCI layout that can be used, or a blob of it is damaged.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// There is nothing inside, or more than one image.
    #[error("`{path}` holds {}, it must hold exactly one", counted(.images))]
    Images {
        /// The archive or layout.
        path: PathBuf,
        /// What is there: names, digest, platform.
        images: Vec<String>,
    },
    /// A document inside the layout cannot be understood.
    #[error("`{path}` cannot be used")]
    Document {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// Indexes in indexes in indexes.
    #[error("`{path}` is an index too many levels below the top")]
    Depth {
        /// Its file.
        path: PathBuf,
    },
    /// Manifests of an index that are too much together.
    #[error(
        "the manifests of the image have more than 64 MiB together, up to `{path}` (MAX_DOCUMENTS)"
    )]
    Documents {
        /// The one that was too much.
        path: PathBuf,
    },
    /// The config of an archive is not the one that its name promises.
    #[error("entry `{entry}` of docker archive `{path}` is damaged: its digest is {actual}")]
    Config {
        /// The archive.
        path: PathBuf,
        /// The name of the config.
        entry: String,
        /// What its content has.
        actual: Digest,
    },
    /// A layer of an archive is no layer.
    #[error("layer `{entry}` of docker archive `{path}` cannot be read")]
    Layer {
        /// The archive.
        path: PathBuf,
        /// The name of the layer.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: Box<LayerError>,
    },
    /// A layer of an archive is not the one that its config promises.
    #[error(
        "layer `{entry}` of docker archive `{path}` is damaged: it is {actual}, but the config says {expected}"
    )]
    DiffId {
        /// The archive.
        path: PathBuf,
        /// The name of the layer.
        entry: String,
        /// What the config says.
        expected: DiffId,
        /// What it is.
        actual: DiffId,
    },
    /// A layer cannot be compressed in the work folder.
    #[error("cannot compress layer `{entry}` of docker archive `{path}`")]
    Compress {
        /// The archive.
        path: PathBuf,
        /// The name of the layer.
        entry: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It cannot be pushed, or a digest file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The registry client cannot be made from the settings.
    #[error("the registry settings cannot be used")]
    Client(#[source] RegistryError),
    /// The client for downloads cannot be made.
    #[error("cannot prepare downloads")]
    Downloads(#[source] ClientError),
    /// There is no work folder.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// It was cancelled.
    #[error("interrupted")]
    Cancelled,
    /// A thread is gone.
    #[error("a thread ended before it was done")]
    Lost,
}

fn counted(images: &[String]) -> String {
    match images {
        [] => "no image".to_owned(),
        images => format!("{} images ({})", images.len(), images.join(", ")),
    }
}

impl PushArchiveError {
    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Images { images, .. } if images.len() > 1 => Some(
                "take one out with `skopeo copy`, or have it written to a file or folder of its own"
                    .to_owned(),
            ),
            // What is a tar and has no `manifest.json` mostly is an OCI layout in a tar.
            Self::Archive(ArchiveError::Missing { entry, .. }) if entry == "manifest.json" => Some(
                "an OCI layout in a tar has to be unpacked first; push the folder then".to_owned(),
            ),
            Self::Archive(ArchiveError::Compressed { compression, .. }) => Some(format!(
                "unpack it with `{}` first",
                match compression {
                    kiln_oci::LayerCompression::Zstd => "unzstd",
                    _ => "gunzip",
                }
            )),
            Self::Output(error) => error.hint(),
            Self::Work(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

/// An image that was pushed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushedArchive {
    /// Digest of the manifest or index that the tags name.
    pub digest: Digest,
    /// Where it was pushed.
    pub pushed: Vec<Reference>,
}

/// Pushes the one image of a docker archive (a file) or an OCI layout (a folder) to every destination.
///
/// All destinations are tried; the first failure is returned, the others become warnings. Whatever happens,
/// nothing is left on this machine.
pub async fn push_archive(
    settings: PushImageSettings,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
) -> Result<PushedArchive, PushArchiveError> {
    let pushing = push(settings, Careful::before(events));
    let outcome = Interrupt::of(&cancel).unless_raised(pushing).await;
    outcome.unwrap_or(Err(PushArchiveError::Cancelled))
}

async fn push(
    settings: PushImageSettings,
    events: Arc<dyn EventSink>,
) -> Result<PushedArchive, PushArchiveError> {
    let found = Found::at(&settings)?;
    let client =
        Client::new(telling(&settings.registry, &events)).map_err(PushArchiveError::Client)?;
    let download =
        fetch::client(&settings.registry.user_agent).map_err(PushArchiveError::Downloads)?;
    let outputs = outputs(&settings, client, download, &events);
    output::check_all(&outputs).await?;
    // Until the end of the push: it has the layers that were compressed.
    let mut work = None;
    let parcel = match found {
        Found::Layout(parcel) => *parcel,
        Found::Archive(image) => {
            let work = work.insert(WorkFolder::create(&settings.work_dir)?);
            docker::pack(*image, work.path(), &events).await?
        }
    };
    let text = format!(
        "pushing {} from `{}`: {} manifests, {} blobs, {}",
        parcel.top.digest,
        settings.path.display(),
        parcel.below.len() + 1,
        parcel.blobs.len(),
        byte_size(parcel.size())
    );
    events.event(Event::note(NoteKind::Push, text));
    let digest = output::deliver_all(&outputs, &parcel).await?;
    Ok(PushedArchive {
        digest,
        pushed: settings.destinations,
    })
}

/// The destinations, and the files with the digest of what they got.
fn outputs(
    settings: &PushImageSettings,
    client: Client,
    download: reqwest::Client,
    events: &Arc<dyn EventSink>,
) -> Vec<Box<dyn Output>> {
    let names = || settings.destinations.clone();
    let ask = !settings.skip_push_permission_check;
    vec![
        Box::new(Registries::new(client, names(), ask, Arc::clone(events))),
        Box::new(DigestsWritten::new(
            settings.digest_files.clone(),
            names(),
            download,
        )),
    ]
}

/// What lies at the path, looked at before any registry is asked.
enum Found {
    Archive(Box<docker::OneImage>),
    Layout(Box<Parcel>),
}

impl Found {
    fn at(settings: &PushImageSettings) -> Result<Found, PushArchiveError> {
        let path = &settings.path;
        let kind = std::fs::metadata(path)
            .map_err(|source| PushArchiveError::Open {
                path: path.clone(),
                source,
            })?
            .file_type();
        if kind.is_dir() {
            layout::read(Layout::open(path)?).map(|parcel| Found::Layout(Box::new(parcel)))
        } else if kind.is_file() {
            let image = docker::OneImage::of(read_docker_archive(path)?)?;
            Ok(Found::Archive(Box::new(image)))
        } else {
            Err(PushArchiveError::Kind { path: path.clone() })
        }
    }
}
