//! Where the image goes, and in which form.

use std::path::{Path, PathBuf};

use kiln_oci::{Family, Reference};

use crate::env_vars::{self, Env};
use crate::path::{given, no_url};
use crate::value::{ValueError, choice};
use crate::{DigestFileOptions, DigestFiles, OptionError};

/// Options that say where the image goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Output")
)]
pub struct OutputOptions {
    /// Name to push the image to. May be repeated.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "IMAGE"))]
    pub destination: Vec<String>,
    /// Push nothing; `KANIKO_NO_PUSH` wins over this.
    #[cfg_attr(feature = "clap", arg(long))]
    pub no_push: bool,
    /// File for the image as an archive that docker load reads.
    #[cfg_attr(feature = "clap", arg(long, alias = "tarPath", value_name = "FILE", value_parser = crate::path::any_path()))]
    pub tar_path: Option<PathBuf>,
    /// Folder for the image as an OCI layout.
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR", value_parser = crate::path::any_path()))]
    pub oci_layout_path: Option<PathBuf>,
    /// Files that get the digest of the image.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub digest_files: DigestFileOptions,
    /// Compression of new layers: gzip or zstd.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME", value_parser = str::parse::<CompressionKind>, default_value_t))]
    pub compression: CompressionKind,
    /// How hard to compress: 0 to 9 for gzip, 1 to 22 for zstd; -1 is the usual level.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", value_parser = crate::quantity::number,
        default_value_t = OutputOptions::USUAL_LEVEL))]
    pub compression_level: i32,
    /// Format of the image: docker or oci; that of the base image by default.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT", value_parser = str::parse::<ImageFormat>))]
    pub image_format: Option<ImageFormat>,
}

impl OutputOptions {
    const USUAL_LEVEL: i32 = -1;

    /// Checks names and combinations; `dry_run` needs no destination, since nothing is made.
    pub(crate) fn resolve(
        &self,
        env: &Env<'_>,
        dry_run: bool,
    ) -> Result<OutputSettings, OptionError> {
        let no_push = env_vars::boolean(env, env_vars::KANIKO_NO_PUSH)?.unwrap_or(self.no_push);
        let destinations = destinations(&self.destination)?;
        if destinations.is_empty() {
            if !no_push && !dry_run {
                return Err(OptionError::MissingDestination);
            }
            if let Some(flag) = self.digest_files.needs_destination() {
                return Err(OptionError::NeedsDestination { flag });
            }
        }
        let paths = [
            ("--tar-path", &self.tar_path),
            ("--oci-layout-path", &self.oci_layout_path),
        ];
        for (flag, path) in paths {
            if let Some(path) = path {
                no_url(flag, path, "a path of this machine")?;
            }
        }
        let archive = given(self.tar_path.as_ref())?;
        self.check_formats(archive.is_some())?;
        let layout = given(self.oci_layout_path.as_ref())?;
        let archive = archive.map(ImageOutput::Archive).into_iter();
        Ok(OutputSettings {
            destinations,
            no_push,
            outputs: archive.chain(layout.map(ImageOutput::Layout)).collect(),
            digest_files: self.digest_files.resolve(env)?,
            compression: self.compression,
            compression_level: self.level()?,
            image_format: self.image_format.map(ImageFormat::family),
        })
    }

    /// The combinations that have no meaning (G46, I38).
    fn check_formats(&self, archive: bool) -> Result<(), OptionError> {
        let zstd = self.compression == CompressionKind::Zstd;
        let conflict = |first: &str, second: &str, reason| {
            Err(OptionError::Conflict {
                first: first.to_owned(),
                second: second.to_owned(),
                reason,
            })
        };
        if zstd && self.image_format == Some(ImageFormat::Docker) {
            return conflict(
                "--compression=zstd",
                "--image-format=docker",
                "the docker format has no zstd layers",
            );
        }
        if archive && zstd {
            return conflict(
                "--tar-path",
                "--compression=zstd",
                "docker archives have no zstd layers",
            );
        }
        if archive && self.image_format == Some(ImageFormat::Oci) {
            return conflict(
                "--tar-path",
                "--image-format=oci",
                "a docker archive holds a docker image; use `--oci-layout-path` for an OCI one",
            );
        }
        Ok(())
    }

