//! Everything the executor is told.

use std::path::{Component, Path, PathBuf};

use kiln_oci::{Family, Platform, Reference};
use kiln_registry::RegistrySettings;

use crate::env_vars::{self, Env};
use crate::output::pairs;
use crate::{
    BuildContext, BuildOptions, CacheOptions, CacheSettings, CompressionKind, ContextOptions,
    DigestFiles, DockerfileSource, ImageOutput, Isolation, LogOptions, Notice, OptionError,
    OutputOptions, PushOptions, RegistryOptions, SecretSpec, SnapshotMode, SourceDateEpoch,
    SshSpec, WorkDir, build_args, build_context, secret, ssh,
};

/// What `--ignore-var-run` is about.
const VAR_RUN: &str = "/var/run";

/// Every option of the executor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ExecutorOptions {
    /// What is built, and how.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub build: BuildOptions,
    /// From which files.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub context: ContextOptions,
    /// Where to.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub output: OutputOptions,
    /// What is kept between builds.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub cache: CacheOptions,
    /// How images are pulled.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub registry: RegistryOptions,
    /// How images are pushed.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub push: PushOptions,
    /// What is logged.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub log: LogOptions,
}

/// Settings, and what the user should know about them.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The settings, checked.
    pub settings: T,
    /// What was accepted and has no effect.
    pub notices: Vec<Notice>,
}

impl ExecutorOptions {
    /// The folder of the context, if it is one.
    pub fn context_dir(&self) -> Option<PathBuf> {
        self.context.resolve(&mut Vec::new()).ok()
    }

    /// Checks everything that can be checked before work begins: names, combinations, files that must exist.
    pub fn resolve(&self, env: &Env<'_>) -> Result<Resolved<BuildSettings>, OptionError> {
        let mut notices = Vec::new();
        let build = &self.build;
        let output = self.output.resolve(env, build.dryrun)?;
        let cache = self.cache.resolve(&output.destinations, output.no_push)?;
        notices.extend(self.cache.without_effect());
        let context_dir = self.context.resolve(&mut notices)?;
        let mut build_args = build_args::resolve(&build.build_arg, env)?;
        let source_date_epoch = build_args::source_date_epoch(&mut build_args, env)?;
        let executable = std::env::current_exe().ok();
        let or_variable = |flag: Option<bool>, name| match flag {
            Some(flag) => Ok(flag),
            None => Ok::<_, OptionError>(env_vars::boolean(env, name)?.unwrap_or(false)),
        };
        let cleanup = or_variable(build.cleanup, env_vars::KANIKO_CLEANUP)?;
        let settings = BuildSettings {
            dockerfile: DockerfileSource::find(&build.dockerfile, Some(&context_dir))?,
            context_dir,
            targets: targets(&build.target),
            build_args,
            labels: pairs("--label", &build.label)?,
            annotations: pairs("--annotation", &build.annotation)?,
            secrets: secret::resolve(&build.secret, env)?,
            ssh: ssh::resolve(&build.ssh, env)?,
            build_contexts: build_context::resolve(&build.build_context)?,
            platform: built_platform(build.custom_platform.as_deref())?,
            isolation: isolation(build, cleanup)?,
            force: build.force,
            work_dir: WorkDir::resolve(build.kaniko_dir.as_ref(), env, executable.as_deref())?,
            pre_cleanup: or_variable(build.pre_cleanup, env_vars::KANIKO_PRE_CLEANUP)?,
            cleanup,
            materialize: build.materialize,
            check_bases: build.check_bases,
            dry_run: build.dryrun,
            print_plan: env_vars::boolean(env, env_vars::KANIKO_PRINT_PLAN)?.unwrap_or(false),
            destinations: output.destinations,
            no_push: output.no_push,
            outputs: output.outputs,
            digest_files: output.digest_files,
            compression: output.compression,
            compression_level: output.compression_level,
            image_format: output.image_format,
            reproducible: build.reproducible,
            single_snapshot: build.single_snapshot,
            snapshot_mode: build.snapshot_mode,
            ignore_paths: ignore_paths(&build.ignore_path, build.ignore_var_run),
            source_date_epoch,
            cache,
            registry: self.push.resolve(&self.registry, env)?,
            skip_push_permission_check: self.push.skip_push_permission_check,
        };
        notices.extend(without_effect(build));
        Ok(Resolved { settings, notices })
    }
}

