//! Image manifests.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::descriptor::{sorted, spec_map};
use crate::document::{self, DocumentError};
use crate::{Descriptor, DigestError, Family, MediaType, lenient};

const DOCUMENT: &str = "image manifest";
const KNOWN: [&str; 7] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "subject",
    "annotations",
];

/// An image manifest, OCI or docker schema 2: a config and layers, base first.
///
/// It is `oci-spec`'s manifest, whose descriptors all have digests that can be checked. One that comes from elsewhere is
/// taken in with `try_from`; `as_ref` and `into` give it out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    spec: spec::ImageManifest,
    /// The config and the layers of `spec`.
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Manifest {
    /// A manifest of `family` with config and layers labelled to match; their blobs need no change (F26).
    pub fn new(family: Family, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let relabel = |descriptor: Descriptor| {
            let media_type = descriptor.media_type().in_family(family);
            descriptor.with_media_type(media_type)
        };
        let layers = layers.into_iter().map(relabel).collect();
        let mut it = Self::plain(2, relabel(config), layers);
        it.spec
            .set_media_type(Some(MediaType::manifest(family).into()));
        it
    }

    fn plain(schema_version: u32, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let required = spec::ImageManifestBuilder::default()
            .schema_version(schema_version)
            .config(config.clone())
            .layers(layers.iter().cloned().map(Into::into).collect::<Vec<_>>());
        match required.build() {
            Ok(spec) => Self {
                spec,
                config,
                layers,
            },
            Err(error) => unreachable!("a manifest needs no more than this: {error}"),
        }
    }

    /// Reads a manifest; an index or a schema 1 manifest is refused by name (I23).
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        refuse_others(bytes, DOCUMENT, |media_type| !media_type.is_index())?;
        document::unambiguous(DOCUMENT, bytes, &KNOWN, &["manifests", "fsLayers"])?;
        let fields: Fields = document::parse(DOCUMENT, bytes)?;
        document::check_layers(DOCUMENT, fields.layers.len())?;
        Ok(fields.into())
    }

    /// Compact JSON in the field order of Go's OCI types; equal manifests give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        document::to_bytes(self)
    }

    /// What the manifest says it is: optional in OCI, required in docker's format.
    pub fn media_type(&self) -> Option<MediaType> {
        self.spec.media_type().as_ref().map(MediaType::from)
    }

    /// The image config.
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// The layers, base first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// The annotation with this key; docker's format has none (F25).
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let all = self.spec.annotations().as_ref()?;
        all.get(key).map(String::as_str)
    }

    /// The same manifest with these annotations in place of those it had.
    #[must_use]
    pub fn with_annotations(
        mut self,
        annotations: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let all = annotations.into_iter().collect();
        self.spec.set_annotations(spec_map(all));
        self
    }

    /// The family the manifest says it is of, or else its config's; OCI when neither tells.
    pub fn family(&self) -> Family {
        self.media_type()
            .and_then(|media_type| media_type.family())
            .or_else(|| self.config.media_type().family())
            .unwrap_or(Family::Oci)
    }

    /// The media type to send this manifest with.
    pub fn effective_media_type(&self) -> MediaType {
        self.media_type()
            .unwrap_or_else(|| MediaType::manifest(self.family()))
    }
}

impl AsRef<spec::ImageManifest> for Manifest {
    fn as_ref(&self) -> &spec::ImageManifest {
        &self.spec
    }
}

impl From<Manifest> for spec::ImageManifest {
    fn from(ours: Manifest) -> Self {
        ours.spec
    }
}

impl TryFrom<spec::ImageManifest> for Manifest {
    type Error = DigestError;

    fn try_from(spec: spec::ImageManifest) -> Result<Self, DigestError> {
        let layers = spec.layers().iter().map(TryInto::try_into);
        checked(spec.subject().as_ref())?;
        Ok(Self {
            config: spec.config().try_into()?,
            layers: layers.collect::<Result<_, _>>()?,
            spec,
        })
    }
}

