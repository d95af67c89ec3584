//! The two small files behind an image of the volume: its entry, and the alias of an index.
//!
//! `images/<hex>.json` says that the image is complete; its modification time is when it was stored.
//! `indexes/<hex>/<platform>` leads from an index and the platform that was wanted to a manifest. The platform is the
//! wanted one and not the image's: arm/v7 may have got a v6 image because the index had nothing better, and only the
//! index knows that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_oci::{Descriptor, Digest, Platform};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Miss;
use crate::volume::{Volume, names, read_document};

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    version: u32,
    pub(crate) manifest: Descriptor,
    /// The name it was asked for by, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alias {
    version: u32,
    pub(crate) platform: Platform,
    pub(crate) manifest: Digest,
}

impl Entry {
    pub(crate) fn new(manifest: Descriptor, reference: Option<String>) -> Self {
        Self {
            version: VERSION,
            manifest,
            reference,
        }
    }

    /// The entry of this manifest and when it was stored.
    pub(crate) fn read(volume: &Volume, manifest: &Digest) -> Result<(Self, SystemTime), Miss> {
        let path = volume.image(manifest);
        let entry: Self = read(&path)?.ok_or(Miss::Absent { digest: *manifest })?;
        if entry.version != VERSION || entry.manifest.digest() != *manifest {
            return Err(Miss::Misplaced { path });
        }
        let stored_at = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .map_err(|source| Miss::Unreadable { path, source })?;
        Ok((entry, stored_at))
    }
}

impl Alias {
    pub(crate) fn new(platform: &Platform, manifest: Digest) -> Self {
        Self {
            version: VERSION,
            platform: platform.normalized(),
            manifest,
        }
    }

    pub(crate) fn path(volume: &Volume, index: &Digest, platform: &Platform) -> PathBuf {
        let name: String = platform
            .normalized()
            .to_string()
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => c,
                _ => '-',
            })
            .collect();
        volume.index(index).join(format!("{name}.json"))
    }

    /// The manifest that an alias leads to, whatever index and platform it is of.
    pub(crate) fn target(path: &Path) -> Option<Digest> {
        let alias: Self = read(path).ok()??;
        Some(alias.manifest)
    }

    /// The manifest this index means for `wanted`.
    pub(crate) fn resolve(
        volume: &Volume,
        index: &Digest,
        wanted: &Platform,
    ) -> Result<Digest, Miss> {
        let path = Self::path(volume, index, wanted);
        let Some(alias) = read::<Self>(&path)? else {
            return Err(if names(&volume.index(index))?.is_empty() {
                Miss::Absent { digest: *index }
            } else {
                Miss::OtherPlatform {
                    index: *index,
                    wanted: Box::new(wanted.normalized()),
                }
            });
        };
        // Two platforms may share a file name once their punctuation is gone.
        if alias.version == VERSION && alias.platform == wanted.normalized() {
            Ok(alias.manifest)
        } else {
            Err(Miss::Misplaced { path })
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Miss> {
    let Some(bytes) = read_document(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| Miss::Entry {
            path: path.to_owned(),
            source,
        })
}
