//! Image configs.

mod draft;
mod theirs;

use oci_spec::image as spec;
use serde_json::{Map, Value};

use crate::document::{self, DocumentError};
use crate::{DiffId, Digest, DigestError, Platform};

pub use draft::{ConfigDraft, ContainerConfig, HealthConfig, History, RootFs};

const DOCUMENT: &str = "image config";

/// An image config: platform, run parameters, layers by diff-id, and history.
///
/// It is `oci-spec`'s configuration, with what that has no place for: diff-ids that can be checked, docker's fields, and
/// fields that nobody here knows (F18). One that comes from elsewhere is taken in with `try_from`; `as_ref` and `into`
/// give it out again, without what is not specified. It is changed by way of a [`ConfigDraft`].
#[derive(Debug, Clone, PartialEq)]
pub struct ImageConfig {
    spec: spec::ImageConfiguration,
    /// The diff-ids of `spec`.
    diff_ids: Vec<DiffId>,
    beyond: Beyond,
}

/// What `oci-spec`'s type has no place for.
#[derive(Debug, Clone, Default, PartialEq)]
struct Beyond {
    args_escaped: bool,
    healthcheck: Option<HealthConfig>,
    on_build: Vec<String>,
    shell: Option<Vec<String>>,
    /// Unknown fields beside `os` and `rootfs`.
    top: Map<String, Value>,
    /// Unknown fields beside `Env` and `Cmd`.
    container: Map<String, Value>,
}

impl ImageConfig {
    /// Reads a config, forgiving what C19 lists: `null` anywhere, a missing history, odd Env entries.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let foreign = ["manifests", "layers", "fsLayers"];
        document::unambiguous(DOCUMENT, bytes, &[], &foreign)?;
        let draft: ConfigDraft = document::parse(DOCUMENT, bytes)?;
        document::check_layers(DOCUMENT, draft.rootfs.diff_ids.len())?;
        Ok(draft.into())
    }

    /// Compact JSON, see [`ConfigDraft::to_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.draft().to_bytes()
    }

    /// The digest of [`ImageConfig::to_bytes`], which is docker's image id.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_bytes())
    }

    /// What the image is for, normalized.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.spec.architecture().to_string(),
            os: self.spec.os().to_string(),
            os_version: self.spec.os_version().clone(),
            os_features: self.spec.os_features().clone().unwrap_or_default(),
            variant: self.spec.variant().clone(),
        }
        .normalized()
    }

    /// The layers, base first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// `NAME=value` in the order they were set; a base may hold entries without `=` (C19).
    pub fn env(&self) -> &[String] {
        let config = self.spec.config().as_ref();
        let env = config.and_then(|config| config.env().as_deref());
        env.unwrap_or_default()
    }

    /// How to find out whether a container is well (F12).
    pub fn healthcheck(&self) -> Option<&HealthConfig> {
        self.beyond.healthcheck.as_ref()
    }

    /// Triggers for builds on top of this image (C16-C18).
    pub fn on_build(&self) -> &[String] {
        &self.beyond.on_build
    }

    /// The shell of shell forms, if it is not the usual one (F14).
    pub fn shell(&self) -> Option<&[String]> {
        self.beyond.shell.as_deref()
    }

    /// Docker's mark of images whose command is one line for a shell, harmless on Linux (F11).
    pub fn args_escaped(&self) -> bool {
        self.beyond.args_escaped
    }

    /// Every field that nobody here knows, as read.
    pub fn extra(&self) -> &Map<String, Value> {
        &self.beyond.top
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        ConfigDraft::default().into()
    }
}

impl AsRef<spec::ImageConfiguration> for ImageConfig {
    fn as_ref(&self) -> &spec::ImageConfiguration {
        &self.spec
    }
}

impl From<ImageConfig> for spec::ImageConfiguration {
    fn from(ours: ImageConfig) -> Self {
        ours.spec
    }
}

impl TryFrom<spec::ImageConfiguration> for ImageConfig {
    type Error = DigestError;

    fn try_from(spec: spec::ImageConfiguration) -> Result<Self, DigestError> {
        let diff_ids = spec.rootfs().diff_ids().iter().map(|text| text.parse());
        Ok(Self {
            diff_ids: diff_ids.collect::<Result<_, _>>()?,
            beyond: Beyond::default(),
            spec,
        })
    }
}

#[cfg(test)]
mod tests;
