//! `executor cache explain`: the options of a build, for a look at its cache.

use crate::env_vars::{self, Env};
use crate::{
    BuildSettings, CacheSwitch, DigestFiles, ExecutorOptions, ExplainFormat, OptionError, Resolved,
};

/// Options of `executor cache explain`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ExplainOptions {
    /// Form of the answer: text or json.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT", value_parser = str::parse::<ExplainFormat>,
        default_value_t))]
    pub format: ExplainFormat,
    /// The build that is looked at.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub options: ExecutorOptions,
}

impl ExplainOptions {
    /// Checks the options as a build does, and makes settings that leave everything as it is: the cache is on and only
    /// read, and every output is dropped. No destination is needed.
    pub fn resolve(&self, env: &Env<'_>) -> Result<Resolved<BuildSettings>, OptionError> {
        let mut options = self.options.clone();
        options.output.no_push = true;
        options.cache.no_push_cache = true;
        if !options.cache.caches_layers() {
            options.cache.cache = Some(CacheSwitch::On);
        }
        options.build.dryrun = false;
        options.build.materialize = false;
        options.build.pre_cleanup = Some(false);
        options.build.cleanup = Some(false);
        // It wins over the flag, so `false` would push.
        let env = |name: &str| match name {
            env_vars::KANIKO_NO_PUSH => None,
            _ => env(name),
        };
        let mut resolved = options.resolve(&env)?;
        let settings = &mut resolved.settings;
        settings.outputs.clear();
        settings.digest_files = DigestFiles::default();
        Ok(resolved)
    }
}
