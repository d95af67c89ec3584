//! What is kept between builds, and where.

use std::path::PathBuf;
use std::time::Duration;

use kiln_oci::Repository;

use crate::path::given;
use crate::{Notice, OptionError};

/// Options for the volume of base images, shared by both binaries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Cache")
)]
pub struct CacheOptions {
    /// Folder with base images, filled by the warmer.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR", value_parser = crate::path::any_path(),
        default_value = CacheOptions::DIR))]
    pub cache_dir: PathBuf,
    /// How long what was cached may be used, such as 6h or 1h30m.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DURATION", value_parser = crate::quantity::duration,
        default_value = CacheOptions::TTL_TEXT))]
    pub cache_ttl: Duration,
}

impl CacheOptions {
    const DIR: &str = "/cache";
    #[cfg(feature = "clap")]
    const TTL_TEXT: &str = "336h";
    const TTL: Duration = Duration::from_hours(336);

    /// Makes the folder absolute; it need not exist (H39).
    pub fn resolve(&self) -> Result<CacheSettings, OptionError> {
        Ok(CacheSettings {
            dir: given(Some(&self.cache_dir))?,
            ttl: self.cache_ttl,
            layers: None,
        })
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            cache_dir: PathBuf::from(Self::DIR),
            cache_ttl: Self::TTL,
        }
    }
}

/// The volume of base images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder, absolute, whether it exists or not; none if it was given as empty.
    pub dir: Option<PathBuf>,
    /// How long an entry may be used.
    pub ttl: Duration,
    /// The layers that steps made; none without `--cache`.
    pub layers: Option<LayerCacheSettings>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            dir: None,
            ttl: CacheOptions::TTL,
            layers: None,
        }
    }
}

/// The cache of layers that steps made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerCacheSettings {
    /// Places that are read, in this order, and written to.
    pub places: Vec<CachePlace>,
    /// Places that are read only, after the others.
    pub from: Vec<CachePlace>,
    /// Write at all.
    pub store: bool,
    /// Cache the layers of COPY, ADD and WORKDIR.
    pub copy: bool,
    /// Cache the layers of RUN.
    pub run: bool,
}

/// One place of the layer cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository, with a tag for each step.
    Repository(Repository),
    /// A folder of this machine, absolute.
    Folder(PathBuf),
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(repository) => write!(f, "{repository}"),
            Self::Folder(dir) => write!(f, "oci:{}", dir.display()),
        }
    }
}

/// Options for the layers that steps made; executor only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Cache")
)]
pub struct LayerCacheOptions {
    /// Take steps from the layer cache, and store them there.
    #[cfg_attr(feature = "clap", arg(long))]
    pub cache: bool,
    /// Repository of the layer cache, or oci:DIR for a folder; DESTINATION/cache by default.
    #[cfg_attr(feature = "clap", arg(long, value_name = "REPOSITORY"))]
    pub cache_repo: Option<String>,
    /// Cache the layers of COPY and ADD.
    #[cfg_attr(feature = "clap", arg(long))]
    pub cache_copy_layers: bool,
    /// Cache the layers of RUN.
    #[cfg_attr(feature = "clap", arg(long, default_value = "true"))]
    pub cache_run_layers: bool,
    /// Read the layer cache, but store nothing in it.
    #[cfg_attr(feature = "clap", arg(long))]
    pub no_push_cache: bool,
    /// Compress what is cached.
    #[cfg_attr(feature = "clap", arg(long, default_value = "true"))]
    pub compressed_caching: bool,
}

impl LayerCacheOptions {
    /// Checks that the cache has a place, given whether the image is pushed anywhere.
    pub(crate) fn check(
        &self,
        no_push: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<(), OptionError> {
        if !self.cache {
            return Ok(());
        }
        let repo = self
            .cache_repo
            .as_deref()
            .is_some_and(|repo| !repo.is_empty());
        if no_push && !repo && !self.no_push_cache {
            return Err(OptionError::CacheRepoNeeded);
        }
        notices.push(Notice(
            "there is no layer cache yet in this version: every step runs; base images are taken from `--cache-dir`"
                .to_owned(),
        ));
        Ok(())
    }
}

impl Default for LayerCacheOptions {
    fn default() -> Self {
        Self {
            cache: false,
            cache_repo: None,
            cache_copy_layers: false,
            cache_run_layers: true,
            no_push_cache: false,
            compressed_caching: true,
        }
    }
}
