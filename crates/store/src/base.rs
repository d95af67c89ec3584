//! Base images: from the local cache, a registry or an OCI layout to configuration and layers
//! (conformance C1, C13-C15, C24).

use std::path::PathBuf;
use std::sync::Arc;

use kiln_dockerfile::shortened;
use kiln_oci::{
    Digest, DocumentError, Family, ImageConfig, Layout, LayoutError, Manifest, Platform, Reference,
};
use kiln_registry::{Client, RegistryError};
use kiln_tarball_cache::{Access, CachedImage, ImageCache};

use crate::keep_base::Pulled;
use crate::layers::Layer;
use crate::origin::Origin;
use kiln_events::{Event, EventSink, NoteKind, WarningKind};
use kiln_oci::ImageSource;
use kiln_shown::with_causes;

/// Why a base image cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The registry did not give it.
    #[error("cannot pull `{reference}`")]
    Registry {
        /// The image.
        reference: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// The layout does not hold it.
    #[error("cannot read the image from the OCI layout `{dir}`")]
    Layout {
        /// The layout's directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: Box<LayoutError>,
    },
    /// A document of the layout is broken.
    #[error("the OCI layout `{dir}` holds a broken document")]
    LayoutDocument {
        /// The layout's directory.
        dir: PathBuf,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// The layout has no image of that name.
    #[error("the OCI layout `{dir}` holds no image named `{name}`")]
    NotInLayout {
        /// The layout's directory.
        dir: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// Manifest and config disagree.
    #[error("`{reference}` has {layers} layers in its manifest and {diff_ids} in its config")]
    LayerCount {
        /// The image.
        reference: String,
        /// Layers in the manifest.
        layers: usize,
        /// Diff-ids in the config.
        diff_ids: usize,
    },
    /// An image with more triggers than any has.
    #[error("`{reference}` has {count} ONBUILD triggers, more than MOST_INSTRUCTIONS allows")]
    TooManyTriggers {
        /// The image.
        reference: String,
        /// How many there are.
        count: usize,
    },
    /// The image is for Windows: its layers and paths mean something else.
    #[error("`{reference}` is an image for Windows, and only those for Linux can be built on here")]
    Windows {
        /// The image.
        reference: String,
    },
    /// The trigger of a base is no instruction (conformance C17).
    #[error(
        "the ONBUILD trigger `{}` of `{reference}` cannot be parsed",
        shortened(trigger)
    )]
    Trigger {
        /// The image.
        reference: String,
        /// The trigger's text.
        trigger: String,
        /// What is wrong with it.
        #[source]
        source: kiln_dockerfile::ParseError,
    },
}

/// An image that was looked up: nothing of its layers is here yet.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Digest of the manifest for the platform: where keys start (H2).
    pub digest: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The media types of its manifest.
    pub family: Family,
    /// Set when it came from a registry.
    pub pulled: Option<Arc<Pulled>>,
}

impl BaseImage {
    fn new(
        reference: &str,
        digest: Digest,
        manifest: &Manifest,
        config: ImageConfig,
        mut origin: impl FnMut(&Digest) -> Origin,
    ) -> Result<BaseImage, BaseError> {
        let diff_ids = config.diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            return Err(BaseError::LayerCount {
                reference: reference.to_owned(),
                layers: manifest.layers().len(),
                diff_ids: diff_ids.len(),
            });
        }
        let layers = manifest
            .layers()
            .iter()
            .zip(diff_ids)
            .map(|(descriptor, diff_id)| {
                let origin = origin(&descriptor.digest());
                Layer::base(descriptor.clone(), *diff_id, origin)
            })
            .collect();
        Ok(BaseImage {
            pulled: None,
            digest,
            family: manifest.family(),
            layers,
            config,
        })
    }
}

/// Looks images up.
#[expect(missing_debug_implementations, reason = "a sink has none")]
pub struct Bases<'a> {
    /// Asks the registries.
    pub client: &'a Client,
    /// The local volume, asked first.
    pub cache: Option<&'a ImageCache>,
    /// Told where images were found.
    pub events: &'a dyn EventSink,
}

