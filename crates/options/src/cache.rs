//! What is kept between builds, and where.

use std::path::PathBuf;
use std::time::Duration;

use kiln_oci::Reference;

use crate::cache_place::FOLDER_PREFIX;
use crate::path::{given, no_url};
use crate::value::{self, ValueError};
use crate::{CachePlace, Notice, OptionError};

/// Options for what is kept between builds, shared by both binaries.
///
/// The volume is for both. The warmer accepts the flags of the layer cache, so that one set of flags does for a
/// volume's warmer and builders, but it runs no steps and hides them from its help.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Cache")
)]
pub struct CacheOptions {
    /// Take steps from the layer cache and store them there; a REPOSITORY, or oci:DIR, is as good as a
    /// --cache-repo.
    #[cfg_attr(feature = "clap", arg(long, value_name = "BOOL|REPOSITORY", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = CacheSwitch::parse))]
    pub cache: Option<CacheSwitch>,
    /// First name of --cache; counts where --cache is not given.
    #[cfg_attr(feature = "clap", arg(long))]
    pub use_cache: bool,
    /// Repository of the layer cache, or oci:DIR for a folder; DESTINATION/cache by default, of the first
    /// destination. May be repeated: all are read, in this order, and written.
    #[cfg_attr(feature = "clap", arg(long, value_name = "REPOSITORY"))]
    pub cache_repo: Vec<String>,
    /// Repository, or oci:DIR, that is read after those of the layer cache and never written. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "REPOSITORY"))]
    pub cache_from: Vec<String>,
    /// Folder with base images, filled by the warmer, and with layers; /cache by default.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR", value_parser = crate::path::any_path()))]
    pub cache_dir: Option<PathBuf>,
    /// How long what was cached may be used, such as 6h or 1h30m.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DURATION", value_parser = crate::quantity::duration,
        default_value = CacheOptions::TTL_TEXT))]
    pub cache_ttl: Duration,
    /// Cache the layers of COPY, ADD and WORKDIR.
    #[cfg_attr(feature = "clap", arg(long, default_value = "true"))]
    pub cache_copy_layers: bool,
    /// Cache the layers of RUN.
    #[cfg_attr(feature = "clap", arg(long, default_value = "true"))]
    pub cache_run_layers: bool,
    /// Read the layer cache, but store nothing in it.
    #[cfg_attr(feature = "clap", arg(long))]
    pub no_push_cache: bool,
    /// Accepted for compatibility; a layer is compressed once, for the image and the cache.
    #[cfg_attr(feature = "clap", arg(long, default_value = "true"))]
    pub compressed_caching: bool,
}

impl CacheOptions {
    /// The arguments that mean nothing to the warmer.
    #[cfg(feature = "clap")]
    pub(crate) const LAYER_ARGUMENTS: [&str; 8] = [
        "cache",
        "use_cache",
        "cache_repo",
        "cache_from",
        "cache_copy_layers",
        "cache_run_layers",
        "no_push_cache",
        "compressed_caching",
    ];
    pub(crate) const DIR: &str = "/cache";
    #[cfg(feature = "clap")]
    const TTL_TEXT: &str = "336h";
    const TTL: Duration = Duration::from_hours(336);

    /// Whether steps are cached: as `--cache` says, else as `--use-cache` says.
    pub fn caches_layers(&self) -> bool {
        match &self.cache {
            Some(switch) => *switch != CacheSwitch::Off,
            None => self.use_cache,
        }
    }

    /// Makes the folder absolute, which need not exist (H39), and finds the places of the layer cache of a build with
    /// these names, which are only names if nothing is pushed.
    pub fn resolve(
        &self,
        destinations: &[Reference],
        no_push: bool,
    ) -> Result<CacheSettings, OptionError> {
        let mut settings = self.volume()?;
        if self.caches_layers() {
            settings.layers = Some(self.layers(destinations, no_push)?);
        }
        Ok(settings)
    }

