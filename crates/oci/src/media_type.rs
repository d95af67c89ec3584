//! Media types of manifests, configs and layers (I23, I26, F26).

use std::fmt;

use oci_spec::image as spec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a blob is, as its descriptor says.
///
/// The types of both families have names here; in `oci-spec`'s type those of docker are mere texts. Each becomes the
/// other with `into`, and nothing is lost.
///
/// Types this crate does not know are kept word for word in [`MediaType::Other`], so that descriptors survive being
/// read and written again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// Docker image manifest, version 2 schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerManifestList,
    /// OCI image manifest.
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image config.
    DockerConfig,
    /// OCI image config.
    OciConfig,
    /// Docker layer, plain tar.
    DockerLayer,
    /// Docker layer, gzip.
    DockerLayerGzip,
    /// Docker layer, zstd: in no specification, but containerd writes it.
    DockerLayerZstd,
    /// Docker foreign layer, plain tar.
    DockerForeignLayer,
    /// Docker foreign layer, gzip.
    DockerForeignLayerGzip,
    /// OCI layer, plain tar.
    OciLayer,
    /// OCI layer, gzip.
    OciLayerGzip,
    /// OCI layer, zstd.
    OciLayerZstd,
    /// OCI nondistributable layer, plain tar.
    OciForeignLayer,
    /// OCI nondistributable layer, gzip.
    OciForeignLayerGzip,
    /// OCI nondistributable layer, zstd.
    OciForeignLayerZstd,
    /// The two bytes `{}`, config of artifacts that need none.
    OciEmpty,
    /// Docker manifest schema 1, unsigned: recognised to be refused clearly.
    DockerSchema1,
    /// Docker manifest schema 1, signed: recognised to be refused clearly.
    DockerSchema1Signed,
    /// Anything else, as written.
    Other(String),
}

