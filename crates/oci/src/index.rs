//! Image indexes (docker: manifest lists) and choosing from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::{self, DocumentError};
use crate::manifest::refuse_others;
use crate::{Descriptor, Family, MediaType, Platform, lenient};

const DOCUMENT: &str = "image index";
/// Its fields, and those that only a manifest has.
pub(crate) const KNOWN: [&str; 4] = ["schemaVersion", "mediaType", "manifests", "annotations"];
pub(crate) const FOREIGN: [&str; 3] = ["config", "layers", "fsLayers"];

/// A list of manifests, mostly one per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Optional in OCI, required in docker's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The entries, in the order of the document.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub manifests: Vec<Descriptor>,
    /// Annotations, sorted by key.
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// No entry of an index says it is for the wanted platform (C15).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no image for platform `{wanted}`, only for {}", listed(.available))]
pub struct NoMatch {
    /// What was asked for.
    pub wanted: Platform,
    /// What the index offers, without attestations.
    pub available: Vec<Platform>,
    /// Entries that do not say what they are for: nested indexes, or manifests whose config has to be read (I24).
    pub unlabelled: Vec<Descriptor>,
}

/// Platforms that a message names.
const MOST_SHOWN: usize = 20;

fn listed(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform at all".to_owned();
    }
    let shown = platforms.iter().take(MOST_SHOWN);
    let mut texts: Vec<String> = shown
        .map(|p| format!("`{}`", document::shortened(&p.to_string())))
        .collect();
    if platforms.len() > MOST_SHOWN {
        texts.push(format!("and {} more", platforms.len() - MOST_SHOWN));
    }
    texts.join(", ")
}

impl Index {
    /// An index of `family`; its entries are taken as they are.
    pub fn new(family: Family, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::index(family)),
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index; a manifest is refused by name (I23).
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        refuse_others(bytes, DOCUMENT, |media_type| !media_type.is_manifest())?;
        document::unambiguous(DOCUMENT, bytes, &KNOWN, &FOREIGN)?;
        document::parse(DOCUMENT, bytes)
    }

    /// Compact JSON in the field order of Go's OCI types; equal indexes give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        document::to_bytes(self)
    }

    /// The entry that serves `wanted` best; of equal ones the first (C14, C15, I24).
    ///
    /// An entry that does not say what it is for is never chosen here: [`NoMatch::unlabelled`] lists those.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, Box<NoMatch>> {
        let mut best: Option<(u32, &Descriptor)> = None;
        let mut available = Vec::new();
        let mut unlabelled = Vec::new();
        for entry in self
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
        {
            let Some(platform) = entry.platform.as_ref().filter(|p| !p.is_empty()) else {
                unlabelled.push(entry.clone());
                continue;
            };
            if let Some(rank) = wanted.rank(platform)
                && best.is_none_or(|(least, _)| rank < least)
            {
                best = Some((rank, entry));
            }
            available.push(platform.clone());
        }
        match best {
            Some((_, entry)) => Ok(entry),
            None => Err(Box::new(NoMatch {
                wanted: wanted.clone(),
                available,
                unlabelled,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str) -> Descriptor {
        let mut descriptor = Descriptor::of(MediaType::OciManifest, platform.as_bytes());
        let mut parts = platform.split('/');
        descriptor.platform = (platform != "-").then(|| Platform {
            os: parts.next().unwrap_or_default().to_owned(),
            architecture: parts.next().unwrap_or_default().to_owned(),
            variant: parts.next().map(str::to_owned),
            ..Platform::default()
        });
        descriptor
    }

    // conformance: C13, C14, C15, I24
    #[test]
    fn selects_the_best_entry() {
        let rows: [(&[&str], &str, Result<&str, &str>); 9] = [
            (
                &["linux/amd64", "linux/arm64/v8"],
                "linux/arm64",
                Ok("linux/arm64/v8"),
            ),
            (
                &["linux/arm/v5", "linux/arm/v6"],
                "linux/arm/v7",
                Ok("linux/arm/v6"),
            ),
            (
                &["linux/arm/v5", "linux/arm/v7"],
                "linux/arm",
                Ok("linux/arm/v7"),
            ),
            (
                &["linux/amd64/v2", "linux/amd64"],
                "linux/amd64",
                Ok("linux/amd64"),
            ),
            (
                &["unknown/unknown", "linux/amd64"],
                "linux/amd64",
                Ok("linux/amd64"),
            ),
            (
                &["linux/amd64", "linux/amd64/v1"],
                "linux/x86_64",
                Ok("linux/amd64"),
            ),
            (
                &["linux/amd64", "unknown/unknown", "linux/arm/v7"],
                "linux/s390x",
                Err("no image for platform `linux/s390x`, only for `linux/amd64`, `linux/arm/v7`"),
            ),
            (
                &["-"],
                "linux/amd64",
                Err("no image for platform `linux/amd64`, only for no platform at all"),
            ),
            (
                &[],
                "linux/amd64",
                Err("no image for platform `linux/amd64`, only for no platform at all"),
            ),
        ];
        assert!(!rows.is_empty());
        for (entries, wanted, expected) in rows {
            let index = Index::new(
                Family::Oci,
                entries.iter().map(|text| entry(text)).collect(),
            );
            let found = index.select(&Platform::parse(wanted).unwrap());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, entry(expected), "{entries:?}"),
                (Err(miss), Err(message)) => {
                    assert_eq!(miss.to_string(), message);
                    assert_eq!(
                        miss.unlabelled.len(),
                        entries.iter().filter(|e| **e == "-").count()
                    );
                }
                (found, _) => panic!("{entries:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn bytes_are_stable() {
        let mut attestation = entry("unknown/unknown");
        attestation.annotations.insert(
            "vnd.docker.reference.type".into(),
            "attestation-manifest".into(),
        );
        let index = Index::new(Family::Docker, vec![entry("linux/arm/v7"), attestation]);
        let bytes = index.to_bytes();
        insta::assert_snapshot!("index", String::from_utf8_lossy(&bytes));
        assert_eq!(Index::parse(&bytes).unwrap(), index);
    }

    // conformance: I23
    #[test]
    fn a_manifest_is_refused_by_name() {
        let text =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
        let error = Index::parse(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("image.manifest.v1+json"),
            "{error}"
        );
    }
}
