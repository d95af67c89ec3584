//! One cached step as it is stored: an OCI image with the step's layer, or with none.
//!
//! ```text
//! manifest   annotations `dev.kiln.cache.version` ("1"), `.key`, `.content-key` (if known), `.diff-id` (when
//!            there is a layer), `.step` and `org.opencontainers.image.created`: all that a hit needs
//! config     an image config with the member `dev.kiln.cache`: the parts of the key, for explanations
//! layers     the blob, byte for byte the one that was pushed with the image
//! ```
//!
//! A manifest without these annotations, or of another version, is a miss. A change that an older Kiln would
//! misread needs another version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kiln_cache_key::{CacheKey, Parts};
use kiln_oci::{Descriptor, DiffId, Family, LayerCompression, Manifest, MediaType, Platform};
use kiln_store::parcel::{Blob, Document, Parcel};
use serde_json::json;

const VERSION: &str = "1";
const VERSION_NAME: &str = "dev.kiln.cache.version";
const KEY_NAME: &str = "dev.kiln.cache.key";
const CONTENT_KEY_NAME: &str = "dev.kiln.cache.content-key";
const DIFF_ID_NAME: &str = "dev.kiln.cache.diff-id";
const STEP_NAME: &str = "dev.kiln.cache.step";
const CREATED_NAME: &str = "org.opencontainers.image.created";
const MEMBER: &str = "dev.kiln.cache";

/// Files listed one by one in a stored entry; beyond, only their common digest is kept.
const MAX_FILES: usize = 65_536;

/// Values of a stored entry or trail. Ours have up to ten for each of [`MAX_FILES`].
const MAX_VALUES: usize = 1_000_000;

/// Why a stored document is no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// It is no manifest.
    #[error("it is no manifest")]
    Manifest(#[from] kiln_oci::DocumentError),
    /// It is something else, or was made by another version.
    #[error("it was not made by this version of Kiln")]
    Foreign,
    /// It contradicts itself.
    #[error("its `{0}` cannot be used")]
    Member(&'static str),
    /// It is older than the caller wants.
    #[error("it is from {0} and has expired")]
    Expired(String),
}

/// What a hit gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStep {
    /// The layer's blob and diff-id; `None` when the step made no layer (H19).
    pub layer: Option<(Descriptor, DiffId)>,
    /// The key by content, where that chain was known.
    pub content_key: Option<CacheKey>,
    /// When the step was executed, RFC 3339: the time of its history entry, so that a hit gives the same image.
    pub created: String,
    /// The config, for explanations.
    pub config: Descriptor,
    /// The manifest as it is stored.
    pub manifest: Vec<u8>,
}

impl StoredStep {
    /// Reads a manifest; `oldest` is the earliest time of making that is accepted (H25).
    pub(crate) fn read(bytes: &[u8], oldest: Option<Timestamp>) -> Result<StoredStep, EntryError> {
        let manifest = Manifest::parse(bytes)?;
        let text = |name: &str| manifest.annotation(name);
        if text(VERSION_NAME) != Some(VERSION) {
            return Err(EntryError::Foreign);
        }
        let created = text(CREATED_NAME).ok_or(EntryError::Member(CREATED_NAME))?;
        let made: Timestamp = created
            .parse()
            .map_err(|_| EntryError::Member(CREATED_NAME))?;
        if oldest.is_some_and(|oldest| made < oldest) {
            return Err(EntryError::Expired(created.to_owned()));
        }
        let layer = match (manifest.layers(), text(DIFF_ID_NAME)) {
            ([], None) => None,
            ([layer], Some(diff_id)) => {
                let diff_id = diff_id
                    .parse()
                    .map_err(|_| EntryError::Member(DIFF_ID_NAME))?;
                if layer.media_type().layer_compression().is_none() {
                    return Err(EntryError::Member("layers"));
                }
                Some((layer.clone(), diff_id))
            }
            _ => return Err(EntryError::Member("layers")),
        };
        let created = created.to_owned();
        Ok(StoredStep {
            layer,
            content_key: text(CONTENT_KEY_NAME).and_then(|key| key.parse().ok()),
            created,
            config: manifest.config().clone(),
            manifest: bytes.to_vec(),
        })
    }
}

