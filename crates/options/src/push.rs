//! The subcommands of the executor beside building.

use std::path::PathBuf;

use kiln_oci::Reference;
use kiln_registry::RegistrySettings;

use crate::env_vars::Env;
use crate::output::destinations;
use crate::path::absolute;
use crate::{DigestFileOptions, DigestFiles, OptionError, PushOptions, RegistryOptions, WorkDir};

/// Options of `executor push`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct PushImageOptions {
    /// Docker archive (a file) or OCI layout (a folder) with one image, or with one index in the layout.
    #[cfg_attr(feature = "clap", arg(value_name = "PATH", value_parser = crate::path::any_path()))]
    pub path: PathBuf,
    /// Name to push the image to. May be repeated.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "IMAGE"))]
    pub destination: Vec<String>,
    /// Files that get the digest of the image.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub digest_files: DigestFileOptions,
    /// How images are pulled.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub registry: RegistryOptions,
    /// How images are pushed.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub push: PushOptions,
}

impl PushImageOptions {
    /// Checks names and registry options; the image is looked at later.
    pub fn resolve(&self, env: &Env<'_>) -> Result<PushImageSettings, OptionError> {
        let destinations = destinations(&self.destination)?;
        if destinations.is_empty() {
            return Err(OptionError::MissingArgument {
                what: "`--destination`".to_owned(),
            });
        }
        let executable = std::env::current_exe().ok();
        Ok(PushImageSettings {
            path: absolute(&self.path)?,
            destinations,
            digest_files: self.digest_files.resolve(env)?,
            work_dir: WorkDir::resolve(None, env, executable.as_deref())?,
            registry: self.push.resolve(&self.registry, env)?,
            skip_push_permission_check: self.push.skip_push_permission_check,
        })
    }
}

/// What `executor push` needs to know, checked.
#[derive(Debug, Clone)]
pub struct PushImageSettings {
    /// Docker archive or OCI layout, absolute.
    pub path: PathBuf,
    /// Names to push to, at least one.
    pub destinations: Vec<Reference>,
    /// Files that get the digest.
    pub digest_files: DigestFiles,
    /// Where layers are kept that have to be compressed first.
    pub work_dir: WorkDir,
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// Do not check first that pushing is allowed (I29).
    pub skip_push_permission_check: bool,
}
