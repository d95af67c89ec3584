//! The small files that get the digest of an image that was pushed (I36, I37).

use std::path::PathBuf;

use kiln_shown::SecretUrl;

use crate::OptionError;
use crate::env_vars::{self, Env};
use crate::path::{absolute, given, is_web, no_url};

/// Options that name the files for the digest of the image; of building and of pushing alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Output")
)]
pub struct DigestFileOptions {
    /// File or http(s) address that gets the digest of the image.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub digest_file: Option<String>,
    /// File or http(s) address that gets a line NAME@DIGEST for each destination.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub image_name_with_digest_file: Option<String>,
    /// File or http(s) address that gets a line NAME:TAG@DIGEST for each destination.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub image_name_tag_with_digest_file: Option<String>,
}

impl DigestFileOptions {
    /// Makes paths absolute and adds what `BUILDER_OUTPUT` asks for.
    pub fn resolve(&self, env: &Env<'_>) -> Result<DigestFiles, OptionError> {
        let [digest, names, tags] = self.flags();
        Ok(DigestFiles {
            digest: FileTarget::parse(digest)?,
            names: FileTarget::parse(names)?,
            tags: FileTarget::parse(tags)?,
            builder_output: given(env(env_vars::BUILDER_OUTPUT).map(PathBuf::from).as_ref())?,
        })
    }

    /// Every flag with its value.
    fn flags(&self) -> [(&'static str, Option<&str>); 3] {
        [
            ("--digest-file", self.digest_file.as_deref()),
            (
                "--image-name-with-digest-file",
                self.image_name_with_digest_file.as_deref(),
            ),
            (
                "--image-name-tag-with-digest-file",
                self.image_name_tag_with_digest_file.as_deref(),
            ),
        ]
    }

    /// The first flag given whose file has a line for each destination.
    pub(crate) fn needs_destination(&self) -> Option<&'static str> {
        let [_, names, tags] = self.flags();
        [names, tags]
            .into_iter()
            .find(|(_, file)| file.is_some_and(|file| !file.is_empty()))
            .map(|(flag, _)| flag)
    }
}

/// Where the digest of an image is written once the image is where it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestFiles {
    /// Gets the digest (I36).
    pub digest: Option<FileTarget>,
    /// Gets `repo@digest` lines (I37).
    pub names: Option<FileTarget>,
    /// Gets `repo:tag@digest` lines (I37).
    pub tags: Option<FileTarget>,
    /// Folder that gets an `images` file with a JSON line per pushed image (I37).
    pub builder_output: Option<PathBuf>,
}

/// Where a small text goes once the image is there (I36).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileTarget {
    /// An absolute path, whose parents are created.
    Path(PathBuf),
    /// An `https` or `http` address that gets the text by PUT.
    Url(SecretUrl),
}

impl FileTarget {
    fn parse((flag, value): (&str, Option<&str>)) -> Result<Option<Self>, OptionError> {
        match value {
            None | Some("") => Ok(None),
            Some(url) if is_web(url) => Ok(Some(Self::Url(url.into()))),
            Some(path) => {
                no_url(
                    flag,
                    path.as_ref(),
                    "a path, or an `https://` or `http://` address",
                )?;
                absolute(path.as_ref()).map(Self::Path).map(Some)
            }
        }
    }
}