impl StoredStep {
    /// The entry as it is stored elsewhere; its config and its layer have been fetched.
    pub(crate) fn parcel(&self, config: &[u8], layer: Option<Blob>) -> Parcel {
        parcel(
            Document::new(MediaType::OciManifest, self.manifest.clone()),
            Blob::of_bytes(self.config.clone(), config),
            layer,
        )
    }

    /// Whether only OCI images can hold the layer (H27).
    pub(crate) fn is_zstd(&self) -> bool {
        let layer = self.layer.as_ref();
        layer.is_some_and(|(layer, _)| {
            layer.media_type().layer_compression() == Some(LayerCompression::Zstd)
        })
    }
}

/// A step to be stored.
#[derive(Debug)]
pub(crate) struct NewEntry<'a> {
    pub key: CacheKey,
    pub parts: &'a Parts,
    pub parent: Option<CacheKey>,
    pub content_key: Option<CacheKey>,
    /// The instruction as it is written.
    pub instruction: &'a str,
    pub platform: &'a Platform,
    /// RFC 3339.
    pub created: String,
    pub layer: Option<(&'a Descriptor, DiffId)>,
}

impl NewEntry<'_> {
    /// The entry as it is stored, with the blob of its layer.
    pub(crate) fn parcel(&self, layer: Option<Blob>) -> Parcel {
        let diff_ids: Vec<String> = self
            .layer
            .iter()
            .map(|(_, diff_id)| diff_id.to_string())
            .collect();
        let config = json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "created": self.created,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{
                "created": self.created,
                "created_by": self.instruction,
                "empty_layer": self.layer.is_none(),
            }],
            MEMBER: {
                "version": VERSION,
                "parent": self.parent,
                "parts": self.parts.for_storage(MAX_FILES),
            },
        });
        let config = config.to_string().into_bytes();
        let config_descriptor = Descriptor::of(MediaType::config(Family::Oci), &config);
        let layers = self.layer.iter().map(|(layer, _)| (*layer).clone());
        let manifest = Manifest::new(Family::Oci, config_descriptor.clone(), layers.collect())
            .with_annotations(self.annotations());
        parcel(
            Document::of_manifest(&manifest, None),
            Blob::of_bytes(config_descriptor, &config),
            layer,
        )
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let step: String = self
            .instruction
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        let mut annotations = BTreeMap::from([
            (VERSION_NAME.to_owned(), VERSION.to_owned()),
            (KEY_NAME.to_owned(), self.key.to_string()),
            (STEP_NAME.to_owned(), step),
            (CREATED_NAME.to_owned(), self.created.clone()),
        ]);
        if let Some(key) = &self.content_key {
            annotations.insert(CONTENT_KEY_NAME.to_owned(), key.to_string());
        }
        if let Some((_, diff_id)) = &self.layer {
            annotations.insert(DIFF_ID_NAME.to_owned(), diff_id.to_string());
        }
        annotations
    }
}

/// The parts that a stored config keeps of its key; `None` when it keeps none that can be read.
pub(crate) fn stored_parts(config: &[u8]) -> Option<Parts> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(rename = "dev.kiln.cache")]
        kept: Kept,
    }
    #[derive(serde::Deserialize)]
    struct Kept {
        parts: Parts,
    }
    read_bounded::<Config>(config).map(|config| config.kept.parts)
}

/// A document of a cache, which anybody may have written who can write there. `None` when it is something else, or has
/// more values than any of ours.
pub(crate) fn read_bounded<T: serde::de::DeserializeOwned>(document: &[u8]) -> Option<T> {
    if kiln_oci::json_values(document) > MAX_VALUES {
        return None;
    }
    serde_json::from_slice(document).ok()
}

