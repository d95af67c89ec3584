//! Fills a volume with base images (conformance H31-H38).

mod room;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kiln_context::DOCKERFILE;
use kiln_dockerfile::Expander;
use kiln_oci::{Descriptor, Digest, Platform, Reference};
use kiln_options::byte_size;
use kiln_registry::{Client, RegistryError, RemoteImage};
use kiln_tarball_cache::{
    Access, Begun, BlobClaim, CacheError, CacheWriter, Claim, ImageCache, NewImage,
};

use kiln_download as fetch;
use kiln_download::{ClientError, FetchError};
use kiln_events::{
    Careful, Event, EventSink, Meter, NoteKind, Subject, Transfer, TransferKind, WarningKind,
};
use kiln_oci::ImageSource;
use kiln_options::{DockerfileSource, WarmSettings};
use kiln_plan::plan::{Plan, PlanError, Source};
use kiln_plan::scope::BuildArgs;
use kiln_shown::{counted, with_causes};
use kiln_store::noticed::{of_volumes, telling};
use kiln_work::patience::{LONGEST_WAIT, Patience};
use kiln_work::spool::Spool;

use self::room::Room;

/// How long another warmer is waited for that stores the same image.
const LONGEST_IMAGE_WAIT: Duration = Duration::from_hours(1);

/// Why warming failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmError {
    /// The volume cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The registry client cannot be made from the settings.
    #[error("the registry settings cannot be used")]
    Client(#[source] RegistryError),
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile `{name}`")]
    ReadDockerfile {
        /// Where it is.
        name: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The Dockerfile cannot be fetched.
    #[error("cannot read the Dockerfile")]
    FetchDockerfile(#[from] FetchError),
    /// The client for downloads cannot be made.
    #[error("cannot prepare downloads")]
    Downloads(#[source] ClientError),
    /// The Dockerfile cannot be parsed.
    #[error("{}", errors.in_file(name))]
    Parse {
        /// Where it is.
        name: String,
        /// Every mistake found, with its line.
        errors: kiln_dockerfile::ParseError,
    },
    /// A FROM of the Dockerfile cannot be evaluated.
    #[error("{name}:{line}")]
    Plan {
        /// Where it is.
        name: String,
        /// The line, from 1.
        line: u32,
        /// What is wrong with it.
        #[source]
        source: Box<PlanError>,
    },
}

/// Why one image is not in the volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmImageError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The volume did not take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no room for it, so nothing of it was fetched.
    #[error(
        "it does not fit: its layers need {}, and {} are free in the cache at `{}`; make room with `warmer prune`, or give \
         the volume more",
        byte_size(*needed), byte_size(*free), dir.display()
    )]
    NoRoom {
        /// Bytes of the layers that are missing.
        needed: u64,
        /// Bytes that are free and promised to no other image.
        free: u64,
        /// The volume.
        dir: PathBuf,
    },
    /// Somebody else holds the lock of the image, and does not come to an end.
    #[error(
        "another process has been storing manifest {digest} for more than an hour; end it, or try again when it is done"
    )]
    HeldByAnother {
        /// Digest of the manifest.
        digest: Digest,
    },
    /// The thread that waited for the volume is gone.
    #[error("a thread ended before it was done")]
    Lost,
}

/// What became of one image.
#[derive(Debug)]
pub struct WarmedImage {
    /// The image as it was asked for.
    pub reference: Reference,
    /// Its manifest's digest and what was done, or why it is not there.
    pub outcome: Result<Warmed, WarmImageError>,
}

/// An image that is in the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmed {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of layers that were fetched; 0 when it was there already.
    pub fetched: u64,
}

/// What became of all images.
#[derive(Debug)]
pub struct WarmReport {
    /// In the order they were asked for, each once.
    pub images: Vec<WarmedImage>,
}