/// `--custom-platform`; images for Windows have another form than those that are built here.
fn built_platform(given: Option<&str>) -> Result<Platform, OptionError> {
    let platform = platform("--custom-platform", given)?;
    if platform.os == "windows" {
        return Err(OptionError::InvalidValue {
            flag: "--custom-platform".to_owned(),
            value: platform.to_string(),
            expected: "a platform other than Windows, whose images have another form".to_owned(),
            nearest: None,
        });
    }
    Ok(platform)
}

/// `--check`: the options of a build, for a look at its Dockerfile.
impl ExecutorOptions {
    /// Checks the options that say what would be built, and makes settings that leave everything as it is. Those about
    /// outputs, caches and secrets do not matter.
    pub fn resolve_check(&self, env: &Env<'_>) -> Result<Resolved<BuildSettings>, OptionError> {
        let mut options = self.clone();
        options.output = OutputOptions {
            no_push: true,
            ..OutputOptions::default()
        };
        options.cache = CacheOptions::default();
        let build = &mut options.build;
        build.secret = Vec::new();
        build.ssh = Vec::new();
        build.dryrun = false;
        build.materialize = false;
        build.pre_cleanup = Some(false);
        build.cleanup = Some(false);
        // It wins over the flag, so `false` would ask for a destination.
        let env = |name: &str| match name {
            env_vars::KANIKO_NO_PUSH => None,
            _ => env(name),
        };
        options.resolve(&env)
    }
}

/// The isolation that was asked for; files that are to be found in `/` at the end can only be left by a build in place.
fn isolation(build: &BuildOptions, cleanup: bool) -> Result<Isolation, OptionError> {
    let conflict = |second: &str, reason| {
        Err(OptionError::Conflict {
            first: "--materialize".to_owned(),
            second: second.to_owned(),
            reason,
        })
    };
    match build.isolation {
        isolation if !build.materialize => Ok(isolation),
        _ if cleanup => conflict(
            "--cleanup",
            "one leaves the files in place, the other removes them",
        ),
        Isolation::Namespace => conflict(
            "--isolation=namespace",
            "there the files of the image have a root of their own, which is gone at the end",
        ),
        Isolation::Auto | Isolation::InPlace => Ok(Isolation::InPlace),
    }
}

/// What was asked for and does not exist, or not yet, as far as the build is still right without it.
fn without_effect(build: &BuildOptions) -> Vec<Notice> {
    let mut notices = Vec::new();
    if build.image_fs_extract_retry > 0 {
        notices.push(Notice(
            "`--image-fs-extract-retry` has no effect: layers are unpacked from files that are here and verified, so \
             another try would end as the first; `--image-download-retry` is about getting them"
                .to_owned(),
        ));
    }
    notices
}

