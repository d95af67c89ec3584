//! The subcommands of the warmer: looking into the volume, and taking out what is not needed.

use std::path::PathBuf;
use std::time::Duration;

use crate::path::given;
use crate::value::choice;
use crate::{CacheOptions, OptionError};

/// Options of `warmer list`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ListOptions {
    /// Folder with base images.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "DIR",
        value_parser = crate::path::any_path(), default_value = CacheOptions::DIR))]
    pub cache_dir: PathBuf,
    /// Form of the list: table or json.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT",
        value_parser = str::parse::<ListFormat>, default_value_t))]
    pub format: ListFormat,
    /// The same as `--format json`.
    #[cfg_attr(feature = "clap", arg(long))]
    pub json: bool,
}

choice! {
    /// The forms of a list.
    #[derive(Default)]
    pub enum ListFormat {
        /// For people.
        #[default]
        Table = "table",
        /// For programs.
        Json = "json",
    }
}

/// Options of `warmer prune`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct PruneOptions {
    /// Folder with base images.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "DIR",
        value_parser = crate::path::any_path(), default_value = CacheOptions::DIR))]
    pub cache_dir: PathBuf,
    /// Size to bring the volume down to, such as 20GB; what was used longest ago goes first.
    #[cfg_attr(feature = "clap", arg(long, value_name = "SIZE", value_parser = crate::quantity::size))]
    pub max_size: Option<u64>,
    /// How long ago the last use of what stays may be, such as 14d or 36h.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DURATION", value_parser = crate::quantity::duration))]
    pub max_age: Option<Duration>,
    /// What was stored or used within this time stays in any case.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DURATION", value_parser = crate::quantity::duration,
        default_value = "1h"))]
    pub grace: Duration,
    /// Say what would go, and leave it.
    #[cfg_attr(feature = "clap", arg(long))]
    pub dry_run: bool,
}

impl ListOptions {
    /// Makes the folder absolute; it need not exist.
    pub fn resolve(&self) -> Result<ListSettings, OptionError> {
        Ok(ListSettings {
            dir: folder(&self.cache_dir)?,
            format: if self.json {
                ListFormat::Json
            } else {
                self.format
            },
        })
    }
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            cache_dir: CacheOptions::DIR.into(),
            format: ListFormat::default(),
            json: false,
        }
    }
}

impl PruneOptions {
    /// Makes the folder absolute.
    pub fn resolve(&self) -> Result<PruneSettings, OptionError> {
        Ok(PruneSettings {
            dir: folder(&self.cache_dir)?,
            max_size: self.max_size,
            max_age: self.max_age,
            grace: self.grace,
            dry_run: self.dry_run,
        })
    }
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            cache_dir: CacheOptions::DIR.into(),
            max_size: None,
            max_age: None,
            grace: Duration::from_hours(1),
            dry_run: false,
        }
    }
}

/// What `warmer list` needs to know, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSettings {
    /// The volume, absolute, whether it exists or not.
    pub dir: PathBuf,
    /// The form of the list.
    pub format: ListFormat,
}

/// What `warmer prune` needs to know, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneSettings {
    /// The volume, absolute.
    pub dir: PathBuf,
    /// Bytes that may stay.
    pub max_size: Option<u64>,
    /// How long ago the last use of what stays may be.
    pub max_age: Option<Duration>,
    /// What was stored or used within this time stays in any case.
    pub grace: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

fn folder(dir: &PathBuf) -> Result<PathBuf, OptionError> {
    given(Some(dir))?.ok_or_else(|| OptionError::MissingArgument {
        what: "`--cache-dir`".to_owned(),
    })
}
