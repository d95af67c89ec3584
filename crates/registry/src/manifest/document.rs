//! What kind of document an answer holds, if it holds one at all.

use kiln_oci::{Family, MediaType};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;

use crate::ask::Ask;
use crate::error::RegistryError;

/// The fields that tell documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

/// The media type of a manifest: its own field, else the header, else what it looks like.
pub(super) fn media_type(
    ask: &Ask,
    reference: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<MediaType, RegistryError> {
    let header = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(header_type);
    let Ok(shape) = serde_json::from_slice::<Shape>(body) else {
        let got = header
            .as_ref()
            .map_or("something unlabelled", |kind| kind.as_str());
        // A JSON label on a body that is not JSON says nothing; the body does.
        let got = if got.contains("json") {
            "a body that is not JSON"
        } else {
            got
        };
        return Err(odd(ask, got));
    };
    let own = shape.media_type.as_deref().map(MediaType::from);
    let is_document = |kind: &MediaType| kind.is_index() || kind.is_manifest();
    if own.iter().chain(&header).any(MediaType::is_schema1) || shape.schema_version == Some(1) {
        return Err(RegistryError::Schema1 {
            reference: reference.to_owned(),
        });
    }
    // One that is a manifest to one tool and an index to another is two images, of which people see one.
    let refuse = |reason: &str| {
        Err(RegistryError::Unusable {
            reference: reference.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return refuse(
            "its manifest has both `manifests` and `layers` or `config`, so it could be two different images",
        );
    }
    let own = own.filter(is_document);
    let header = header.filter(is_document);
    if let (Some(own), Some(header)) = (&own, &header)
        && own.is_index() != header.is_index()
    {
        return refuse(
            "its manifest calls itself something else than the registry does (`mediaType` and `Content-Type`)",
        );
    }
    if let Some(kind) = own.or(header) {
        return Ok(kind);
    }
    if shape.manifests.is_some() {
        Ok(MediaType::index(Family::Oci))
    } else if shape.config.is_some() {
        Ok(MediaType::manifest(Family::Oci))
    } else {
        Err(odd(ask, "some other JSON"))
    }
}

/// A `Content-Type` without its parameters.
pub(super) fn header_type(text: &str) -> MediaType {
    MediaType::from(
        text.split(';')
            .next()
            .unwrap_or(text)
            .trim()
            .to_ascii_lowercase()
            .as_str(),
    )
}

/// The answer is not a manifest.
pub(super) fn odd(ask: &Ask, got: &str) -> RegistryError {
    RegistryError::NotARegistry {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        got: got.to_owned(),
        wanted: "a manifest",
    }
}
