//! Option groups that both binaries share, and the checked settings they resolve to.
//!
//! In go flags and environment variables as kaniko names them; out come settings in which every name is parsed,
//! every combination makes sense and every file that must exist does. The groups are plain structs with kaniko's
//! defaults, so an embedder fills in what it needs:
//!
//! ```
//! use kiln_options::{BuildOptions, ContextOptions, ExecutorOptions, OutputOptions};
//!
//! let options = ExecutorOptions {
//!     build: BuildOptions { dockerfile: "Cargo.toml".to_owned(), ..BuildOptions::default() },
//!     context: ContextOptions { context: ".".to_owned(), ..ContextOptions::default() },
//!     output: OutputOptions { destination: vec!["reg.example/app:1".to_owned()], ..OutputOptions::default() },
//!     ..ExecutorOptions::default()
//! };
//! let resolved = options.resolve(&|_| None)?;
//! assert_eq!(resolved.settings.destinations[0].to_string(), "reg.example/app:1");
//! # Ok::<(), kiln_options::OptionError>(())
//! ```
//!
//! The groups derive `clap::Args` under the feature `clap`, which also brings the command lines of the binaries;
//! `logging` brings the log writer, `login` the store of registry credentials.

mod build;
mod build_args;
mod build_context;
mod cache;
mod cache_place;
#[cfg(feature = "clap")]
mod command_line;
mod context;
mod digest_files;
mod dockerfile_source;
pub mod env_vars;
mod error;
mod executor;
mod explain;
mod explain_format;
mod failure;
mod log;
#[cfg(feature = "logging")]
mod logging;
#[cfg(feature = "login")]
mod login;
mod nearest;
mod output;
mod path;
mod push;
#[cfg(feature = "clap")]
mod quantity;
mod registry;
mod secret;
mod ssh;
mod value;
mod volume;
mod warmer;
mod work_dir;

pub use build::{BuildOptions, CheckFormat, Isolation, SnapshotMode};
pub use build_args::SourceDateEpoch;
pub use build_context::{BuildContext, BuildContextSource};
pub use cache::{CacheOptions, CacheSettings, CacheSwitch, LayerCacheSettings};
pub use cache_place::CachePlace;
#[cfg(feature = "clap")]
pub use command_line::{
    CacheAction, CommandLine, ExecutorAction, ExecutorCommand, Stop, WarmerAction, WarmerCommand,
    kaniko_manners, report_failure,
};
pub use context::{ContextOptions, GitOptions};
pub use digest_files::{DigestFileOptions, DigestFiles, FileTarget};
pub use dockerfile_source::DockerfileSource;
pub use env_vars::without_meaning as variables_without_meaning;
pub use error::{Notice, OptionError};
pub use executor::{BuildSettings, ExecutorOptions, Resolved};
pub use explain::ExplainOptions;
pub use explain_format::ExplainFormat;
pub use failure::failure_text;
pub use kiln_shown::byte_size;
pub use log::{LogFormat, LogOptions, Verbosity};
#[cfg(feature = "logging")]
pub use logging::{COMMAND_ERRORS, COMMAND_OUTPUT, LogError, start_logging};
#[cfg(feature = "login")]
pub use login::{LoginError, LoginOptions};
pub use output::{CompressionKind, ImageFormat, ImageOutput, OutputOptions};
pub use push::{PushImageOptions, PushImageSettings};
pub use registry::{PushOptions, RegistryOptions};
pub use secret::{SecretSource, SecretSpec};
pub use ssh::SshSpec;
pub use value::ValueError;
pub use volume::{ListFormat, ListOptions, ListSettings, PruneOptions, PruneSettings};
pub use warmer::{WarmOptions, WarmSettings, WarmerOptions};
pub use work_dir::WorkDir;
