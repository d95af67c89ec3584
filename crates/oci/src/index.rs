//! Image indexes (docker: manifest lists) and choosing from them.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::descriptor::{sorted, spec_map};
use crate::document::{self, DocumentError};
use crate::manifest::{checked, refuse_others};
use crate::{Descriptor, DigestError, Family, MediaType, Platform, lenient};

const DOCUMENT: &str = "image index";
/// Its fields, and those that only a manifest has.
pub(crate) const KNOWN: [&str; 6] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "manifests",
    "subject",
    "annotations",
];
pub(crate) const FOREIGN: [&str; 3] = ["config", "layers", "fsLayers"];

/// A list of manifests, mostly one per platform.
///
/// It is `oci-spec`'s index, whose entries all have digests that can be checked. One that comes from elsewhere is taken
/// in with `try_from`; `as_ref` and `into` give it out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    spec: spec::ImageIndex,
    /// The entries of `spec`.
    manifests: Vec<Descriptor>,
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
        let mut it = Self::plain(2, manifests);
        it.spec
            .set_media_type(Some(MediaType::index(family).into()));
        it
    }

    fn plain(schema_version: u32, manifests: Vec<Descriptor>) -> Self {
        let required = spec::ImageIndexBuilder::default()
            .schema_version(schema_version)
            .manifests(
                manifests
                    .iter()
                    .cloned()
                    .map(Into::into)
                    .collect::<Vec<_>>(),
            );
        match required.build() {
            Ok(spec) => Self { spec, manifests },
            Err(error) => unreachable!("an index needs no more than this: {error}"),
        }
    }

    /// Reads an index; a manifest is refused by name (I23).
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        refuse_others(bytes, DOCUMENT, |media_type| !media_type.is_manifest())?;
        document::unambiguous(DOCUMENT, bytes, &KNOWN, &FOREIGN)?;
        document::parse(DOCUMENT, bytes)
    }

    /// What the index says it is: optional in OCI, required in docker's format.
    pub fn media_type(&self) -> Option<MediaType> {
        self.spec.media_type().as_ref().map(MediaType::from)
    }

    /// The entries, in the order of the document.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
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
            let Some(platform) = entry.platform().filter(|p| !p.is_empty()) else {
                unlabelled.push(entry.clone());
                continue;
            };
            if let Some(rank) = wanted.rank(&platform)
                && best.is_none_or(|(least, _)| rank < least)
            {
                best = Some((rank, entry));
            }
            available.push(platform);
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

impl AsRef<spec::ImageIndex> for Index {
    fn as_ref(&self) -> &spec::ImageIndex {
        &self.spec
    }
}

impl From<Index> for spec::ImageIndex {
    fn from(ours: Index) -> Self {
        ours.spec
    }
}

impl TryFrom<spec::ImageIndex> for Index {
    type Error = DigestError;

    fn try_from(spec: spec::ImageIndex) -> Result<Self, DigestError> {
        let manifests = spec.manifests().iter().map(TryInto::try_into);
        checked(spec.subject().as_ref())?;
        Ok(Self {
            manifests: manifests.collect::<Result<_, _>>()?,
            spec,
        })
    }
}

/// An index as it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<MediaType>,
    #[serde(
        default,
        deserialize_with = "lenient::if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    artifact_type: Option<MediaType>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    manifests: Vec<Descriptor>,
    #[serde(
        default,
        deserialize_with = "lenient::if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    subject: Option<Descriptor>,
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    annotations: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        let mut it = Self::plain(fields.schema_version, fields.manifests);
        it.spec
            .set_media_type(fields.media_type.map(Into::into))
            .set_artifact_type(fields.artifact_type.map(Into::into))
            .set_subject(fields.subject.map(Into::into))
            .set_annotations(spec_map(fields.annotations));
        Ok(it)
    }
}

impl Serialize for Index {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subject = checked(self.spec.subject().as_ref());
        Fields {
            schema_version: self.spec.schema_version(),
            media_type: self.media_type(),
            artifact_type: self.spec.artifact_type().as_ref().map(MediaType::from),
            manifests: self.manifests.clone(),
            subject: subject.map_err(S::Error::custom)?,
            annotations: sorted(self.spec.annotations().as_ref()),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str) -> Descriptor {
        let descriptor = Descriptor::of(MediaType::OciManifest, platform.as_bytes());
        let mut parts = platform.split('/');
        descriptor.with_platform((platform != "-").then(|| Platform {
            os: parts.next().unwrap_or_default().to_owned(),
            architecture: parts.next().unwrap_or_default().to_owned(),
            variant: parts.next().map(str::to_owned),
            ..Platform::default()
        }))
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
        let attestation = entry("unknown/unknown")
            .with_annotation("vnd.docker.reference.type", "attestation-manifest");
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

    #[test]
    fn goes_to_oci_spec_and_back() {
        for family in [Family::Oci, Family::Docker] {
            let ours = Index::new(family, vec![entry("linux/arm/v7"), entry("-")]);
            // What is written is what they read.
            let theirs = spec::ImageIndex::from_reader(ours.to_bytes().as_slice()).unwrap();
            assert_eq!(theirs, *ours.as_ref());
            assert_eq!(Index::try_from(theirs).unwrap(), ours);
        }
        let theirs = spec::ImageIndexBuilder::default()
            .schema_version(spec::SCHEMA_VERSION)
            .artifact_type("application/x")
            .manifests([entry("linux/amd64").into()])
            .subject(entry("-"))
            .annotations([("a".to_owned(), "1".to_owned())])
            .build()
            .unwrap();
        let ours = Index::try_from(theirs.clone()).unwrap();
        let read = Index::parse(&ours.to_bytes()).unwrap();
        assert_eq!(spec::ImageIndex::from(read), theirs);
    }
}
