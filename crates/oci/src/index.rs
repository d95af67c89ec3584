//! Image indexes (docker: manifest lists) and choosing from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::{self, DocumentError};
use crate::manifest::refuse_others;
use crate::{Descriptor, Family, MediaType, Platform, lenient};

const DOCUMENT: &str = "image index";

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

fn listed(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform at all".to_owned();
    }
    let texts: Vec<String> = platforms.iter().map(|p| format!("`{p}`")).collect();
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
