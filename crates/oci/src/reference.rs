//! Image references: `host[:port]/path[:tag][@digest]` (I1, C1).

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::{Digest, DigestError};

/// The registry meant when a name says none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The namespace of one-word names there.
const DEFAULT_NAMESPACE: &str = "library/";
/// The tag meant when a name says neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Longest `path`, from the distribution specification's reference grammar.
const MAX_NAME: usize = 255;

/// A repository: where images with the same name live.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// `host[:port]`; `docker.io` for every spelling of Docker Hub.
    pub registry: String,
    /// The path below the registry, `library/` included.
    pub path: String,
}

/// A name of an image: a repository and a tag, a digest, or both.
///
/// A reference always has at least one of the two; a name that was written with neither means `:latest`. When both
/// are there the digest decides and the tag only informs (C1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Nothing is there, or nothing but blanks.
    #[error("image reference is empty")]
    Empty,
    /// The host part cannot be a host.
    #[error("image reference `{reference}`: `{host}` is not a registry host")]
    Host {
        /// The whole text.
        reference: String,
        /// The part before the first slash.
        host: String,
    },
    /// Upper case in the path, the most common slip.
    #[error("image reference `{reference}`: repository name must be lower-case")]
    UpperCase {
        /// The whole text.
        reference: String,
    },
    /// The path breaks the grammar in another way.
    #[error("image reference `{reference}`: `{path}` is not a repository name")]
    Path {
        /// The whole text.
        reference: String,
        /// The path as read.
        path: String,
    },
    /// The path is longer than 255 characters.
    #[error("image reference `{reference}`: repository name is longer than 255 characters")]
    TooLong {
        /// The whole text.
        reference: String,
    },
    /// The tag breaks the grammar.
    #[error(
        "image reference `{reference}`: `{tag}` is not a tag (letters, digits, `_`, `.` and `-`, at most 128)"
    )]
    Tag {
        /// The whole text.
        reference: String,
        /// The tag as read.
        tag: String,
    },
    /// The digest cannot be used.
    #[error("image reference `{reference}` has an unusable digest")]
    Digest {
        /// The whole text.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
}

impl Repository {
    /// Reads a name without tag and digest, with the same defaults as [`Reference::parse`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |path: &str| ReferenceError::Path {
            reference: text.to_owned(),
            path: path.to_owned(),
        };
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (host, path) = split_host(text);
        if let Some(host) = host
            && !is_host(host)
        {
            return Err(ReferenceError::Host {
                reference: text.to_owned(),
                host: host.to_owned(),
            });
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase {
                reference: text.to_owned(),
            });
        }
        if !path.split('/').all(is_path_component) {
            return Err(wrong(path));
        }
        // 64 hex digits are an image id to docker, never a name.
        if host.is_none() && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong(path));
        }
        let registry = normal_registry(host.unwrap_or(DEFAULT_REGISTRY));
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{DEFAULT_NAMESPACE}{path}")
        } else {
            path.to_owned()
        };
        if path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong {
                reference: text.to_owned(),
            });
        }
        Ok(Self { registry, path })
    }

    /// The image with this digest here.
    pub fn at_digest(&self, digest: Digest) -> Reference {
        Reference {
            repository: self.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The image with this tag here.
    pub fn at_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag {
                reference: format!("{self}:{tag}"),
                tag: tag.to_owned(),
            });
        }
        Ok(Reference {
            repository: self.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }

    /// The short form people write: Docker Hub's host and `library/` left out.
    pub fn familiar(&self) -> String {
        if self.registry == DEFAULT_REGISTRY {
            self.path
                .strip_prefix(DEFAULT_NAMESPACE)
                .filter(|rest| !rest.contains('/'))
                .unwrap_or(&self.path)
                .to_owned()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl Reference {
    /// Reads a reference as written on a command line or after `FROM`; no blanks around it.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    reference: text.to_owned(),
                    source,
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].find(':') {
            Some(colon) => {
                let colon = name_end + colon;
                (&rest[..colon], Some(&rest[colon + 1..]))
            }
            None => (rest, None),
        };
        let repository = Repository::parse(name).map_err(|error| error.about(text))?;
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag {
                reference: text.to_owned(),
                tag: tag.to_owned(),
            });
        }
        let tag = match (tag, digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            repository,
            tag,
            digest,
        })
    }

    /// `host[:port]`; `docker.io` for every spelling of Docker Hub.
    pub fn registry(&self) -> &str {
        &self.repository.registry
    }

    /// The path below the registry, such as `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository.path
    }

    /// The repository as a value of its own.
    pub fn repo(&self) -> Repository {
        self.repository.clone()
    }

    /// The tag; `latest` when neither tag nor digest was written, `None` when only a digest was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, of a manifest or of an index.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The tag, with `latest` standing in for a missing one.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }

    /// What a registry is asked for: the digest when there is one, else the tag.
    pub fn identifier(&self) -> String {
        match self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag_or_latest().to_owned(),
        }
    }

    /// The same repository under another tag and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        self.repository.at_tag(tag)
    }

    /// The same reference pinned to `digest`; the tag stays as information.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The short form people write: `busybox:latest` for `docker.io/library/busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.repository.familiar(), Suffix(self))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, Suffix(self))
    }
}

/// Prints `[:tag][@digest]`.
struct Suffix<'a>(&'a Reference);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl ReferenceError {
    /// Names the whole reference where only its repository was known.
    fn about(mut self, whole: &str) -> Self {
        match &mut self {
            Self::Empty => {}
            Self::Host { reference, .. }
            | Self::UpperCase { reference }
            | Self::Path { reference, .. }
            | Self::TooLong { reference }
            | Self::Tag { reference, .. }
            | Self::Digest { reference, .. } => whole.clone_into(reference),
        }
        if self == Self::Empty && !whole.is_empty() {
            return Self::Path {
                reference: whole.to_owned(),
                path: String::new(),
            };
        }
        self
    }
}

/// The first component is a host only when it could not be a path: with `.`, `:`, or as `localhost` (I1).
fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

/// Docker Hub answers to several names, which are one registry (I1).
fn normal_registry(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        _ => host,
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let address_fits = address.contains(':')
            && address
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
        if !address_fits || !(port.is_empty() || port.starts_with(':')) {
            return false;
        }
        (None, port.strip_prefix(':'))
    } else {
        match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        }
    };
    let name_fits = name.is_none_or(|name| name.split('.').all(is_host_label));
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'));
    name_fits && port_fits
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(*first)
        && is_word(*last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests;