impl WarmReport {
    /// Whether every image is in the volume (H38).
    pub fn is_complete(&self) -> bool {
        self.images.iter().all(|image| image.outcome.is_ok())
    }
}

/// Brings images into the local volume; what is there already is not fetched. A failing image does not
/// stop the others.
pub async fn warm(
    settings: WarmSettings,
    events: Arc<dyn EventSink>,
) -> Result<WarmReport, WarmError> {
    let events = Careful::before(events);
    let client = Client::new(telling(&settings.registry, &events)).map_err(WarmError::Client)?;
    let cache = ImageCache::open(&settings.cache_dir(), Access::ReadWrite)?;
    let cache = cache.telling(of_volumes(&events));
    let mut wanted: Vec<(Reference, Platform)> = settings
        .images
        .iter()
        .map(|reference| (reference.clone(), settings.platform.clone()))
        .collect();
    for source in &settings.dockerfiles {
        wanted.extend(images_of(&settings, source).await?);
    }
    let mut seen = BTreeSet::new();
    wanted.retain(|image| seen.insert(image.clone()));
    let warmer = Warmer {
        client: &client,
        cache: &cache,
        room: Room::of(cache.dir()),
        force: settings.force,
        events: &events,
    };
    let images = futures_util::stream::iter(wanted)
        .map(|(reference, platform)| warmer.image(reference, platform))
        .buffered(settings.parallel.max(1))
        .collect()
        .await;
    Ok(WarmReport { images })
}

/// The images that a Dockerfile builds on, copies from and mounts, ARGs expanded; stages and scratch are none (H36).
async fn images_of(
    settings: &WarmSettings,
    source: &DockerfileSource,
) -> Result<Vec<(Reference, Platform)>, WarmError> {
    let (name, text) = read_dockerfile(settings, source).await?;
    let dockerfile = kiln_dockerfile::parse(&text).map_err(|errors| WarmError::Parse {
        name: name.clone(),
        errors,
    })?;
    let build_args: BuildArgs = settings.build_args.iter().cloned().collect();
    let planned = |(span, source): (kiln_dockerfile::Span, Box<PlanError>)| WarmError::Plan {
        name: name.clone(),
        line: span.line(),
        source,
    };
    let global = Plan::global_scope(&dockerfile, &settings.platform, "default", &build_args)
        .map_err(planned)?;
    let plan = Plan {
        contexts: Vec::new(),
        expander: Expander::new(dockerfile.directives.escape),
        targets: Vec::new(),
        platform: settings.platform.clone(),
        global,
        dockerfile,
    };
    let mut images = Vec::new();
    for (number, stage) in plan.dockerfile.stages.iter().enumerate() {
        let base = plan.base(number).map_err(planned)?;
        let others = plan.sources(number, &stage.instructions).map_err(planned)?;
        for source in std::iter::once(base).chain(others) {
            if let Source::Image(source, platform) = source
                && let ImageSource::Registry(reference) = *source
            {
                images.push((reference, platform));
            }
        }
    }
    Ok(images)
}

async fn read_dockerfile(
    settings: &WarmSettings,
    source: &DockerfileSource,
) -> Result<(String, Vec<u8>), WarmError> {
    let failed = |name: String| move |source| WarmError::ReadDockerfile { name, source };
    match source {
        DockerfileSource::Path(path) => {
            let name = path.display().to_string();
            // There is no context: the path is one that the caller chose.
            let text = DOCKERFILE.read(path).map_err(failed(name.clone()))?;
            Ok((name, text))
        }
        DockerfileSource::Url(url) => {
            let client =
                fetch::client(&settings.registry.user_agent).map_err(WarmError::Downloads)?;
            let dir = std::env::temp_dir();
            let spool = Spool::create(&dir).map_err(failed(url.to_string()))?;
            let fetched = fetch::fetch_small(&client, url, DOCKERFILE, &spool).await?;
            let text = DOCKERFILE
                .read_to_end(&mut fetched.content.open())
                .map_err(failed(url.to_string()))?;
            Ok((url.to_string(), text))
        }
    }
}