/// Documents that are no entry of a step, but kept beside them: a trail.
pub(crate) fn trail_parcel(trail: &[u8], created: &str) -> Parcel {
    let media_type = MediaType::from("application/vnd.kiln.cache.trail.v1+json");
    let config_descriptor = Descriptor::of(media_type, trail);
    let manifest = Manifest::new(Family::Oci, config_descriptor.clone(), Vec::new())
        .with_annotations([(CREATED_NAME.to_owned(), created.to_owned())]);
    parcel(
        Document::of_manifest(&manifest, None),
        Blob::of_bytes(config_descriptor, trail),
        None,
    )
}

/// What is stored of an entry: its config, its layer if it has one, and the manifest.
fn parcel(manifest: Document, config: Blob, layer: Option<Blob>) -> Parcel {
    Parcel {
        blobs: std::iter::once(config).chain(layer).collect(),
        below: Vec::new(),
        top: manifest,
        known_in: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(
        parts: &'a Parts,
        platform: &'a Platform,
        layer: Option<&'a Descriptor>,
    ) -> NewEntry<'a> {
        NewEntry {
            key: parts.key(None),
            parts,
            parent: None,
            content_key: None,
            instruction: "RUN make\nmore",
            platform,
            created: "2026-01-02T03:04:05Z".to_owned(),
            layer: layer.map(|layer| (layer, DiffId::of(b"tar"))),
        }
    }

    fn config_of(stored: &Parcel) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        match runtime.block_on(stored.blobs[0].source()).unwrap() {
            kiln_registry::BlobSource::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    // finding 11: who can write into the cache cannot fill the memory of who reads it.
    #[test]
    fn documents_with_too_many_values_are_not_read() {
        let parts = |count: usize| {
            let list = vec!["[]"; count].join(",");
            let empty = serde_json::to_string(&Parts::new()).unwrap();
            let kept = format!("{{\"parts\":{empty},\"more\":[{list}]}}");
            stored_parts(format!("{{\"{MEMBER}\":{kept}}}").as_bytes())
        };
        assert_eq!(parts(1000), Some(Parts::new()));
        assert_eq!(parts(MAX_VALUES / 2 + 1), None);
    }

    // conformance: H19 H25
    #[test]
    fn an_entry_reads_back_until_it_expires() {
        let parts = Parts::new().with("instruction", "RUN make");
        let platform = Platform::parse("linux/amd64").unwrap();
        let media_type = MediaType::layer(Family::Docker, LayerCompression::Gzip);
        let blob = Descriptor::of(media_type, b"blob");
        for layer in [Some(&blob), None] {
            let stored = entry(&parts, &platform, layer).parcel(None);
            let manifest = &stored.top.bytes;
            let read = StoredStep::read(manifest, None).unwrap();
            let digest = read.layer.as_ref().map(|(layer, _)| layer.digest());
            assert_eq!(digest, layer.map(Descriptor::digest));
            assert_eq!(read.config, stored.blobs[0].descriptor);
            assert_eq!(stored_parts(&config_of(&stored)), Some(parts.clone()));
            let made = Timestamp::from_second(1_767_323_045).unwrap();
            assert!(StoredStep::read(manifest, Some(made)).is_ok());
            let later = made + std::time::Duration::from_nanos(1);
            let expired = StoredStep::read(manifest, Some(later));
            assert!(
                matches!(expired, Err(EntryError::Expired(_))),
                "{expired:?}"
            );
        }
    }

    // conformance: H22
    #[test]
    fn anything_else_is_no_entry() {
        let parts = Parts::new();
        let platform = Platform::parse("linux/amd64").unwrap();
        let whole = entry(&parts, &platform, None)
            .parcel(None)
            .top
            .bytes
            .to_vec();
        let whole = String::from_utf8(whole).unwrap();
        let rows = [
            String::new(),
            "{}".to_owned(),
            whole[..whole.len() / 2].to_owned(),
            whole.replace("cache.version\":\"1\"", "cache.version\":\"2\""),
            whole.replace("2026-01-02T", "yesterday "),
            whole.replace("\"layers\":[]", "\"layers\":[{\"mediaType\":\"text/plain\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":0}]"),
        ];
        for (number, row) in rows.iter().enumerate() {
            assert_ne!(*row, whole, "row {number} changes something");
            assert!(
                StoredStep::read(row.as_bytes(), None).is_err(),
                "row {number}"
            );
        }
    }
}
