//! Descriptors: the typed, sized and hashed pointers that hold an image together.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image as spec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::platform::unless_empty;
use crate::{Digest, DigestError, MediaType, Platform, lenient};

/// Points to a blob: `oci-spec`'s descriptor, whose digest is one that can be checked.
///
/// One that comes from elsewhere is taken in with `try_from`, which refuses digests that are not SHA-256. `as_ref` and
/// `into` give it out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    spec: spec::Descriptor,
    /// The digest of `spec`.
    digest: Digest,
}

impl Descriptor {
    /// A plain descriptor: type, digest and size.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            spec: spec::Descriptor::new(media_type.into().into(), size, digest),
            digest,
        }
    }

    /// Describes bytes held in memory.
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// What the blob is.
    pub fn media_type(&self) -> MediaType {
        self.spec.media_type().into()
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.spec.size()
    }

    /// Where else it can be had; foreign layers only live there (I27).
    pub fn urls(&self) -> &[String] {
        self.spec.urls().as_deref().unwrap_or_default()
    }

    /// The annotation with this key.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let all = self.spec.annotations().as_ref()?;
        all.get(key).map(String::as_str)
    }

    /// What the image is for, in entries of an index.
    pub fn platform(&self) -> Option<Platform> {
        self.spec.platform().as_ref().map(Platform::from)
    }

    /// The same blob called something else.
    #[must_use]
    pub fn with_media_type(mut self, media_type: impl Into<MediaType>) -> Self {
        self.spec.set_media_type(media_type.into().into());
        self
    }

    /// The same, with these places in place of those it had.
    #[must_use]
    pub fn with_urls(mut self, urls: Vec<String>) -> Self {
        self.spec.set_urls(unless_empty(urls));
        self
    }

    /// The same with one more annotation; an older one of that key goes.
    #[must_use]
    pub fn with_annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let mut all = self.spec.annotations().clone().unwrap_or_default();
        all.insert(key.into(), value.into());
        self.spec.set_annotations(Some(all));
        self
    }

    /// The same, for a platform, or not saying for which.
    #[must_use]
    pub fn with_platform(mut self, platform: Option<Platform>) -> Self {
        self.spec.set_platform(platform.map(Into::into));
        self
    }

    /// Whether this index entry is an attestation about another entry, not an image (I24).
    pub fn is_attestation(&self) -> bool {
        self.platform()
            .is_some_and(|platform| platform.is_unknown())
            || self.annotation("vnd.docker.reference.type") == Some("attestation-manifest")
    }
}

impl AsRef<spec::Descriptor> for Descriptor {
    fn as_ref(&self) -> &spec::Descriptor {
        &self.spec
    }
}

impl From<Descriptor> for spec::Descriptor {
    fn from(ours: Descriptor) -> Self {
        ours.spec
    }
}

impl TryFrom<spec::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(spec: spec::Descriptor) -> Result<Self, DigestError> {
        let digest = spec.digest().try_into()?;
        Ok(Self { spec, digest })
    }
}

impl TryFrom<&spec::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(spec: &spec::Descriptor) -> Result<Self, DigestError> {
        spec.clone().try_into()
    }
}

/// A descriptor as it stands in JSON, in the field order of Go's OCI type. `oci-spec` itself writes annotations in any
/// order, and does not read what other tools leave null.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    urls: Vec<String>,
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    annotations: BTreeMap<String, String>,
    #[serde(
        default,
        deserialize_with = "lenient::if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformFields>,
    #[serde(
        default,
        deserialize_with = "lenient::if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    artifact_type: Option<MediaType>,
}

/// A platform, and what docker's lists say besides.
#[derive(Serialize, Deserialize)]
struct PlatformFields {
    #[serde(flatten)]
    platform: Platform,
    #[serde(
        default,
        deserialize_with = "lenient::if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    features: Option<Vec<String>>,
}

impl From<Fields> for Descriptor {
    fn from(fields: Fields) -> Self {
        let mut it = Self::new(fields.media_type, fields.digest, fields.size);
        let platform = fields.platform.map(|fields| {
            let mut platform = spec::Platform::from(fields.platform);
            platform.set_features(fields.features);
            platform
        });
        it.spec
            .set_urls(unless_empty(fields.urls))
            .set_annotations(spec_map(fields.annotations))
            .set_data(fields.data)
            .set_platform(platform)
            .set_artifact_type(fields.artifact_type.map(Into::into));
        it
    }
}

