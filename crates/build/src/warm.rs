//! Fills a volume with base images (conformance H31-H38).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use kiln_dockerfile::Expander;
use kiln_oci::{Digest, Platform, Reference};
use kiln_registry::{Client, RegistryError, RemoteImage};
use kiln_tarball_cache::{Access, Begun, CacheError, CacheWriter, ImageCache, NewImage};

use crate::event::{Event, EventSink};
use crate::fetch::{self, ClientError, FetchError};
use crate::plan::{ImageSource, Plan, PlanError, Source};
use crate::report::with_causes;
use crate::scope::BuildArgs;
use crate::settings::{DockerfileSource, WarmSettings};
use crate::spool::Spool;

/// How many images are looked at or fetched at once; their layers share the client's own limit.
const AT_ONCE: usize = 4;

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
    let client = Client::new(settings.registry.clone()).map_err(WarmError::Client)?;
    let cache = ImageCache::open(&settings.cache_dir(), Access::ReadWrite)?;
    let mut wanted: Vec<(Reference, Platform)> = settings
        .images
        .iter()
        .map(|reference| (reference.clone(), settings.platform.clone()))
        .collect();
    if let Some(source) = &settings.dockerfile {
        wanted.extend(images_of(&settings, source).await?);
    }
    let mut seen = BTreeSet::new();
    wanted.retain(|image| seen.insert(image.clone()));
    let warmer = Warmer {
        client: &client,
        cache: &cache,
        force: settings.force,
        events: events.as_ref(),
    };
    let images = futures_util::stream::iter(wanted)
        .map(|(reference, platform)| warmer.image(reference, platform))
        .buffered(AT_ONCE)
        .collect()
        .await;
    Ok(WarmReport { images })
}

/// The images that the FROM lines of a Dockerfile name, ARGs expanded; stages and scratch are none (H36).
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
        expander: Expander::new(dockerfile.directives.escape),
        targets: Vec::new(),
        platform: settings.platform.clone(),
        global,
        dockerfile,
    };
    let mut images = Vec::new();
    for stage in 0..plan.dockerfile.stages.len() {
        let base = plan.base(stage).map_err(planned)?;
        if let Source::Image(source, platform) = base
            && let ImageSource::Registry(reference) = *source
        {
            images.push((reference, platform));
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
            let text = std::fs::read(path).map_err(failed(name.clone()))?;
            Ok((name, text))
        }
        DockerfileSource::Url(url) => {
            let client =
                fetch::client(&settings.registry.user_agent).map_err(WarmError::Downloads)?;
            let dir = std::env::temp_dir();
            let spool = Spool::create(&dir).map_err(failed(url.clone()))?;
            let fetched = fetch::fetch(&client, url, None, &spool).await?;
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut fetched.content.open(), &mut text)
                .map_err(failed(url.clone()))?;
            Ok((url.clone(), text))
        }
    }
}

struct Warmer<'a> {
    client: &'a Client,
    cache: &'a ImageCache,
    force: bool,
    events: &'a dyn EventSink,
}

impl Warmer<'_> {
    async fn image(&self, reference: Reference, platform: Platform) -> WarmedImage {
        let outcome = self.bring(&reference, &platform).await;
        let shown = reference.familiar();
        self.events.event(match &outcome {
            Ok(Warmed { digest, fetched: 0 }) => {
                Event::Info(format!("{shown} ({digest}) is in the cache"))
            }
            Ok(Warmed { digest, fetched }) => {
                Event::Info(format!("{shown} ({digest}): fetched {fetched} bytes"))
            }
            Err(error) => Event::Warning(format!("{shown}: {}", with_causes(error))),
        });
        WarmedImage { reference, outcome }
    }

    async fn bring(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Warmed, WarmImageError> {
        if !self.force
            && let Some(digest) = self.known_digest(reference).await?
            && let Ok(image) = self.cache.lookup(&digest, platform)
        {
            return Ok(Warmed {
                digest: image.manifest_digest,
                fetched: 0,
            });
        }
        let image = self.client.image(reference, platform).await?;
        for warning in &image.warnings {
            self.events.event(Event::Warning(warning.clone()));
        }
        let digest = image.manifest_digest;
        match self.begin(digest).await? {
            Begun::Locked(writer) => {
                let fetched = self.store(&writer, &image).await?;
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
        Ok(found.map(|descriptor| descriptor.digest))
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
        image: &RemoteImage,
    ) -> Result<u64, WarmImageError> {
        let staging = writer.staging_dir();
        let mut seen = BTreeSet::new();
        let missing = image
            .manifest
            .layers
            .iter()
            .filter(|layer| seen.insert(layer.digest) && writer.needs_blob(layer));
        let fetches = missing.map(|layer| {
            let path = staging.join(layer.digest.hex());
            async move {
                self.client
                    .blob_to_file(&image.from, layer, &path, &|_| {})
                    .await?;
                writer.adopt_blob(&path, layer)?;
                // Hard-linked or copied by now; the staging folder goes in any case.
                let _ = std::fs::remove_file(&path);
                Ok::<u64, WarmImageError>(layer.size)
            }
        });
        let sizes = futures_util::future::try_join_all(fetches).await?;
        Ok(sizes.into_iter().sum())
    }
}
