//! An image config while it is changed, and how it stands in JSON.
//!
//! A build changes a config once per instruction, in place: `oci-spec`'s type would have to be copied for that, every
//! variable and label of it. This is also the form that is read and written: docker's fields (`Healthcheck`, `Shell`,
//! `OnBuild`, `ArgsEscaped`) stand next to the specified ones, fields nobody here knows survive as well (F18), and what
//! is wrong in the configs found in the wild does not stop a build (C19).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{DiffId, Platform, document, lenient};

/// What an [`ImageConfig`](crate::ImageConfig) says, to be changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigDraft {
    /// GOARCH of the image.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub architecture: String,
    /// The maintainer (F14).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub author: Option<String>,
    /// What a container of this image runs with.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub config: ContainerConfig,
    /// When the image was made, RFC 3339.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created: Option<String>,
    /// One entry per step, oldest first.
    #[serde(
        default,
        deserialize_with = "lenient::places",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// GOOS of the image.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub os: String,
    /// Features the system must have.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Version of the system.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The layers.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub rootfs: RootFs,
    /// Variant of the processor.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
    /// Every other field, as read.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers of an image by the digests of their uncompressed tars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "kind")]
    pub kind: String,
    /// The layers, base first.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(lenient::text(deserializer)?.unwrap_or_else(|| "layers".to_owned()))
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created: Option<String>,
    /// By which instruction (F19-F22).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_by: Option<String>,
    /// The maintainer at that step.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub author: Option<String>,
    /// By which tool.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub comment: Option<String>,
    /// Whether the step has no layer (F23).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_false"
    )]
    pub empty_layer: bool,
}

/// What a container of the image runs with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user[:group]`, as written (F5).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `port/protocol`, sorted (F2).
    #[serde(
        default,
        deserialize_with = "lenient::set",
        serialize_with = "as_go_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value` in the order they were set; a base may hold entries without `=` (C19).
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program to run. Empty and missing mean the same and are not written.
    #[serde(
        default,
        deserialize_with = "lenient::command",
        skip_serializing_if = "no_words"
    )]
    pub entrypoint: Option<Vec<String>>,
    /// Its default arguments, or the program itself. Empty and missing mean the same and are not written.
    #[serde(
        default,
        deserialize_with = "lenient::command",
        skip_serializing_if = "no_words"
    )]
    pub cmd: Option<Vec<String>>,
    /// Paths declared as volumes, sorted (F3).
    #[serde(
        default,
        deserialize_with = "lenient::set",
        serialize_with = "as_go_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub volumes: BTreeSet<String>,
    /// Where the program starts; empty means `/`.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels, sorted by key (F1).
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Name or number, as written (F13).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub stop_signal: Option<String>,
    /// Set for every command, harmless on Linux (F11).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_false"
    )]
    pub args_escaped: bool,
    /// How to find out whether a container is well (F12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Triggers for builds on top of this image (C16-C18).
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// The shell of shell forms (F14).
    #[serde(
        default,
        deserialize_with = "lenient::command",
        skip_serializing_if = "no_words"
    )]
    pub shell: Option<Vec<String>>,
    /// Every other field, as read.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A health check; only what was given is there (F12).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", text]`.
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: Option<i64>,
    /// Nanoseconds one check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: Option<i64>,
    /// Nanoseconds during which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: Option<i64>,
    /// Nanoseconds between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: Option<i64>,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: Option<u32>,
}

impl ConfigDraft {
    /// Compact JSON; equal configs give equal bytes.
    ///
    /// Top-level fields are sorted by name, as BuildKit writes them; inside `config` the order is that of docker's
    /// type, followed by unknown fields in the order they were read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fields: BTreeMap<String, Value> = match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map.into_iter().collect(),
            // Not reachable: a struct with string keys always becomes an object.
            _ => BTreeMap::new(),
        };
        document::to_bytes(&fields)
    }

    /// What the image is for, normalized.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
        .normalized()
    }

    /// Makes the image one for `platform` (F17).
    pub fn set_platform(&mut self, platform: &Platform) {
        platform.architecture.clone_into(&mut self.architecture);
        platform.os.clone_into(&mut self.os);
        platform.variant.clone_into(&mut self.variant);
        platform.os_version.clone_into(&mut self.os_version);
        platform.os_features.clone_into(&mut self.os_features);
    }
}

impl ContainerConfig {
    /// The value of a variable; the last entry with that name counts, one without `=` is not a variable.
    pub fn env_get(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| {
            entry
                .split_once('=')
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
        })
    }

    /// Sets a variable where it already stands, or at the end (B25). Later duplicates of it go.
    pub fn env_set(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let is_it = |e: &str| e == name || e.split_once('=').is_some_and(|(key, _)| key == name);
        match self.env.iter().position(|e| is_it(e)) {
            Some(place) => {
                self.env[place] = entry;
                let mut index = 0;
                self.env.retain(|e| {
                    index += 1;
                    index - 1 <= place || !is_it(e)
                });
            }
            None => self.env.push(entry),
        }
    }

    /// The variables in order, entries without `=` left out.
    pub fn env_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|entry| entry.split_once('='))
    }
}

fn as_go_set<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|name| (name, Map::new())))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// Docker's zero means not given, and Go leaves it out as well.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn is_zero<T: Copy + Default + PartialEq>(value: &Option<T>) -> bool {
    value.is_none_or(|value| value == T::default())
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn no_words(words: &Option<Vec<String>>) -> bool {
    words.as_ref().is_none_or(Vec::is_empty)
}