impl Bases<'_> {
    /// Manifest and config of an image for a platform.
    pub async fn find(
        &self,
        source: &ImageSource,
        platform: &Platform,
    ) -> Result<BaseImage, BaseError> {
        match source {
            ImageSource::Registry(reference) => self.registry_image(reference, platform).await,
            ImageSource::Layout { dir, name } => from_layout(dir, name.as_deref(), platform),
        }
    }

    async fn registry_image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<BaseImage, BaseError> {
        if let Some(cached) = self.cache_image(reference, platform).await {
            return cached;
        }
        let shown = reference.familiar();
        let image = self
            .client
            .image(reference, platform)
            .await
            .map_err(|source| BaseError::Registry {
                reference: shown.clone(),
                source: Box::new(source),
            })?;
        for warning in &image.warnings {
            self.events
                .event(Event::warning(WarningKind::BaseImage, warning));
        }
        let from = image.from.clone();
        let digest = image.manifest_digest;
        let config = image.config.clone();
        let base = BaseImage::new(&shown, digest, &image.manifest, config, |_| {
            Origin::Registry(from.clone())
        })?;
        let pulled = Pulled::new(image, reference.clone(), platform.clone());
        Ok(BaseImage {
            pulled: Some(pulled),
            ..base
        })
    }

    /// The image from the local volume, if its digest is known and there; a miss is information, never
    /// an error (conformance H22).
    async fn cache_image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Option<Result<BaseImage, BaseError>> {
        let cache = self.cache?;
        let digest = match reference.digest() {
            Some(digest) => digest,
            None => match self.client.head_manifest(reference).await {
                Ok(Some(descriptor)) => descriptor.digest(),
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(%error, "no digest for the cache");
                    return None;
                }
            },
        };
        let shown = reference.familiar();
        let dir = cache.dir().display();
        match cache.lookup(&digest, platform) {
            Ok(cached) => {
                note_use(cache, &cached);
                let text = format!("{shown} ({digest}) is taken from the cache at {dir}");
                self.events.event(Event::note(NoteKind::ImageSource, text));
                Some(cached_image(&shown, cached, reference))
            }
            Err(miss) if miss.is_absent() => {
                let text = format!("{shown} ({digest}) is not in the cache at {dir}: pulling it");
                self.events.event(Event::note(NoteKind::ImageSource, text));
                None
            }
            Err(miss) => {
                let why = with_causes(&miss);
                let text = format!(
                    "{shown} ({digest}) in the cache at {dir} is unusable: {why}; pulling it"
                );
                self.events
                    .event(Event::warning(WarningKind::VolumeImage, text));
                None
            }
        }
    }
}

/// Keeps a prune away from an image that a build is about to read, where the volume can be written.
fn note_use(cache: &ImageCache, cached: &CachedImage) {
    // Nothing is made in a volume that only kaniko has filled.
    if cached.origin() == kiln_tarball_cache::Origin::Volume
        && let Ok(cache) = ImageCache::open(cache.dir(), Access::WriteIfPossible)
    {
        cache.mark_used(&cached.manifest_digest);
    }
}

fn cached_image(
    shown: &str,
    cached: CachedImage,
    reference: &Reference,
) -> Result<BaseImage, BaseError> {
    let cached = Arc::new(cached);
    let digest = cached.manifest_digest;
    BaseImage::new(
        shown,
        digest,
        &cached.manifest,
        cached.config.clone(),
        |_| Origin::Cached(Arc::clone(&cached), reference.repo()),
    )
}

fn from_layout(
    dir: &std::path::Path,
    name: Option<&str>,
    platform: &Platform,
) -> Result<BaseImage, BaseError> {
    let broken = |source| BaseError::Layout {
        dir: dir.to_owned(),
        source: Box::new(source),
    };
    let document = |source| BaseError::LayoutDocument {
        dir: dir.to_owned(),
        source,
    };
    let layout = Layout::open(dir).map_err(broken)?;
    let found = layout.find(name, platform).map_err(broken)?;
    let descriptor = found.ok_or_else(|| BaseError::NotInLayout {
        dir: dir.to_owned(),
        name: name.unwrap_or_default().to_owned(),
    })?;
    let bytes = layout.read_blob(&descriptor.digest()).map_err(broken)?;
    let manifest = Manifest::parse(&bytes).map_err(document)?;
    let bytes = layout
        .read_blob(&manifest.config().digest())
        .map_err(broken)?;
    let config = ImageConfig::parse(&bytes).map_err(document)?;
    let shown = format!("oci-layout://{}", dir.display());
    BaseImage::new(&shown, descriptor.digest(), &manifest, config, |digest| {
        Origin::File(layout.blob_path(digest))
    })
}
