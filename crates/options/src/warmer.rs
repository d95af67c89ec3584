//! Everything the warmer is told.

use std::path::PathBuf;

use kiln_oci::{Platform, Reference};
use kiln_registry::RegistrySettings;

use crate::env_vars::Env;
use crate::{
    CacheOptions, CacheSettings, DockerfileSource, LogOptions, OptionError, RegistryOptions,
    build_args, executor,
};

/// Options that say which images are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Images")
)]
pub struct WarmOptions {
    /// Image to fetch. May be repeated.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "IMAGE"))]
    pub image: Vec<String>,
    /// Path or URL of a Dockerfile; the images it builds on, copies from and mounts are fetched. May be repeated.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "FILE"))]
    pub dockerfile: Vec<String>,
    /// Value of an ARG of the Dockerfiles; without a value, that of the variable of the same name. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME[=VALUE]"))]
    pub build_arg: Vec<String>,
    /// Platform of the images; that of this machine by default.
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "customPlatform",
            alias = "custom-platform",
            value_name = "OS/ARCH[/VARIANT]"
        )
    )]
    pub custom_platform: Option<String>,
    /// Fetch again what is there already.
    #[cfg_attr(feature = "clap", arg(short, long))]
    pub force: bool,
    /// How many images are fetched at the same time.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NUMBER", value_parser = crate::quantity::at_least_one,
        default_value = WarmOptions::PARALLEL_TEXT))]
    pub parallel: usize,
}

impl WarmOptions {
    #[cfg(feature = "clap")]
    const PARALLEL_TEXT: &str = "4";
    const PARALLEL: usize = 4;
}

impl Default for WarmOptions {
    fn default() -> Self {
        Self {
            image: Vec::new(),
            dockerfile: Vec::new(),
            build_arg: Vec::new(),
            custom_platform: None,
            force: false,
            parallel: Self::PARALLEL,
        }
    }
}

/// Every option of the warmer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct WarmerOptions {
    /// Which images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub warm: WarmOptions,
    /// Where to.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub cache: CacheOptions,
    /// How registries are reached.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub registry: RegistryOptions,
    /// What is logged.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub log: LogOptions,
}

impl WarmerOptions {
    /// Checks everything that can be checked before the first request.
    pub fn resolve(&self, env: &Env<'_>) -> Result<WarmSettings, OptionError> {
        let mut dockerfiles = Vec::new();
        for name in self.warm.dockerfile.iter().filter(|name| !name.is_empty()) {
            let found = DockerfileSource::find(name, None)?;
            if !dockerfiles.contains(&found) {
                dockerfiles.push(found);
            }
        }
        if self.warm.image.is_empty() && dockerfiles.is_empty() {
            return Err(OptionError::NothingToWarm);
        }
        let mut images = Vec::new();
        for value in &self.warm.image {
            let image =
                Reference::parse(value).map_err(|source| OptionError::InvalidReference {
                    flag: "--image",
                    value: value.clone(),
                    source,
                })?;
            if !images.contains(&image) {
                images.push(image);
            }
        }
        Ok(WarmSettings {
            images,
            dockerfiles,
            build_args: build_args::resolve(&self.warm.build_arg, env)?,
            platform: executor::platform("--customPlatform", self.warm.custom_platform.as_deref())?,
            cache: self.cache()?,
            force: self.warm.force,
            parallel: self.warm.parallel,
            registry: self.registry.resolve(env)?,
        })
    }

    /// The volume, which the warmer cannot do without.
    fn cache(&self) -> Result<CacheSettings, OptionError> {
        let settings = self.cache.volume()?;
        match settings.dir {
            Some(_) => Ok(settings),
            None => Err(OptionError::MissingArgument {
                what: "`--cache-dir`".to_owned(),
            }),
        }
    }
}

/// What the warmer needs to know, checked.
#[derive(Debug, Clone)]
pub struct WarmSettings {
    /// Images to fetch, each once.
    pub images: Vec<Reference>,
    /// Dockerfiles whose images are fetched.
    pub dockerfiles: Vec<DockerfileSource>,
    /// Values of their ARGs; each name once.
    pub build_args: Vec<(String, String)>,
    /// Which entry of an index is fetched (H37).
    pub platform: Platform,
    /// The volume; its folder is created with mode 0755 if it is not there.
    pub cache: CacheSettings,
    /// Fetch again what is there already (H31).
    pub force: bool,
    /// How many images are fetched at the same time.
    pub parallel: usize,
    /// How registries are reached.
    pub registry: RegistrySettings,
}

impl Default for WarmSettings {
    /// No images, for the platform of this machine.
    fn default() -> Self {
        Self {
            images: Vec::new(),
            dockerfiles: Vec::new(),
            build_args: Vec::new(),
            platform: Platform::host(),
            cache: CacheSettings::default(),
            force: false,
            parallel: WarmOptions::PARALLEL,
            registry: RegistrySettings::default(),
        }
    }
}

impl WarmSettings {
    /// The folder of the volume.
    pub fn cache_dir(&self) -> PathBuf {
        self.cache
            .dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(CacheOptions::DIR))
    }
}