struct Warmer<'a> {
    client: &'a Client,
    cache: &'a ImageCache,
    room: Room,
    force: bool,
    events: &'a Arc<dyn EventSink>,
}

impl Warmer<'_> {
    async fn image(&self, reference: Reference, platform: Platform) -> WarmedImage {
        let outcome = self.bring(&reference, &platform).await;
        let shown = reference.familiar();
        self.events.event(match &outcome {
            Ok(Warmed { digest, fetched: 0 }) => {
                let text = format!("{shown} ({digest}) is in the cache");
                Event::note(NoteKind::Warming, text)
            }
            Ok(Warmed { digest, fetched }) => {
                let text = format!("{shown} ({digest}): fetched {}", byte_size(*fetched));
                Event::note(NoteKind::Warming, text)
            }
            Err(error) => {
                let text = format!("{shown}: {}", with_causes(error));
                Event::warning(WarningKind::NotWarmed, text)
            }
        });
        WarmedImage { reference, outcome }
    }

    async fn bring(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Warmed, WarmImageError> {
        // Held until the image is there.
        let _claim = match self.known_digest(reference).await? {
            Some(digest) if !self.force => match self.claim(reference, &digest, platform).await? {
                Found::Present(warmed) => return Ok(warmed),
                Found::Claimed(claim) => Some(claim),
            },
            _ => None,
        };
        let image = self.client.image(reference, platform).await?;
        for warning in &image.warnings {
            self.events
                .event(Event::warning(WarningKind::BaseImage, warning));
        }
        let digest = image.manifest_digest;
        match self.begin(digest).await? {
            Begun::Locked(writer) => {
                let fetched = self.store(&writer, reference, &image).await?;
                let new = NewImage {
                    index: image.index_digest.map(|index| (index, platform.clone())),
                    reference: Some(reference.clone()),
                    ..NewImage::new(
                        &image.manifest_bytes,
                        image.manifest.effective_media_type(),
                        &image.config_bytes,
                    )
                };
                writer.commit(&new)?;
                Ok(Warmed { digest, fetched })
            }
            Begun::Present(_) | Begun::Busy => {
                if let Some(index) = &image.index_digest {
                    self.cache.add_alias(index, platform, &digest)?;
                }
                Ok(Warmed { digest, fetched: 0 })
            }
        }
    }

    /// One request at most: a reference with a digest needs none.
    async fn known_digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        if let Some(digest) = reference.digest() {
            return Ok(Some(digest));
        }
        let found = self.client.head_manifest(reference).await?;
        Ok(found.map(|descriptor| descriptor.digest()))
    }

    /// Finds the image in the volume, or takes the right to fetch it, waiting for whoever has it.
    async fn claim(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<Found, WarmImageError> {
        let mut patience = None;
        loop {
            // In this order: whoever gives the right back may have stored the image.
            let claim = self.cache.claim(digest)?;
            if let Ok(image) = self.cache.lookup(digest, platform) {
                // Whoever warms an image wants it kept.
                self.cache.mark_used(&image.manifest_digest);
                let digest = image.manifest_digest;
                return Ok(Found::Present(Warmed { digest, fetched: 0 }));
            }
            if let Some(claim) = claim {
                return Ok(Found::Claimed(claim));
            }
            let patience = patience.get_or_insert_with(|| {
                let text = format!(
                    "{} ({digest}) is being fetched by somebody else: waiting",
                    reference.familiar()
                );
                self.events.event(Event::note(NoteKind::Waiting, text));
                Patience::of(LONGEST_IMAGE_WAIT)
            });
            if !patience.wait().await {
                return Err(WarmImageError::HeldByAnother { digest: *digest });
            }
        }
    }

    /// Takes the lock of an entry, waiting for whoever is fetching it, off the runtime's threads.
    async fn begin(&self, digest: Digest) -> Result<Begun, WarmImageError> {
        let (cache, force) = (self.cache.clone(), self.force);
        let begun = tokio::task::spawn_blocking(move || {
            if force {
                cache.begin_again(&digest)
            } else {
                cache.begin(&digest)
            }
        });
        Ok(begun.await.map_err(|_| WarmImageError::Lost)??)
    }

    /// Fetches the layers that the volume does not have; gives the bytes that came.
    async fn store(
        &self,
        writer: &CacheWriter,
        reference: &Reference,
        image: &RemoteImage,
    ) -> Result<u64, WarmImageError> {
        let mut seen = BTreeSet::new();
        let missing: Vec<&Descriptor> = image
            .manifest
            .layers()
            .iter()
            .filter(|layer| seen.insert(layer.digest()) && writer.needs_blob(layer))
            .collect();
        let promised = self.room.promise(&missing);
        let promised = promised.map_err(|full| WarmImageError::NoRoom {
            needed: full.needed,
            free: full.free,
            dir: self.cache.dir().to_owned(),
        })?;
        let progress = Progress {
            name: reference.familiar(),
            total: missing.iter().map(|layer| layer.size()).sum(),
            done: AtomicU64::new(0),
            events: self.events.as_ref(),
        };
        progress.begin(missing.len());
        let fetches = missing.into_iter().map(|layer| async {
            let fetched = self.layer(writer, layer, image, reference).await?;
            progress.add(layer.size());
            Ok::<u64, WarmImageError>(fetched)
        });
        let sizes = futures_util::future::try_join_all(fetches).await?;
        promised.use_up();
        Ok(sizes.into_iter().sum())
    }

    /// Fetches one layer, unless somebody else who needs it as well does so first.
    async fn layer(
        &self,
        writer: &CacheWriter,
        layer: &Descriptor,
        image: &RemoteImage,
        reference: &Reference,
    ) -> Result<u64, WarmImageError> {
        let patience = Patience::of(LONGEST_WAIT);
        let _claim = loop {
            match writer.claim_blob(layer)? {
                BlobClaim::Present => return Ok(0),
                BlobClaim::Claimed(claim) => break Some(claim),
                BlobClaim::Busy if patience.wait().await => {}
                BlobClaim::Busy => break None,
            }
        };
        let path = writer.staging_dir().join(layer.digest().hex());
        let transfer = Transfer::new(TransferKind::Pull)
            .of(layer.digest(), layer.size())
            .on_behalf_of(Some(Subject::Image(reference.familiar())))
            .with_repository(&image.from);
        let meter = Meter::new(self.events, transfer);
        self.client
            .blob_to_file(&image.from, layer, &path, &|there| meter.reach(there))
            .await?;
        meter.done();
        writer.adopt_blob(&path, layer)?;
        // Hard-linked or copied by now; the staging folder goes in any case.
        let _ = std::fs::remove_file(&path);
        Ok(layer.size())
    }
}

/// What asking for an image came to.
enum Found {
    Present(Warmed),
    Claimed(Claim),
}

/// Tells how far an image is.
struct Progress<'a> {
    name: String,
    total: u64,
    done: AtomicU64,
    events: &'a dyn EventSink,
}

impl Progress<'_> {
    fn begin(&self, layers: usize) {
        if layers > 0 {
            self.say(&format!(
                "fetching {}, {}",
                counted(layers, "layer"),
                byte_size(self.total)
            ));
        }
    }

    fn add(&self, size: u64) {
        let done = self.done.fetch_add(size, Ordering::Relaxed) + size;
        // The last layer is followed by a line that says so.
        if done < self.total {
            self.say(&format!("{} of {}", byte_size(done), byte_size(self.total)));
        }
    }

    fn say(&self, text: &str) {
        let text = format!("{}: {text}", self.name);
        self.events.event(Event::note(NoteKind::Warming, text));
    }
}