    /// The volume without a layer cache.
    pub(crate) fn volume(&self) -> Result<CacheSettings, OptionError> {
        if let Some(dir) = &self.cache_dir {
            no_url("--cache-dir", dir, "a path of this machine")?;
        }
        let dir = match &self.cache_dir {
            None => Some(PathBuf::from(Self::DIR)),
            dir => given(dir.as_ref())?,
        };
        Ok(CacheSettings {
            dir,
            ttl: self.cache_ttl,
            layers: None,
        })
    }

    /// What was asked for and has no effect. kaniko says nothing about its own `--cache-repo` without `--cache`, and
    /// command lines that count on a switch elsewhere are common.
    pub(crate) fn without_effect(&self) -> Option<Notice> {
        let asked = self.cache_from.iter().any(|place| !place.is_empty());
        (asked && !self.caches_layers())
            .then(|| Notice("`--cache-from` has no effect without `--cache`".to_owned()))
    }

    fn layers(
        &self,
        destinations: &[Reference],
        no_push: bool,
    ) -> Result<LayerCacheSettings, OptionError> {
        let mut own = places("--cache-repo", &self.cache_repo)?;
        if let Some(CacheSwitch::At(place)) = &self.cache {
            let place = CachePlace::parse("--cache", place)?;
            own.retain(|known| *known != place);
            own.insert(0, place);
        }
        let mut from = places("--cache-from", &self.cache_from)?;
        if own.is_empty() {
            if !no_push || self.no_push_cache {
                own.extend(inferred(destinations)?);
            } else if from.is_empty() && given(self.cache_dir.as_ref())?.is_none() {
                return Err(OptionError::CacheRepoNeeded);
            }
        }
        from.retain(|place| !own.contains(place));
        Ok(LayerCacheSettings {
            places: own,
            from,
            store: !self.no_push_cache,
            copy: self.cache_copy_layers,
            run: self.cache_run_layers,
        })
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            cache: None,
            use_cache: false,
            cache_repo: Vec::new(),
            cache_from: Vec::new(),
            cache_dir: None,
            cache_ttl: Self::TTL,
            cache_copy_layers: true,
            cache_run_layers: true,
            no_push_cache: false,
            compressed_caching: true,
        }
    }
}

/// Each place once; an empty value comes from an unset variable.
fn places(flag: &'static str, values: &[String]) -> Result<Vec<CachePlace>, OptionError> {
    let mut places = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let place = CachePlace::parse(flag, value)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// The place below the first destination (H24).
fn inferred(destinations: &[Reference]) -> Result<Option<CachePlace>, OptionError> {
    let first = destinations.first();
    first
        .map(|name| CachePlace::parse("--cache-repo", &format!("{}/cache", name.repo())))
        .transpose()
}

/// What `--cache` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheSwitch {
    /// Nothing is cached.
    Off,
    /// Steps are cached.
    On,
    /// Steps are cached, and here: a repository, or a folder as `oci:DIR`.
    At(String),
}

impl CacheSwitch {
    /// Reads a boolean, else a place. A single word is no place: `--cache=yes` would otherwise send layers to
    /// `docker.io/library/yes`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        match value::boolean(text) {
            Ok(true) => Ok(Self::On),
            Ok(false) => Ok(Self::Off),
            Err(_) if text.contains('/') || text.starts_with(FOLDER_PREFIX) => {
                Ok(Self::At(text.to_owned()))
            }
            Err(ValueError { nearest, .. }) => Err(ValueError {
                expected: "`true`, `false` or a repository such as `registry.example/cache`"
                    .to_owned(),
                nearest,
            }),
        }
    }
}

/// What is kept between builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder of the volume, absolute, whether it exists or not; none if it was given as empty.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        let at = |place: &str| CacheSwitch::At(place.to_owned());
        let table = [
            ("true", CacheSwitch::On),
            ("T", CacheSwitch::On),
            ("0", CacheSwitch::Off),
            ("False", CacheSwitch::Off),
            ("reg.example/c", at("reg.example/c")),
            ("user/cache", at("user/cache")),
            ("oci:dir", at("oci:dir")),
        ];
        assert!(!table.is_empty());
        for (text, expected) in table {
            assert_eq!(CacheSwitch::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "yes", "ture", "cache", "localhost:5000"] {
            assert!(CacheSwitch::parse(text).is_err(), "{text}");
        }
    }
}
