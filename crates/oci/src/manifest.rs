//! Image manifests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};
use crate::{Descriptor, Family, MediaType, lenient};

const DOCUMENT: &str = "image manifest";
const KNOWN: [&str; 5] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "annotations",
];

/// An image manifest, OCI or docker schema 2: a config and layers, base first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Optional in OCI, required in docker's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub layers: Vec<Descriptor>,
    /// Annotations, sorted by key; docker's format has none (F25).
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of `family` with config and layers labelled to match; their blobs need no change (F26).
    pub fn new(family: Family, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let relabel = |descriptor: Descriptor| Descriptor {
            media_type: descriptor.media_type.in_family(family),
            ..descriptor
        };
        Self {
            schema_version: 2,
            media_type: Some(MediaType::manifest(family)),
            config: relabel(config),
            layers: layers.into_iter().map(relabel).collect(),
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest; an index or a schema 1 manifest is refused by name (I23).
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        refuse_others(bytes, DOCUMENT, |media_type| !media_type.is_index())?;
        document::unambiguous(DOCUMENT, bytes, &KNOWN, &["manifests", "fsLayers"])?;
        let manifest: Self = document::parse(DOCUMENT, bytes)?;
        document::check_layers(DOCUMENT, manifest.layers.len())?;
        Ok(manifest)
    }

    /// Compact JSON in the field order of Go's OCI types; equal manifests give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        document::to_bytes(self)
    }

    /// The family the manifest says it is of, or else its config's; OCI when neither tells.
    pub fn family(&self) -> Family {
        self.media_type
            .as_ref()
            .and_then(MediaType::family)
            .or_else(|| self.config.media_type.family())
            .unwrap_or(Family::Oci)
    }

    /// The media type to send this manifest with.
    pub fn effective_media_type(&self) -> MediaType {
        self.media_type
            .clone()
            .unwrap_or_else(|| MediaType::manifest(self.family()))
    }
}

/// Looks at what a document says about itself, so that the error names the real problem and not a missing field.
pub(crate) fn refuse_others(
    bytes: &[u8],
    document: &'static str,
    accepts: impl Fn(&MediaType) -> bool,
) -> Result<(), DocumentError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        schema_version: u32,
        #[serde(default)]
        media_type: Option<MediaType>,
    }
    let head: Head = document::parse(document, bytes)?;
    match head.media_type {
        Some(media_type) if media_type.is_schema1() => Err(DocumentError::Schema1 { document }),
        Some(actual) if !accepts(&actual) => Err(DocumentError::MediaType { document, actual }),
        None if head.schema_version == 1 => Err(DocumentError::Schema1 { document }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(family: Family) -> Manifest {
        let config = Descriptor::of(MediaType::OciConfig, b"{}");
        let layers = vec![
            Descriptor::of(MediaType::DockerLayerGzip, b"1"),
            Descriptor::of(MediaType::OciLayer, b"2"),
            Descriptor {
                urls: vec!["https://example.com/l".into()],
                ..Descriptor::of(MediaType::DockerForeignLayerGzip, b"3")
            },
        ];
        Manifest::new(family, config, layers)
    }

    // conformance: F25, F26, I27
    #[test]
    fn bytes_are_stable() {
        let mut oci = manifest(Family::Oci);
        oci.annotations.insert("b".into(), "2".into());
        oci.annotations.insert("a".into(), "1".into());
        let docker = manifest(Family::Docker);
        for (name, manifest) in [("oci_manifest", oci), ("docker_manifest", docker)] {
            let bytes = manifest.to_bytes();
            insta::assert_snapshot!(name, String::from_utf8_lossy(&bytes));
            let read = Manifest::parse(&bytes).unwrap();
            assert_eq!(read, manifest);
            assert_eq!(read.effective_media_type(), manifest.media_type.unwrap());
        }
    }

    // conformance: I23
    #[test]
    fn other_documents_are_refused_by_name() {
        let rows = [
            (
                r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#,
                "docker schema 1",
            ),
            (
                r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"}"#,
                "docker schema 1",
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
                "media type `application/vnd.oci.image.index.v1+json`",
            ),
            (r#"{"schemaVersion":2}"#, "image manifest is not valid"),
            ("<html>", "image manifest is not valid"),
        ];
        assert!(!rows.is_empty());
        for (text, message) in rows {
            let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    // finding 9
    // conformance: I23
    #[test]
    fn what_can_be_read_as_two_images_is_refused() {
        let config = format!(
            r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}}"#,
            crate::Digest::of(b"{}")
        );
        let manifest =
            |more: &str| format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{more}}}"#);
        let refused = [
            r#","manifests":[]"#,
            r#","manifests":[{}]"#,
            r#","fsLayers":[]"#,
            r#","Layers":[]"#,
            r#","Config":{}"#,
            r#","MediaType":"x""#,
            r#","Manifests":[]"#,
            r#","layers":[]"#,
        ];
        for more in refused {
            let error = Manifest::parse(manifest(more).as_bytes()).unwrap_err();
            let text = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(
                text.contains("two different") || text.contains("duplicate"),
                "{more}: {text}"
            );
        }
        for more in [
            "",
            r#","manifests":null"#,
            r#","subject":null"#,
            r#","x":[]"#,
        ] {
            Manifest::parse(manifest(more).as_bytes()).unwrap();
        }
        let index = |more: &str| format!(r#"{{"schemaVersion":2,"manifests":[]{more}}}"#);
        for more in [
            r#","layers":[]"#.to_owned(),
            format!(r#","config":{config}"#),
            r#","Manifests":[]"#.to_owned(),
        ] {
            let error = crate::Index::parse(index(&more).as_bytes()).unwrap_err();
            assert!(
                error.to_string().contains("two different"),
                "{more}: {error}"
            );
        }
        crate::Index::parse(index(r#","layers":null"#).as_bytes()).unwrap();
        for more in ["manifests", "layers", "fsLayers"] {
            let text = format!(r#"{{"os":"linux","{more}":[]}}"#);
            let error = crate::ImageConfig::parse(text.as_bytes()).unwrap_err();
            assert!(
                error.to_string().contains("two different"),
                "{more}: {error}"
            );
        }
    }

    // finding 5
    #[test]
    fn documents_with_too_much_in_them_are_refused() {
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":1}}"#,
            crate::Digest::of(b"x")
        );
        let layers = vec![layer.clone(); crate::MAX_LAYERS + 1].join(",");
        let text = format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layers}]}}"#);
        let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("MAX_LAYERS"), "{error}");
        let empty = vec!["{}"; crate::MAX_JSON_VALUES / 2 + 1].join(",");
        for text in [
            format!(r#"{{"os":"linux","history":[{empty}]}}"#),
            format!(r#"{{"os":"linux","x":[{empty}]}}"#),
        ] {
            let error = crate::ImageConfig::parse(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains("MAX_JSON_VALUES"), "{error}");
        }
        // Commas and brackets in texts are no values.
        let text = format!(
            r#"{{"os":"linux","author":"{}"}}"#,
            r#"[,\",{"#.repeat(100_000)
        );
        crate::ImageConfig::parse(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_family_is_told_by_the_config_when_nothing_else_does() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{}","size":2}},"layers":null}}"#,
            crate::Digest::of(b"{}")
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.family(), Family::Docker);
        assert_eq!(manifest.effective_media_type(), MediaType::DockerManifest);
    }
}
