//! One place where cached steps are kept: a repository, or a folder of this machine.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use kiln_oci::{Descriptor, MediaType, ReferenceError, Repository, SmallFile};
use kiln_registry::{BlobSource, Client, RegistryError};
use kiln_tarball_cache::{CacheError, ImageCache, Miss, NewStep};

use super::entry::{Documents, EntryError, StoredStep};
use kiln_events::{Event, EventSink};
use kiln_shown::with_causes;
use kiln_store::early::EarlyUpload;
use kiln_store::origin::StepPlace;

/// How long an answer of a cache is waited for; a build without it is better than one that stands still.
const READ_PATIENCE: Duration = Duration::from_secs(15);

/// Explanations are not worth more memory than this.
const MAX_CONFIG: u64 = 64 << 20;

/// Why a place does not give or take an entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Volume(#[from] CacheError),
    #[error(transparent)]
    Miss(#[from] Miss),
    #[error("entry {key}")]
    Entry {
        key: String,
        #[source]
        source: EntryError,
    },
    #[error(transparent)]
    Tag(#[from] ReferenceError),
    #[error("no answer within {} seconds", .0.as_secs())]
    Patience(Duration),
    #[error("a thread ended before it was done")]
    Lost,
}

impl PlaceError {
    /// Whether it is about one entry, and others of the same place may be as they should.
    fn is_of_entry(&self) -> bool {
        use RegistryError as R;
        let document = |error: &RegistryError| {
            matches!(
                error,
                R::DigestMismatch { .. }
                    | R::SizeMismatch { .. }
                    | R::Schema1 { .. }
                    | R::Malformed { .. }
                    | R::Unusable { .. }
                    | R::NoPlatform { .. }
            )
        };
        match self {
            PlaceError::Miss(_) | PlaceError::Entry { .. } => true,
            PlaceError::Registry(error) => document(error),
            _ => false,
        }
    }
}

impl PlaceError {
    fn is_denied(&self) -> bool {
        matches!(self, PlaceError::Registry(error) if error.is_unauthorized())
    }
}

/// A place, and whether it is still worth asking.
pub(crate) struct Place {
    kind: Kind,
    store: bool,
    /// Reading failed in a way that is the place's and not the entry's.
    unreadable: AtomicBool,
    unwritable: AtomicBool,
    /// An unusable entry was complained of; one line is enough for all of them.
    complained: AtomicBool,
    events: Arc<dyn EventSink>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("kind", &self.kind)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Kind {
    Repository(Client, Repository),
    /// The local volume, or a folder named by `oci:`.
    Folder(ImageCache),
}

/// The blob of a layer that is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct LayerFile {
    pub descriptor: Descriptor,
    pub path: PathBuf,
    pub early: Option<Arc<EarlyUpload>>,
}

impl Place {
    /// Where the blobs of its steps are.
    pub(crate) fn for_blobs(&self) -> StepPlace<'_> {
        match &self.kind {
            Kind::Repository(client, repository) => StepPlace::Repository(client, repository),
            Kind::Folder(cache) => StepPlace::Folder(cache),
        }
    }

    pub(crate) fn repository(
        client: &Client,
        repository: Repository,
        store: bool,
        events: Arc<dyn EventSink>,
    ) -> Place {
        Place::new(Kind::Repository(client.direct(), repository), store, events)
    }

    pub(crate) fn folder(cache: ImageCache, store: bool, events: Arc<dyn EventSink>) -> Place {
        let store = store && cache.is_writable();
        Place::new(Kind::Folder(cache), store, events)
    }

    fn new(kind: Kind, store: bool, events: Arc<dyn EventSink>) -> Place {
        Place {
            kind,
            store,
            unreadable: AtomicBool::new(false),
            unwritable: AtomicBool::new(false),
            complained: AtomicBool::new(false),
            events,
        }
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Repository(_, repository) => repository.to_string(),
            Kind::Folder(cache) => cache.dir().display().to_string(),
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    pub(crate) fn stores(&self) -> bool {
        self.store && !self.unwritable.load(Ordering::Relaxed)
    }

    /// The registry's client and repository, for blobs.
    pub(crate) fn as_repository(&self) -> Option<(&Client, &Repository)> {
        match &self.kind {
            Kind::Repository(client, repository) => Some((client, repository)),
            Kind::Folder(_) => None,
        }
    }

    /// The volume, for blobs and notes.
    pub(crate) fn as_folder(&self) -> Option<&ImageCache> {
        match &self.kind {
            Kind::Folder(cache) => Some(cache),
            Kind::Repository(..) => None,
        }
    }

    /// Looks an entry up. What is wrong with it, or with the place, is said here and is a miss (H22).
    pub(crate) async fn find(&self, key: &str, oldest: Option<Timestamp>) -> Option<StoredStep> {
        if self.unreadable.load(Ordering::Relaxed) {
            return None;
        }
        let found = match &self.kind {
            Kind::Repository(client, repository) => {
                patiently(from_repository(client, repository, key)).await
            }
            Kind::Folder(cache) => from_folder(cache, key).await,
        };
        match found {
            Ok(None) => None,
            Ok(Some(manifest)) => match StoredStep::read(&manifest, oldest) {
                Ok(step) => Some(step),
                Err(EntryError::Expired(_)) => None,
                Err(source) => {
                    let key = key.to_owned();
                    self.complain_of_entry(&PlaceError::Entry { key, source });
                    None
                }
            },
            Err(error) if error.is_of_entry() => {
                self.complain_of_entry(&error);
                None
            }
            Err(error) => {
                self.give_up_reading(&error);
                None
            }
        }
    }

    fn complain_of_entry(&self, error: &PlaceError) {
        let (name, why) = (self.name(), with_causes(error));
        let text =
            format!("an entry of the cache at {name} is not usable and will be made again: {why}");
        if self.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!("{text}");
        } else {
            self.warn(text);
        }
    }

    /// A place that does not give is not given anything either: it would most likely not take it, and each try costs
    /// time. But some registries deny the reading of a repository that does not exist yet, and make it when something
    /// is pushed.
    fn give_up_reading(&self, error: &PlaceError) {
        if !error.is_denied() {
            self.unwritable.store(true, Ordering::Relaxed);
        }
        if !self.unreadable.swap(true, Ordering::Relaxed) {
            let (name, why) = (self.name(), with_causes(error));
            self.warn(format!(
                "the cache at {name} cannot be read, so the build goes on without it: {why}. \
                 Check its name, credentials and network, or leave it out"
            ));
        }
    }

    /// Says once that storing does not work; the build is none the worse for it (H23).
    pub(crate) fn give_up_storing(&self, error: &PlaceError) {
        if !self.unwritable.swap(true, Ordering::Relaxed) {
            let (name, why) = (self.name(), with_causes(error));
            if self.unreadable.load(Ordering::Relaxed) {
                // Said already that it cannot be used.
                tracing::info!("nothing is stored in the cache at {name} either: {why}");
                return;
            }
            self.warn(format!(
                "steps cannot be stored in the cache at {name}: {why}. The next build will run them again; \
                 `--no-push-cache` does not try"
            ));
        }
    }

    fn warn(&self, text: String) {
        self.events.event(Event::Warning(text));
    }

    /// Stores an entry under its keys: blobs first, manifests last, so that it is visible only when whole (H28).
    pub(crate) async fn put(
        &self,
        keys: &[String],
        documents: &Documents,
        layer: Option<&LayerFile>,
    ) -> Result<(), PlaceError> {
        match &self.kind {
            Kind::Repository(client, repository) => {
                if let Some(layer) = layer {
                    put_layer(client, repository, layer).await?;
                }
                put_documents(client, repository, keys, documents).await
            }
            Kind::Folder(cache) => put_in_folder(cache, keys, documents, layer).await,
        }
    }

    /// Lets another key lead to an entry that is here.
    pub(crate) async fn add_key(&self, key: &str, step: &StoredStep) -> Result<(), PlaceError> {
        match &self.kind {
            Kind::Repository(client, repository) => {
                put_manifest(client, repository, key, &step.manifest).await
            }
            Kind::Folder(cache) => {
                let config = self.document(&step.config).await?;
                let documents = Documents {
                    manifest: step.manifest.clone(),
                    config: config.to_vec(),
                    config_descriptor: step.config.clone(),
                };
                let layer = step.layer.as_ref().and_then(|(descriptor, _)| {
                    Some(LayerFile {
                        descriptor: descriptor.clone(),
                        path: cache.blob_path(&descriptor.digest)?,
                        early: None,
                    })
                });
                put_in_folder(cache, &[key.to_owned()], &documents, layer.as_ref()).await
            }
        }
    }

    /// The config of an entry, or another document of its manifest.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, PlaceError> {
        match &self.kind {
            Kind::Repository(client, repository) => {
                patiently(async {
                    Ok(client
                        .blob_bytes(repository, descriptor, MAX_CONFIG)
                        .await?)
                })
                .await
            }
            Kind::Folder(cache) => {
                let path = cache.blob_path(&descriptor.digest);
                let path = path.ok_or(Miss::Absent {
                    digest: descriptor.digest,
                })?;
                let kind = SmallFile::new("a document of a cache", MAX_CONFIG);
                let bytes = kind.read(&path);
                let unreadable = |source| Miss::Unreadable { path, source };
                Ok(bytes.map_err(unreadable)?.into())
            }
        }
    }

    /// A document that stands for itself: a trail.
    pub(crate) async fn note(&self, name: &str) -> Option<Bytes> {
        if self.unreadable.load(Ordering::Relaxed) {
            return None;
        }
        match &self.kind {
            Kind::Repository(client, repository) => {
                let manifest = patiently(from_repository(client, repository, name)).await;
                let manifest = kiln_oci::Manifest::parse(&manifest.ok()??).ok()?;
                self.document(&manifest.config).await.ok()
            }
            Kind::Folder(cache) => cache.read_note(name).map(Bytes::from),
        }
    }

    /// Keeps such a document.
    pub(crate) async fn put_note(
        &self,
        name: &str,
        bytes: &[u8],
        created: &str,
    ) -> Result<(), PlaceError> {
        match &self.kind {
            Kind::Repository(client, repository) => {
                let documents = super::entry::trail_documents(bytes, created);
                put_documents(client, repository, &[name.to_owned()], &documents).await
            }
            Kind::Folder(cache) => Ok(cache.write_note(name, bytes)?),
        }
    }
}