    /// The level asked for, if it is not the usual one.
    fn level(&self) -> Result<Option<i32>, OptionError> {
        let level = self.compression_level;
        let allowed = match self.compression {
            CompressionKind::Gzip => 0..=9,
            CompressionKind::Zstd => 1..=22,
        };
        if level != Self::USUAL_LEVEL && !allowed.contains(&level) {
            return Err(OptionError::InvalidValue {
                flag: "--compression-level".to_owned(),
                value: level.to_string(),
                expected: format!(
                    "a number from {} to {} for {}, or -1",
                    allowed.start(),
                    allowed.end(),
                    self.compression
                ),
                nearest: None,
            });
        }
        Ok(Some(level).filter(|level| *level != Self::USUAL_LEVEL))
    }
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            destination: Vec::new(),
            no_push: false,
            tar_path: None,
            oci_layout_path: None,
            digest_files: DigestFileOptions::default(),
            compression: CompressionKind::default(),
            compression_level: Self::USUAL_LEVEL,
            image_format: None,
        }
    }
}

/// Reads `--destination` values; the same name twice counts once.
pub(crate) fn destinations(values: &[String]) -> Result<Vec<Reference>, OptionError> {
    let mut destinations = Vec::new();
    for value in values {
        let reference =
            Reference::parse(value).map_err(|source| OptionError::InvalidReference {
                flag: "--destination",
                value: value.clone(),
                source,
            })?;
        if reference.digest().is_some() {
            return Err(OptionError::DestinationWithDigest {
                value: value.clone(),
            });
        }
        if !destinations.contains(&reference) {
            destinations.push(reference);
        }
    }
    Ok(destinations)
}

/// A place of this machine that gets the image, besides registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageOutput {
    /// A file for a docker archive, absolute (I38).
    Archive(PathBuf),
    /// A folder for an OCI layout, absolute (I38).
    Layout(PathBuf),
}

impl ImageOutput {
    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Archive(path) | Self::Layout(path) => path,
        }
    }

    /// Whether it can hold a docker image only.
    pub fn is_docker_only(&self) -> bool {
        match self {
            Self::Archive(_) => true,
            Self::Layout(_) => false,
        }
    }
}

/// The checked form of [`OutputOptions`], on its way into the settings of a build.
pub(crate) struct OutputSettings {
    pub(crate) destinations: Vec<Reference>,
    pub(crate) no_push: bool,
    pub(crate) outputs: Vec<ImageOutput>,
    pub(crate) digest_files: DigestFiles,
    pub(crate) compression: CompressionKind,
    pub(crate) compression_level: Option<i32>,
    pub(crate) image_format: Option<Family>,
}

choice! {
    /// How new layers are compressed.
    #[derive(Default)]
    pub enum CompressionKind {
        /// Understood everywhere.
        #[default]
        Gzip = "gzip",
        /// Smaller and faster; OCI images only.
        Zstd = "zstd",
    }
}

choice! {
    /// The family of media types of an image.
    pub enum ImageFormat {
        /// Docker schema 2.
        Docker = "docker",
        /// OCI.
        Oci = "oci",
    }
}

impl ImageFormat {
    fn family(self) -> Family {
        match self {
            Self::Docker => Family::Docker,
            Self::Oci => Family::Oci,
        }
    }
}

/// Reads `KEY=VALUE` lists such as labels; the last value of a key wins, in the place of the first.
pub(crate) fn pairs(flag: &str, values: &[String]) -> Result<Vec<(String, String)>, OptionError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for value in values {
        let Some((key, text)) = value.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let ValueError { expected, nearest } = ValueError::new("`KEY=VALUE`");
            return Err(OptionError::InvalidValue {
                flag: flag.to_owned(),
                value: value.clone(),
                expected,
                nearest,
            });
        };
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => text.clone_into(old),
            None => pairs.push((key.to_owned(), text.to_owned())),
        }
    }
    Ok(pairs)
}