/// The two families of media types; one image uses one of them throughout (F26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `application/vnd.docker...`
    Docker,
    /// `application/vnd.oci...`
    Oci,
}

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerCompression {
    /// Plain tar.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl LayerCompression {
    /// Tells the packing from the first four bytes of a layer; what is neither gzip nor zstd counts as plain (I26).
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A zstd frame, or one of the sixteen skippable frames.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl fmt::Display for LayerCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Every named type with its text; reading and writing both go through this table.
const NAMES: [(MediaType, &str); 20] = [
    (
        MediaType::DockerManifest,
        "application/vnd.docker.distribution.manifest.v2+json",
    ),
    (
        MediaType::DockerManifestList,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    (
        MediaType::OciManifest,
        "application/vnd.oci.image.manifest.v1+json",
    ),
    (
        MediaType::OciIndex,
        "application/vnd.oci.image.index.v1+json",
    ),
    (
        MediaType::DockerConfig,
        "application/vnd.docker.container.image.v1+json",
    ),
    (
        MediaType::OciConfig,
        "application/vnd.oci.image.config.v1+json",
    ),
    (
        MediaType::DockerLayer,
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
    (
        MediaType::DockerLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
    (
        MediaType::DockerLayerZstd,
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ),
    (
        MediaType::DockerForeignLayer,
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
    (
        MediaType::DockerForeignLayerGzip,
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    (
        MediaType::OciLayer,
        "application/vnd.oci.image.layer.v1.tar",
    ),
    (
        MediaType::OciLayerGzip,
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        MediaType::OciLayerZstd,
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        MediaType::OciForeignLayer,
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (
        MediaType::OciForeignLayerGzip,
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    (
        MediaType::OciForeignLayerZstd,
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ),
    (MediaType::OciEmpty, "application/vnd.oci.empty.v1+json"),
    (
        MediaType::DockerSchema1,
        "application/vnd.docker.distribution.manifest.v1+json",
    ),
    (
        MediaType::DockerSchema1Signed,
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ),
];

impl MediaType {
    /// The text that stands in JSON and HTTP headers.
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        NAMES
            .iter()
            .find(|(named, _)| named == self)
            .map_or("", |(_, text)| text)
    }

    /// The type of a layer with this packing in this family.
    pub fn layer(family: Family, compression: LayerCompression) -> Self {
        match (family, compression) {
            (Family::Docker, LayerCompression::None) => Self::DockerLayer,
            (Family::Docker, LayerCompression::Gzip) => Self::DockerLayerGzip,
            (Family::Docker, LayerCompression::Zstd) => Self::DockerLayerZstd,
            (Family::Oci, LayerCompression::None) => Self::OciLayer,
            (Family::Oci, LayerCompression::Gzip) => Self::OciLayerGzip,
            (Family::Oci, LayerCompression::Zstd) => Self::OciLayerZstd,
        }
    }

    /// The type of a manifest in this family.
    pub fn manifest(family: Family) -> Self {
        match family {
            Family::Docker => Self::DockerManifest,
            Family::Oci => Self::OciManifest,
        }
    }

    /// The type of an image config in this family.
    pub fn config(family: Family) -> Self {
        match family {
            Family::Docker => Self::DockerConfig,
            Family::Oci => Self::OciConfig,
        }
    }

    /// The type of a list of manifests in this family.
    pub fn index(family: Family) -> Self {
        match family {
            Family::Docker => Self::DockerManifestList,
            Family::Oci => Self::OciIndex,
        }
    }

    /// An OCI index or a docker manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// An OCI or docker (schema 2) image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// A docker schema 1 manifest, which no part of Kiln can use (I23).
    pub fn is_schema1(&self) -> bool {
        matches!(self, Self::DockerSchema1 | Self::DockerSchema1Signed)
    }

    /// An OCI or docker image config.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// A filesystem layer of any packing, foreign ones included.
    pub fn is_layer(&self) -> bool {
        self.layer_compression().is_some()
    }

    /// A layer that is fetched from its `urls` and not pushed (I27).
    pub fn is_foreign(&self) -> bool {
        matches!(
            self,
            Self::DockerForeignLayer
                | Self::DockerForeignLayerGzip
                | Self::OciForeignLayer
                | Self::OciForeignLayerGzip
                | Self::OciForeignLayerZstd
        )
    }

    /// The packing a layer type claims; `None` when this is not a layer. Content decides where the claim is wrong (I26).
    pub fn layer_compression(&self) -> Option<LayerCompression> {
        match self {
            Self::DockerLayer
            | Self::OciLayer
            | Self::DockerForeignLayer
            | Self::OciForeignLayer => Some(LayerCompression::None),
            Self::DockerLayerGzip
            | Self::OciLayerGzip
            | Self::DockerForeignLayerGzip
            | Self::OciForeignLayerGzip => Some(LayerCompression::Gzip),
            Self::DockerLayerZstd | Self::OciLayerZstd | Self::OciForeignLayerZstd => {
                Some(LayerCompression::Zstd)
            }
            _ => None,
        }
    }

    /// The family, for types that belong to one.
    pub fn family(&self) -> Option<Family> {
        let text = self.as_str();
        if text.starts_with("application/vnd.docker.") {
            Some(Family::Docker)
        } else if text.starts_with("application/vnd.oci.") {
            Some(Family::Oci)
        } else {
            None
        }
    }

    /// The same thing in `family`; blobs need no change for it (F26). A type without a counterpart stays what it is.
    #[must_use]
    pub fn in_family(&self, family: Family) -> Self {
        if self.is_manifest() {
            Self::manifest(family)
        } else if self.is_index() {
            Self::index(family)
        } else if self.is_config() {
            Self::config(family)
        } else if let Some(compression) = self.layer_compression() {
            match (self.is_foreign(), family, compression) {
                (false, _, _) => Self::layer(family, compression),
                (true, Family::Docker, LayerCompression::None) => Self::DockerForeignLayer,
                (true, Family::Docker, LayerCompression::Gzip) => Self::DockerForeignLayerGzip,
                (true, Family::Oci, LayerCompression::None) => Self::OciForeignLayer,
                (true, Family::Oci, LayerCompression::Gzip) => Self::OciForeignLayerGzip,
                (true, _, LayerCompression::Zstd) => Self::OciForeignLayerZstd,
            }
        } else {
            self.clone()
        }
    }
}

impl From<&str> for MediaType {
    /// Also takes a `Content-Type` header: parameters and case do not matter for the types known here.
    fn from(text: &str) -> Self {
        let essence = text.split(';').next().unwrap_or(text).trim();
        NAMES
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(essence))
            .map_or_else(|| Self::Other(text.to_owned()), |(named, _)| named.clone())
    }
}

impl From<&spec::MediaType> for MediaType {
    fn from(theirs: &spec::MediaType) -> Self {
        Self::from(theirs.as_ref())
    }
}

impl From<spec::MediaType> for MediaType {
    fn from(theirs: spec::MediaType) -> Self {
        Self::from(theirs.as_ref())
    }
}

impl From<&MediaType> for spec::MediaType {
    fn from(ours: &MediaType) -> Self {
        Self::from(ours.as_str())
    }
}

impl From<MediaType> for spec::MediaType {
    fn from(ours: MediaType) -> Self {
        Self::from(ours.as_str())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        assert!(!NAMES.is_empty());
        for (named, text) in &NAMES {
            assert_eq!(MediaType::from(*text), *named);
            assert_eq!(named.as_str(), *text);
            assert_eq!(
                MediaType::from(format!("{}; charset=utf-8", text.to_uppercase()).as_str()),
                *named
            );
        }
        let other = MediaType::from("text/plain; x=y");
        assert_eq!(other, MediaType::Other("text/plain; x=y".to_owned()));
        assert_eq!(other.as_str(), "text/plain; x=y");
    }

    #[test]
    fn every_name_goes_to_oci_spec_and_back() {
        let more = ["application/vnd.oci.descriptor", "text/plain; x=y", ""];
        let names = NAMES.iter().map(|(_, text)| *text).chain(more);
        for text in names {
            let ours = MediaType::from(text);
            let theirs = spec::MediaType::from(&ours);
            assert_eq!(theirs.as_ref(), text);
            assert_eq!(MediaType::from(&theirs), ours);
        }
        assert_eq!(
            spec::MediaType::from(MediaType::OciIndex),
            spec::MediaType::ImageIndex
        );
    }

    // conformance: F26
    #[test]
    fn changing_the_family_keeps_the_meaning() {
        assert!(!NAMES.is_empty());
        for (named, text) in &NAMES {
            for family in [Family::Docker, Family::Oci] {
                let there = named.in_family(family);
                assert_eq!(there.is_manifest(), named.is_manifest(), "{text}");
                assert_eq!(there.is_index(), named.is_index(), "{text}");
                assert_eq!(there.is_config(), named.is_config(), "{text}");
                assert_eq!(there.is_foreign(), named.is_foreign(), "{text}");
                assert_eq!(
                    there.layer_compression(),
                    named.layer_compression(),
                    "{text}"
                );
                if named.is_manifest() || named.is_index() || named.is_config() {
                    assert_eq!(there.family(), Some(family), "{text}");
                }
                if named.is_layer() && !named.is_foreign() {
                    assert_eq!(there.family(), Some(family), "{text}");
                    assert_eq!(there.in_family(named.family().unwrap()), *named);
                }
            }
        }
    }

    // conformance: G46
    #[test]
    fn zstd_is_the_oci_suffix() {
        assert_eq!(
            MediaType::layer(Family::Oci, LayerCompression::Zstd).as_str(),
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }
}