impl From<&Descriptor> for Fields {
    fn from(it: &Descriptor) -> Self {
        let platform = it.spec.platform().as_ref();
        Self {
            media_type: it.media_type(),
            digest: it.digest,
            size: it.size(),
            urls: it.urls().to_vec(),
            annotations: sorted(it.spec.annotations().as_ref()),
            data: it.spec.data().clone(),
            platform: platform.map(|platform| PlatformFields {
                platform: platform.into(),
                features: platform.features().clone(),
            }),
            artifact_type: it.spec.artifact_type().as_ref().map(MediaType::from),
        }
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields::deserialize(deserializer).map(Self::from)
    }
}

/// Texts by key as `oci-spec` has them.
pub(crate) fn spec_map(map: BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.into_iter().collect())
}

/// Texts by key as they are written: sorted, or equal documents would not be equal bytes.
pub(crate) fn sorted(map: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let pairs = map.into_iter().flatten();
    pairs.map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> spec::Descriptor {
        let platform = spec::PlatformBuilder::default()
            .architecture("amd64")
            .os("windows")
            .os_version("10.0.1")
            .features(vec!["sse4".to_owned()])
            .build()
            .unwrap();
        spec::DescriptorBuilder::default()
            .media_type(spec::MediaType::ImageManifest)
            .digest(spec::Digest::from(Digest::of(b"x")))
            .size(1_u64)
            .urls(vec!["https://example.com/x".to_owned()])
            .annotations(HashMap::from(
                [("b", "2"), ("a", "1")].map(|(k, v)| (k.into(), v.into())),
            ))
            .data("eA==")
            .platform(platform)
            .artifact_type("application/x")
            .build()
            .unwrap()
    }

    #[test]
    fn what_oci_spec_knows_is_written_and_read() {
        let ours = Descriptor::try_from(full()).unwrap();
        assert_eq!(*ours.as_ref(), full());
        assert_eq!(ours.digest(), Digest::of(b"x"));
        assert_eq!(ours.annotation("a"), Some("1"));
        assert_eq!(
            ours.platform().unwrap().to_string(),
            "windows(10.0.1)/amd64"
        );
        let text = serde_json::to_string(&ours).unwrap();
        insta::assert_snapshot!(text, @r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","size":1,"urls":["https://example.com/x"],"annotations":{"a":"1","b":"2"},"data":"eA==","platform":{"architecture":"amd64","os":"windows","os.version":"10.0.1","features":["sse4"]},"artifactType":"application/x"}"#);
        let read: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(read, ours);
        assert_eq!(spec::Descriptor::from(read), full());
    }

    #[test]
    fn only_digests_that_can_be_checked_are_taken_in() {
        let digest: spec::Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        let theirs = spec::Descriptor::new(spec::MediaType::ImageLayer, 1, digest);
        let error = Descriptor::try_from(&theirs).unwrap_err();
        assert!(error.to_string().contains("`sha512` is not supported"));
    }

    #[test]
    fn what_others_leave_null_is_not_there() {
        let plain = Descriptor::of(MediaType::OciLayer, b"x");
        let text = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":1,"urls":null,
            "annotations":null,"platform":null,"data":5,"artifactType":null,"x":1}}"#,
            plain.digest()
        );
        assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), plain);
    }

    #[test]
    fn changes_make_another() {
        let it = Descriptor::of(MediaType::OciLayer, b"x")
            .with_media_type(MediaType::DockerLayer)
            .with_urls(vec!["u".to_owned()])
            .with_annotation("k", "1")
            .with_annotation("k", "2")
            .with_platform(Some(Platform::new("linux", "arm")));
        assert_eq!(it.media_type(), MediaType::DockerLayer);
        assert_eq!(it.urls(), ["u"]);
        assert_eq!(it.annotation("k"), Some("2"));
        assert_eq!(it.platform(), Some(Platform::new("linux", "arm")));
        let it = it.with_urls(Vec::new()).with_platform(None);
        assert!(it.urls().is_empty() && it.platform().is_none());
    }
}