async fn patiently<T>(work: impl Future<Output = Result<T, PlaceError>>) -> Result<T, PlaceError> {
    tokio::time::timeout(READ_PATIENCE, work)
        .await
        .unwrap_or(Err(PlaceError::Patience(READ_PATIENCE)))
}

async fn from_repository(
    client: &Client,
    repository: &Repository,
    tag: &str,
) -> Result<Option<Vec<u8>>, PlaceError> {
    let reference = repository.at_tag(tag)?;
    match client.manifest(&reference).await {
        Ok(fetched) => Ok(Some(fetched.bytes.to_vec())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn from_folder(cache: &ImageCache, key: &str) -> Result<Option<Vec<u8>>, PlaceError> {
    let (cache, key) = (cache.clone(), key.to_owned());
    let found = tokio::task::spawn_blocking(move || match cache.step(&key) {
        Ok(step) => {
            cache.mark_step_used(&key);
            Ok(Some(step.manifest_bytes))
        }
        Err(miss) if miss.is_absent() => Ok(None),
        Err(miss) => Err(miss),
    });
    Ok(found.await.map_err(|_| PlaceError::Lost)??)
}

async fn put_layer(
    client: &Client,
    repository: &Repository,
    layer: &LayerFile,
) -> Result<(), PlaceError> {
    if let Some(early) = &layer.early
        && early.complete(client, repository, &layer.descriptor).await
    {
        return Ok(());
    }
    let source = BlobSource::File(layer.path.clone());
    client
        .push_blob(repository, &layer.descriptor, source, &[])
        .await?;
    Ok(())
}

async fn put_documents(
    client: &Client,
    repository: &Repository,
    tags: &[String],
    documents: &Documents,
) -> Result<(), PlaceError> {
    let config = BlobSource::Bytes(Bytes::copy_from_slice(&documents.config));
    client
        .push_blob(repository, &documents.config_descriptor, config, &[])
        .await?;
    for tag in tags {
        put_manifest(client, repository, tag, &documents.manifest).await?;
    }
    Ok(())
}

async fn put_manifest(
    client: &Client,
    repository: &Repository,
    tag: &str,
    manifest: &[u8],
) -> Result<(), PlaceError> {
    let reference = repository.at_tag(tag)?;
    let manifest = Bytes::copy_from_slice(manifest);
    client
        .push_manifest(&reference, manifest, &MediaType::OciManifest)
        .await?;
    Ok(())
}

async fn put_in_folder(
    cache: &ImageCache,
    keys: &[String],
    documents: &Documents,
    layer: Option<&LayerFile>,
) -> Result<(), PlaceError> {
    let (cache, keys, layer) = (cache.clone(), keys.to_vec(), layer.cloned());
    let (manifest, config) = (documents.manifest.clone(), documents.config.clone());
    let put = tokio::task::spawn_blocking(move || {
        let layer: Option<(&Path, &Descriptor)> = layer
            .as_ref()
            .map(|layer| (layer.path.as_path(), &layer.descriptor));
        let step = NewStep {
            manifest_bytes: &manifest,
            config_bytes: &config,
            layer,
        };
        keys.iter().try_for_each(|key| cache.put_step(key, &step))
    });
    Ok(put.await.map_err(|_| PlaceError::Lost)??)
}
