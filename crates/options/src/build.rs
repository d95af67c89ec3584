//! What is built, and how.

use std::path::PathBuf;

use crate::value::choice;
use crate::{DockerfileSource, ExplainFormat};

/// Options that say what is built, and how steps are carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Build")
)]
pub struct BuildOptions {
    /// Path or URL of the Dockerfile; a path is looked up from the current directory, then from the context.
    #[cfg_attr(feature = "clap", arg(short = 'f', long, value_name = "FILE", default_value = DockerfileSource::DEFAULT))]
    pub dockerfile: String,
    /// Stage to build; the last one by default. May be repeated or joined by commas: all are built, the first is
    /// pushed.
    #[cfg_attr(feature = "clap", arg(long, value_name = "STAGE"))]
    pub target: Vec<String>,
    /// Value of an ARG; without a value, that of the variable of the same name. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME[=VALUE]"))]
    pub build_arg: Vec<String>,
    /// Label of the image. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "KEY=VALUE"))]
    pub label: Vec<String>,
    /// Annotation of the image's manifest. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "KEY=VALUE"))]
    pub annotation: Vec<String>,
    /// Secret for RUN --mount=type=secret, from a file or a variable: id=NAME[,src=FILE|,env=VARIABLE]. May be
    /// repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "id=NAME,..."))]
    pub secret: Vec<String>,
    /// Files or an image that FROM and --from may name: NAME=DIRECTORY, or NAME= and docker-image://IMAGE,
    /// oci-layout://PATH[:NAME], a git repository, or the URL of an archive. May be repeated.
    #[expect(clippy::doc_markdown, reason = "a help text, shown as it is")]
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "brackets of a help text say what may be left out"
    )]
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME=SOURCE"))]
    pub build_context: Vec<String>,
    /// SSH agent for RUN --mount=type=ssh: default, or NAME, for the agent that runs here, or NAME=SOCKET. May be
    /// repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME[=SOCKET]"))]
    pub ssh: Vec<String>,
    /// Platform of the image; that of this machine by default.
    #[cfg_attr(
        feature = "clap",
        arg(long, alias = "customPlatform", value_name = "OS/ARCH[/VARIANT]")
    )]
    pub custom_platform: Option<String>,
    /// Where RUN commands run: namespace (own mounts and processes), in-place (in the root of this container) or
    /// auto (the best that works).
    #[cfg_attr(feature = "clap", arg(long, value_name = "MODE", value_parser = str::parse::<Isolation>, default_value_t))]
    pub isolation: Isolation,
    /// Work in place even where this does not look like a container.
    #[cfg_attr(feature = "clap", arg(long))]
    pub force: bool,
    /// full, redo or time, accepted for compatibility: all three find changes in the same way here, by everything
    /// that a file has.
    #[cfg_attr(feature = "clap", arg(long, alias = "snapshotMode", value_name = "MODE",
        value_parser = str::parse::<SnapshotMode>, default_value_t))]
    pub snapshot_mode: SnapshotMode,
    /// Put everything that the build adds into one layer.
    #[cfg_attr(feature = "clap", arg(long))]
    pub single_snapshot: bool,
    /// Leave times out of the image, so that equal inputs give equal digests.
    #[cfg_attr(feature = "clap", arg(long))]
    pub reproducible: bool,
    /// Accepted for compatibility; changes are always found the fast way.
    #[cfg_attr(feature = "clap", arg(long))]
    pub use_new_run: bool,
    /// Path that never becomes part of a layer. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "PATH", value_parser = crate::path::any_path()))]
    pub ignore_path: Vec<PathBuf>,
    /// Keep /var/run out of layers, as `--ignore-path /var/run` does; unlike with kaniko only if asked for.
    #[cfg_attr(feature = "clap", arg(long, alias = "whitelist-var-run"))]
    pub ignore_var_run: Option<bool>,
    /// Folder for the builder's own files; `KANIKO_DIR` by default, then /kaniko if the executor is there, else a
    /// private folder below TMPDIR.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR", value_parser = crate::path::any_path()))]
    pub kaniko_dir: Option<PathBuf>,
    /// Empty `/` before an in-place build uses it; `KANIKO_PRE_CLEANUP` by default.
    #[cfg_attr(feature = "clap", arg(long))]
    pub pre_cleanup: Option<bool>,
    /// Empty `/` after an in-place build that used it; `KANIKO_CLEANUP` by default.
    #[cfg_attr(feature = "clap", arg(long))]
    pub cleanup: Option<bool>,
    /// Accepted for compatibility; the context is never touched.
    #[cfg_attr(feature = "clap", arg(long))]
    pub preserve_context: Option<bool>,
    /// Leave the files of the target in `/`, even if every step came from a cache; the build runs in place.
    #[cfg_attr(feature = "clap", arg(long))]
    pub materialize: bool,
    /// Print everything that is wrong with the Dockerfile, and what lint finds in it, and build nothing; the exit code is
    /// 1 if there is anything. Looks at all stages unless `--target` is given, and at images only with `--check-bases`.
    #[cfg_attr(feature = "clap", arg(long))]
    pub check: bool,
    /// With `--check`: look base images up, too, as a build does, and use what they set.
    #[cfg_attr(feature = "clap", arg(long, requires = "check"))]
    pub check_bases: bool,
    /// Form of what `--check` prints: text, json or sarif.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT", requires = "check",
        value_parser = str::parse::<CheckFormat>, default_value_t))]
    pub check_format: CheckFormat,
    /// Print what would be done, and do nothing: stages, steps, what depends on what, what is cached or left out.
    /// Looks images up, and the cache if there is one.
    #[cfg_attr(feature = "clap", arg(long))]
    pub dryrun: bool,
    /// Form of what `--dryrun` prints: text or json.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT", requires = "dryrun",
        value_parser = str::parse::<ExplainFormat>, default_value_t))]
    pub dryrun_format: ExplainFormat,
    /// Accepted for compatibility: layers are unpacked from files that are here and verified;
    /// `--image-download-retry` is about getting them.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", value_parser = crate::quantity::number, default_value_t))]
    pub image_fs_extract_retry: i32,
    /// Accepted for compatibility; stages that nothing needs are never built.
    #[cfg_attr(feature = "clap", arg(long, hide = true, default_value = "true"))]
    pub skip_unused_stages: bool,
    /// Accepted for compatibility; metadata is always written.
    #[cfg_attr(feature = "clap", arg(long, hide = true))]
    pub force_build_metadata: bool,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            dockerfile: DockerfileSource::DEFAULT.to_owned(),
            target: Vec::new(),
            build_arg: Vec::new(),
            label: Vec::new(),
            annotation: Vec::new(),
            secret: Vec::new(),
            build_context: Vec::new(),
            ssh: Vec::new(),
            custom_platform: None,
            isolation: Isolation::default(),
            force: false,
            snapshot_mode: SnapshotMode::default(),
            single_snapshot: false,
            reproducible: false,
            use_new_run: false,
            ignore_path: Vec::new(),
            ignore_var_run: None,
            kaniko_dir: None,
            pre_cleanup: None,
            cleanup: None,
            preserve_context: None,
            materialize: false,
            check: false,
            check_bases: false,
            check_format: CheckFormat::default(),
            dryrun: false,
            dryrun_format: ExplainFormat::default(),
            image_fs_extract_retry: 0,
            skip_unused_stages: true,
            force_build_metadata: false,
        }
    }
}

choice! {
    /// The form of what `--check` prints.
    #[derive(Default)]
    pub enum CheckFormat {
        /// For people.
        #[default]
        Text = "text",
        /// As BuildKit's `--call=check,format=json`.
        Json = "json",
        /// For programs that show findings of many tools.
        Sarif = "sarif",
    }
}

choice! {
    /// Where RUN commands are asked to run.
    #[derive(Default)]
    pub enum Isolation {
        /// The best that works here.
        #[default]
        Auto = "auto",
        /// In namespaces, with a root of their own.
        Namespace = "namespace",
        /// In the root of this container, which is thrown away afterwards.
        InPlace = "in-place",
    }
}

choice! {
    /// How a scan decides that a file may have changed.
    #[derive(Default)]
    pub enum SnapshotMode {
        /// By everything a file has.
        #[default]
        Full = "full",
        /// By kaniko's quicker rule; the same as `full` here.
        Redo = "redo",
        /// By kaniko's quickest rule, which loses files there (G20); the same as `full` here.
        Time = "time",
    }
}