/// A manifest as it stands in JSON.
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
    config: Descriptor,
    #[serde(default, deserialize_with = "lenient::or_default")]
    layers: Vec<Descriptor>,
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

impl From<Fields> for Manifest {
    fn from(fields: Fields) -> Self {
        let mut it = Self::plain(fields.schema_version, fields.config, fields.layers);
        it.spec
            .set_media_type(fields.media_type.map(Into::into))
            .set_artifact_type(fields.artifact_type.map(Into::into))
            .set_subject(fields.subject.map(Into::into))
            .set_annotations(spec_map(fields.annotations));
        it
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subject = checked(self.spec.subject().as_ref());
        Fields {
            schema_version: self.spec.schema_version(),
            media_type: self.media_type(),
            artifact_type: self.spec.artifact_type().as_ref().map(MediaType::from),
            config: self.config.clone(),
            layers: self.layers.clone(),
            subject: subject.map_err(S::Error::custom)?,
            annotations: sorted(self.spec.annotations().as_ref()),
        }
        .serialize(serializer)
    }
}

/// A document's `subject`.
pub(crate) fn checked(
    subject: Option<&spec::Descriptor>,
) -> Result<Option<Descriptor>, DigestError> {
    subject.map(TryInto::try_into).transpose()
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
            Descriptor::of(MediaType::DockerForeignLayerGzip, b"3")
                .with_urls(vec!["https://example.com/l".into()]),
        ];
        Manifest::new(family, config, layers)
    }

    // conformance: F25, F26, I27
    #[test]
    fn bytes_are_stable() {
        let annotations = [("b", "2"), ("a", "1")].map(|(k, v)| (k.into(), v.into()));
        let oci = manifest(Family::Oci).with_annotations(annotations);
        let docker = manifest(Family::Docker);
        for (name, manifest) in [("oci_manifest", oci), ("docker_manifest", docker)] {
            let bytes = manifest.to_bytes();
            insta::assert_snapshot!(name, String::from_utf8_lossy(&bytes));
            let read = Manifest::parse(&bytes).unwrap();
            assert_eq!(read, manifest);
            assert_eq!(Some(read.effective_media_type()), manifest.media_type());
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

    #[test]
    fn goes_to_oci_spec_and_back() {
        for family in [Family::Oci, Family::Docker] {
            let annotations = [("b", "2"), ("a", "1")].map(|(k, v)| (k.into(), v.into()));
            let ours = manifest(family).with_annotations(annotations);
            // What is written is what they read.
            let theirs = spec::ImageManifest::from_reader(ours.to_bytes().as_slice()).unwrap();
            assert_eq!(theirs, *ours.as_ref());
            assert_eq!(Manifest::try_from(theirs).unwrap(), ours);
        }
        let artifact = spec::ImageManifestBuilder::default()
            .schema_version(spec::SCHEMA_VERSION)
            .media_type(spec::MediaType::ImageManifest)
            .artifact_type("application/x")
            .config(Descriptor::of(MediaType::OciEmpty, b"{}"))
            .layers(Vec::new())
            .subject(Descriptor::of(MediaType::OciManifest, b"m"))
            .build()
            .unwrap();
        let ours = Manifest::try_from(artifact.clone()).unwrap();
        let read = Manifest::parse(&ours.to_bytes()).unwrap();
        assert_eq!(spec::ImageManifest::from(read), artifact);
    }

    #[test]
    fn only_digests_that_can_be_checked_are_taken_in() {
        let digest: spec::Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        let odd = spec::Descriptor::new(spec::MediaType::ImageLayer, 1, digest);
        let whole = spec::ImageManifest::from(manifest(Family::Oci));
        let mut config = whole.clone();
        config.set_config(odd.clone());
        let mut layer = whole.clone();
        layer.layers_mut().push(odd.clone());
        let mut subject = whole;
        subject.set_subject(Some(odd));
        for theirs in [config, layer, subject] {
            let error = Manifest::try_from(theirs).unwrap_err();
            assert!(error.to_string().contains("`sha512` is not supported"));
        }
    }
}