/// What a build needs to know, checked.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// The context, absolute, sub-path included; it existed when the options were resolved.
    pub context_dir: PathBuf,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// Stages to build, the first of which is the image; none means the last stage.
    pub targets: Vec<String>,
    /// Values of ARGs; each name once (B28).
    pub build_args: Vec<(String, String)>,
    /// Labels of the final image, each key once (F15).
    pub labels: Vec<(String, String)>,
    /// Annotations of the manifest, each key once (F25).
    pub annotations: Vec<(String, String)>,
    /// Secrets that RUN may mount, each id once.
    pub secrets: Vec<SecretSpec>,
    /// What FROM and `--from` may name besides stages and images, each name once.
    pub build_contexts: Vec<BuildContext>,
    /// SSH agents that RUN may use, each id once.
    pub ssh: Vec<SshSpec>,
    /// Platform of the image.
    pub platform: Platform,
    /// Where RUN commands run.
    pub isolation: Isolation,
    /// Work in place even outside a container.
    pub force: bool,
    /// Where the builder keeps its own files.
    pub work_dir: WorkDir,
    /// Empty the root filesystem before an in-place build.
    pub pre_cleanup: bool,
    /// Empty the root filesystem after an in-place build.
    pub cleanup: bool,
    /// Make the files of the target exist at the end (H21).
    pub materialize: bool,
    /// `--check` looks base images up.
    pub check_bases: bool,
    /// Show the plan and stop.
    pub dry_run: bool,
    /// Show the plan before building.
    pub print_plan: bool,
    /// Names of the image, each once, none with a digest; pushed to unless `no_push`.
    pub destinations: Vec<Reference>,
    /// Push nothing.
    pub no_push: bool,
    /// Where else the image goes.
    pub outputs: Vec<ImageOutput>,
    /// Files that get the digest.
    pub digest_files: DigestFiles,
    /// How new layers are compressed.
    pub compression: CompressionKind,
    /// How hard: 0 to 9 for gzip, 1 to 22 for zstd; none is the usual level.
    pub compression_level: Option<i32>,
    /// Family of media types; none is that of the base image.
    pub image_format: Option<Family>,
    /// Leave times out (G42).
    pub reproducible: bool,
    /// One layer for everything the build adds (G41).
    pub single_snapshot: bool,
    /// How a scan finds changes.
    pub snapshot_mode: SnapshotMode,
    /// Absolute paths of the image that never become part of a layer (G24); `/var/run` is one only if asked for (D19).
    pub ignore_paths: Vec<PathBuf>,
    /// The time that stands for now (G43); an ARG before the first FROM may give it, too.
    pub source_date_epoch: Option<SourceDateEpoch>,
    /// What is kept between builds.
    pub cache: CacheSettings,
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// Do not check before the build that pushing is allowed (I29).
    pub skip_push_permission_check: bool,
}

impl Default for BuildSettings {
    /// A build that reads and writes nothing yet: no context, no output, the Dockerfile of the current directory.
    fn default() -> Self {
        Self {
            context_dir: PathBuf::new(),
            dockerfile: DockerfileSource::default(),
            targets: Vec::new(),
            build_args: Vec::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            secrets: Vec::new(),
            build_contexts: Vec::new(),
            ssh: Vec::new(),
            platform: Platform::host(),
            isolation: Isolation::default(),
            force: false,
            work_dir: WorkDir::default(),
            pre_cleanup: false,
            cleanup: false,
            materialize: false,
            check_bases: false,
            dry_run: false,
            print_plan: false,
            destinations: Vec::new(),
            no_push: true,
            outputs: Vec::new(),
            digest_files: DigestFiles::default(),
            compression: CompressionKind::default(),
            compression_level: None,
            image_format: None,
            reproducible: false,
            single_snapshot: false,
            snapshot_mode: SnapshotMode::default(),
            ignore_paths: Vec::new(),
            source_date_epoch: None,
            cache: CacheSettings::default(),
            registry: RegistrySettings::default(),
            skip_push_permission_check: false,
        }
    }
}

/// Reads a platform; that of this machine if none is given.
pub(crate) fn platform(flag: &'static str, value: Option<&str>) -> Result<Platform, OptionError> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(Platform::host()),
        Some(value) => Platform::parse(value)
            .map(|platform| platform.normalized())
            .map_err(|source| OptionError::InvalidPlatform {
                flag,
                value: value.to_owned(),
                source,
            }),
    }
}

/// Names may be joined by commas; empty ones come from unset variables.
fn targets(values: &[String]) -> Vec<String> {
    let names = values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Paths of the image, cleaned; a relative one counts from the root.
fn ignore_paths(paths: &[PathBuf], var_run: Option<bool>) -> Vec<PathBuf> {
    let var_run = (var_run == Some(true)).then(|| PathBuf::from(VAR_RUN));
    paths
        .iter()
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| cleaned(path))
        .chain(var_run)
        .collect()
}

fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
