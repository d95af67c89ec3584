//! The blobs of a build: fetched at most once each, checked while they are written, kept in the work
//! folder until the build ends. Blobs of the local cache and of layouts are used where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_layer::{Entry, LayerError, LayerReader, Listing, TreeIndex, extract_contents};
use kiln_oci::{Descriptor, Digest, Repository, VerifyingReader};
use kiln_registry::{Client, RegistryError};
use kiln_tarball_cache::{BlobClaim, CacheError, CachedImage, ImageCache};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::blob_folder::{blob_file, blob_path};
use crate::layers::{Described, Layer, PackError};
use crate::origin::{Located, Origin, StepBlob};
use kiln_events::{
    Event, EventSink, Meter, Metered, NoteKind, Subject, Transfer, TransferKind, WarningKind,
};
use kiln_work::interrupt::Interrupt;
use kiln_work::patience::{LONGEST_WAIT, Patience};
use kiln_work::unless_cancelled::UnlessCancelled;
use kiln_work::workers::Workers;

/// The tar stream of a blob, until the build is cancelled.
pub(crate) type BlobReader = LayerReader<UnlessCancelled<Metered<File>>>;

/// Why a blob cannot be had or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The registry did not give it.
    #[error("cannot fetch layer {digest}")]
    Fetch {
        /// The blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The local cache holds it and does not give it.
    #[error("cannot read layer {digest} from the local cache")]
    Cache {
        /// The blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: CacheError,
    },
    /// A layer of our own was not packed.
    #[error("a layer of an earlier step is missing")]
    Packed(#[source] Arc<PackError>),
    /// The blob is there but is no layer.
    #[error("layer {digest} cannot be read")]
    Read {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: Box<LayerError>,
    },
    /// The layer is not the one that the image's config promises.
    #[error("layer {digest} unpacks to {actual}, but the image's config says {expected}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// What the config says.
        expected: kiln_oci::DiffId,
        /// What it is.
        actual: kiln_oci::DiffId,
    },
    /// The layer does not fit on the layers below it.
    #[error("layer number {number} does not fit on the layers below")]
    Tree {
        /// Its position in the image, from 0.
        number: u32,
        /// What is wrong with it.
        #[source]
        source: Box<LayerError>,
    },
    /// The content of a file is not what its digest says.
    #[error("`{path}` is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A cached step has no layer any more.
    #[error("layer {digest} is not there any more")]
    Gone {
        /// The blob.
        digest: Digest,
    },
    /// The build was interrupted.
    #[error("interrupted")]
    Cancelled,
    /// The thread that read a blob is gone.
    #[error("the thread that read a blob ended before it was done")]
    Lost,
    /// The file of the blob cannot be opened.
    #[error("cannot open `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl BlobError {
    /// Whether there is no such file, rather than a bad one.
    fn is_not_found(&self) -> bool {
        matches!(self, BlobError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

type Fetch = Arc<OnceCell<PathBuf>>;

/// The blobs of one build.
pub struct Blobs {
    dir: PathBuf,
    client: Client,
    runtime: Handle,
    interrupt: Interrupt,
    workers: Workers,
    /// Those who pull the same layers through this volume share one transfer.
    volume: Option<ImageCache>,
    events: Arc<dyn EventSink>,
    fetches: Mutex<HashMap<Digest, Fetch>>,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Blobs {
    /// Keeps blobs in `dir`; `volume` is one that is shared with other builds.
    pub fn new(
        dir: PathBuf,
        client: Client,
        runtime: Handle,
        interrupt: Interrupt,
        workers: Workers,
        volume: Option<ImageCache>,
        events: Arc<dyn EventSink>,
    ) -> Blobs {
        Blobs {
            dir,
            client,
            runtime,
            interrupt,
            workers,
            volume,
            events,
            fetches: Mutex::default(),
        }
    }

    /// The file of a base layer's blob, fetched if it is not here yet; callers that want the same blob
    /// at once share one transfer.
    pub async fn fetch(
        &self,
        descriptor: &Descriptor,
        origin: &Origin,
    ) -> Result<PathBuf, BlobError> {
        let cell = {
            let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetches.entry(descriptor.digest()).or_default())
        };
        let fetch = cell.get_or_try_init(|| async {
            match origin {
                Origin::Registry(repository) => self.pull(descriptor, repository).await,
                Origin::Step(step) => self.fetch_step(descriptor, step.as_ref()).await,
                Origin::Cached(image, repository) => {
                    self.cached_or_download(descriptor, image, repository).await
                }
                Origin::File(path) => self.check_file(descriptor, path).await,
            }
        });
        // Boxed, or every future above would carry its 20 KiB.
        let fetched = self.interrupt.unless_raised(Box::pin(fetch)).await;
        fetched.ok_or(BlobError::Cancelled)?.cloned()
    }

    /// The file of a blob that this build fetched.
    pub fn fetched(&self, digest: &Digest) -> Option<PathBuf> {
        let fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.get(digest)?.get().cloned()
    }

    /// A blob of an OCI layout is used where it lies, but not unseen: what is passed on under a digest must
    /// have it, and nobody else looks at it on the way to another layout or archive.
    async fn check_file(&self, descriptor: &Descriptor, path: &Path) -> Result<PathBuf, BlobError> {
        let (wanted, at) = (descriptor.clone(), path.to_owned());
        off_runtime(move || {
            let file = kiln_oci::open_file(&at).map_err(|source| BlobError::Open {
                path: at.clone(),
                source,
            })?;
            let mut reader = VerifyingReader::new(file, wanted.digest(), Some(wanted.size()));
            match io::copy(&mut reader, &mut io::sink()) {
                Ok(_) => Ok(at),
                Err(source) => Err(BlobError::Damaged { path: at, source }),
            }
        })
        .await
    }

    /// A blob of the local cache; if it is damaged the registry has it still, and the user hears of it.
    async fn cached_or_download(
        &self,
        descriptor: &Descriptor,
        image: &Arc<CachedImage>,
        repository: &Repository,
    ) -> Result<PathBuf, BlobError> {
        let found = match image.blob_path(&descriptor.digest()) {
            Some(path) => self.check_file(descriptor, &path).await,
            None => self.copy_out(descriptor, image).await,
        };
        let Err(error) = found else { return found };
        let digest = descriptor.digest();
        if error.is_not_found() {
            // A prune took it after the image was looked up; that is nobody's fault.
            let text = format!(
                "layer {digest} is no longer in the local cache: pulling it from {repository}"
            );
            self.events.event(Event::note(NoteKind::ImageSource, text));
        } else {
            let why = kiln_shown::with_causes(&error);
            let text = format!(
                "layer {digest} in the local cache is damaged: {why}; pulling it from {repository}. \
                 `warmer --force` renews the image"
            );
            self.events
                .event(Event::warning(WarningKind::VolumeImage, text));
        }
        self.download_base(descriptor, repository).await
    }

    async fn download_base(
        &self,
        descriptor: &Descriptor,
        repository: &Repository,
    ) -> Result<PathBuf, BlobError> {
        let image = Subject::Image(repository.to_string());
        self.download(&self.client, descriptor, repository, image)
            .await
    }

    /// The layer of a base from its registry, unless somebody else who shares the volume fetches it just now: then
    /// it is there a moment later (conformance H32).
    async fn pull(
        &self,
        descriptor: &Descriptor,
        repository: &Repository,
    ) -> Result<PathBuf, BlobError> {
        let Some(volume) = &self.volume else {
            return self.download_base(descriptor, repository).await;
        };
        let _claim = match self.claim(volume, descriptor).await {
            Ok(BlobClaim::Claimed(claim)) => Some(claim),
            Ok(_) => {
                if let Some(path) = volume.blob_path(&descriptor.digest())
                    && let Ok(path) = self.check_file(descriptor, &path).await
                {
                    return Ok(path);
                }
                None
            }
            Err(error) => {
                tracing::debug!(%error, "the volume is not used to share transfers");
                None
            }
        };
        let path = self.download_base(descriptor, repository).await?;
        // Whoever keeps the image at the end says what is wrong with the volume.
        if let Err(error) = volume.adopt_blob(&path, descriptor) {
            tracing::debug!(%error, "a layer is not shared");
        }
        Ok(path)
    }

    /// The right to fetch a layer, or the layer: waits while somebody else is at it, but not for ever.
    async fn claim(
        &self,
        volume: &ImageCache,
        descriptor: &Descriptor,
    ) -> Result<BlobClaim, CacheError> {
        let digest = descriptor.digest();
        let mut patience = None;
        loop {
            let claim = volume.claim_blob(descriptor)?;
            if !matches!(claim, BlobClaim::Busy) {
                return Ok(claim);
            }
            let patience = patience.get_or_insert_with(|| {
                let text = format!("layer {digest} is being fetched by somebody else: waiting");
                self.events.event(Event::note(NoteKind::Waiting, text));
                Patience::of(LONGEST_WAIT)
            });
            if !patience.wait().await {
                let text = format!(
                    "layer {digest} is still being fetched by somebody else after {} minutes: \
                     fetching it without them",
                    LONGEST_WAIT.as_secs() / 60
                );
                self.events
                    .event(Event::warning(WarningKind::NotWaited, text));
                return Ok(claim);
            }
        }
    }

    /// The layer of a cached step. If it is not what it should be the build begins again without the entry.
    async fn fetch_step(
        &self,
        descriptor: &Descriptor,
        step: &dyn StepBlob,
    ) -> Result<PathBuf, BlobError> {
        let into = blob_path(&self.dir, &descriptor.digest());
        let found = match step.locate(descriptor, &into).await {
            Located::Repository(client, repository) => {
                let place = Subject::Cache(repository.to_string());
                self.download(client, descriptor, repository, place).await
            }
            Located::File(path) => self.check_file(descriptor, &path).await,
            Located::Gone => Err(BlobError::Gone {
                digest: descriptor.digest(),
            }),
        };
        match &found {
            Ok(path) => step.fetched(path),
            Err(_) => step.distrust(),
        }
        found
    }

    /// Takes a layer out of an archive of the cache; checked on the way.
    async fn copy_out(
        &self,
        descriptor: &Descriptor,
        image: &Arc<CachedImage>,
    ) -> Result<PathBuf, BlobError> {
        let (dir, wanted, image) = (self.dir.clone(), descriptor.clone(), Arc::clone(image));
        off_runtime(move || {
            let path = blob_path(&dir, &wanted.digest());
            let failed = |source| BlobError::Open {
                path: path.clone(),
                source,
            };
            let mut layer = image
                .open_layer(&wanted)
                .map_err(|source| BlobError::Cache {
                    digest: wanted.digest(),
                    source,
                })?;
            let mut file = blob_file(&dir).map_err(failed)?;
            io::copy(&mut layer, &mut file).map_err(failed)?;
            file.persist(&path).map_err(|error| failed(error.error))?;
            Ok(path)
        })
        .await
    }

    async fn download(
        &self,
        client: &Client,
        descriptor: &Descriptor,
        repository: &Repository,
        subject: Subject,
    ) -> Result<PathBuf, BlobError> {
        let path = blob_path(&self.dir, &descriptor.digest());
        let transfer = Transfer::new(TransferKind::Pull)
            .of(descriptor.digest(), descriptor.size())
            .on_behalf_of(Some(subject))
            .with_repository(repository);
        let meter = Meter::new(&self.events, transfer);
        client
            .blob_to_file(repository, descriptor, &path, &|there| meter.reach(there))
            .await
            .map_err(|source| BlobError::Fetch {
                digest: descriptor.digest(),
                source: Arc::new(source),
            })?;
        meter.done();
        Ok(path)
    }

    /// Begins to fetch the blobs of these layers at once. A failure shows when one is used.
    pub fn prefetch(self: &Arc<Self>, layers: &[Layer]) {
        for layer in layers {
            if let Some((descriptor, _, origin)) = layer.origin() {
                let (blobs, descriptor, origin) =
                    (Arc::clone(self), descriptor.clone(), origin.clone());
                let fetch = move || {
                    let fetched = blobs.runtime.block_on(blobs.fetch(&descriptor, &origin));
                    if let Err(error) = fetched {
                        tracing::debug!(%error, "prefetch failed");
                    }
                };
                // Without a thread the blob is fetched when it is used.
                if let Err(error) = self.workers.start("kiln-fetch", fetch) {
                    tracing::debug!(%error, "no thread to prefetch");
                }
            }
        }
    }

    /// The blob of any layer as a file. Blocks; not for async code.
    pub fn file(&self, layer: &Layer) -> Result<(PathBuf, Digest), BlobError> {
        match layer.describe().map_err(BlobError::Packed)? {
            Described::Own(packed) => Ok((packed.path, packed.info.digest)),
            Described::Base(descriptor, _, origin) => {
                let path = self.runtime.block_on(self.fetch(&descriptor, &origin))?;
                Ok((path, descriptor.digest()))
            }
        }
    }

    /// Opens a layer's tar stream, which ends with an error when the build is cancelled. Blocks; not for async code.
    pub fn reader(&self, layer: &Layer) -> Result<(BlobReader, Digest), BlobError> {
        let (path, digest) = self.file(layer)?;
        Ok((self.open(path, None)?, digest))
    }

    /// The same for a layer that is unpacked, with a meter that is done when all of it is. Blocks; not for async code.
    pub fn unpacking(&self, layer: &Layer) -> Result<(BlobReader, Digest, Arc<Meter>), BlobError> {
        let (path, digest) = self.file(layer)?;
        let size = match layer.describe().map_err(BlobError::Packed)? {
            Described::Own(packed) => packed.info.size,
            Described::Base(descriptor, _, _) => descriptor.size(),
        };
        let transfer = Transfer::new(TransferKind::Unpack)
            .of(digest, size)
            .on_behalf_of(layer.subject().cloned());
        let meter = Arc::new(Meter::new(&self.events, transfer));
        Ok((self.open(path, Some(Arc::clone(&meter)))?, digest, meter))
    }

    fn open(&self, path: PathBuf, meter: Option<Arc<Meter>>) -> Result<BlobReader, BlobError> {
        let file = kiln_oci::open_file(&path).map_err(|source| BlobError::Open { path, source })?;
        let file = UnlessCancelled::new(Metered::new(file, meter), self.interrupt.cancel());
        Ok(LayerReader::new(file))
    }

    /// What to say of a layer that could not be read to its end; if it was the build that ended, the layer is as good as
    /// before.
    fn unreadable(&self, layer: &Layer, digest: Digest, source: LayerError) -> BlobError {
        if self.interrupt.cancel().is_cancelled() {
            return BlobError::Cancelled;
        }
        layer.distrust();
        unreadable(digest, source)
    }

    /// Calls `visit` with the entries of a layer as they are read, and gives them unless they are too many to be kept.
    /// Its diff-id is checked at the end. Blocks; not for async code.
    pub fn listing(
        &self,
        layer: &Layer,
        visit: &mut dyn FnMut(&Entry),
    ) -> Result<Option<Vec<Entry>>, BlobError> {
        let (mut reader, digest) = self.reader(layer)?;
        let failed = |source| self.unreadable(layer, digest, source);
        let mut entries = Listing::default();
        while let Some((entry, _)) = reader.next_entry().map_err(failed)? {
            visit(&entry);
            entries.push(entry);
        }
        let diff_id = reader.finish().map_err(failed)?;
        check_diff_id(layer, digest, diff_id)?;
        Ok(entries.into_entries())
    }

    /// Calls `visit` with every entry of the layer, reading the blob of a base if need be: once, unless it has so many
    /// entries that they are not kept. Blocks; not for async code.
    pub fn visit_entries(
        &self,
        layer: &Layer,
        visit: &mut dyn FnMut(&Entry),
    ) -> Result<(), BlobError> {
        if let Some(known) = layer.known_entries() {
            known.for_each(visit);
        } else {
            let read = self.listing(layer, visit)?;
            layer.learn_listing(read);
        }
        Ok(())
    }

    /// Lays a layer over a tree index, as number `number` of its image. Blocks; not for async code.
    pub fn apply(&self, layer: &Layer, tree: &mut TreeIndex, number: u32) -> Result<(), BlobError> {
        let applied = match layer.content() {
            Some(made) => tree.apply_layer(number, made.entries()),
            None => {
                tree.begin_layer();
                let mut applied = Ok(());
                self.visit_entries(layer, &mut |entry| {
                    if applied.is_ok() {
                        applied = tree.apply(number, entry);
                    }
                })?;
                applied
            }
        };
        applied.map_err(|source| BlobError::Tree {
            number,
            source: Box::new(source),
        })
    }

    /// Hands the content of wanted files to `take`, in one pass over the layer. Blocks; not for async
    /// code.
    pub fn contents(
        &self,
        layer: &Layer,
        wanted: &mut dyn FnMut(&Entry) -> bool,
        take: &mut dyn FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), BlobError> {
        let (reader, digest) = self.reader(layer)?;
        extract_contents(reader, wanted, take).map_err(|source| unreadable(digest, source))?;
        Ok(())
    }
}

/// Runs blocking work beside the runtime.
async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(BlobError::Lost))
}

fn unreadable(digest: Digest, source: LayerError) -> BlobError {
    BlobError::Read {
        digest,
        source: Box::new(source),
    }
}

/// A base whose layer is not what its config says is refused (conformance I25).
pub fn check_diff_id(
    layer: &Layer,
    digest: Digest,
    actual: kiln_oci::DiffId,
) -> Result<(), BlobError> {
    match layer.base_diff_id() {
        Some(expected) if expected != actual => {
            layer.distrust();
            Err(BlobError::DiffId {
                digest,
                expected,
                actual,
            })
        }
        _ => Ok(()),
    }
}
