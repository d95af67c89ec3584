//! Docker or OCI: which family of media types the image has, decided as early as it can be known
//! (conformance C11, F25, F26, G46).

use std::collections::BTreeMap;

use kiln_oci::{Family, LayerCompression};

use crate::settings::{BuildSettings, CompressionKind, ImageOutput};
use crate::starts::{Images, Start};
use kiln_image::built::family;
use kiln_oci::ImageSource;
use kiln_plan::plan::{Plan, Source};
use kiln_store::base::BaseImage;
use kiln_store::layers::Layer;

/// Why the image cannot have the form that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Docker's manifest has no media type for such layers.
    #[error(
        "docker images cannot hold zstd layers, and the base `{base}` has some: use `--image-format oci`"
    )]
    ZstdBase {
        /// The base image.
        base: String,
    },
    /// Docker's manifest has no annotations.
    #[error(
        "docker images cannot hold annotations: leave out `--image-format docker` or `--annotation`"
    )]
    Annotations,
    /// The archive of `docker load` holds no zstd layers.
    #[error(
        "an archive for `docker load` cannot hold zstd layers, and the base `{base}` has some: leave out `--tar-path`"
    )]
    ZstdArchive {
        /// The base image.
        base: String,
    },
}

/// Refuses what cannot be, before anything is pulled or run.
pub(crate) fn check(
    settings: &BuildSettings,
    plan: &Plan,
    starts: &BTreeMap<usize, Start>,
    images: &Images,
) -> Result<(), FormatError> {
    let docker = settings.image_format == Some(Family::Docker);
    if docker && !settings.annotations.is_empty() {
        return Err(FormatError::Annotations);
    }
    let own_zstd = settings.compression == CompressionKind::Zstd;
    let Some(base) = zstd_base(plan, starts, images).filter(|_| !own_zstd) else {
        return Ok(());
    };
    if docker {
        return Err(FormatError::ZstdBase { base });
    }
    if needs_docker(settings) {
        return Err(FormatError::ZstdArchive { base });
    }
    Ok(())
}

/// Whether a cached zstd layer may become part of the image: it may not make the image another one than a build
/// without a cache gives (H27).
pub(crate) fn takes_zstd(
    settings: &BuildSettings,
    plan: &Plan,
    starts: &BTreeMap<usize, Start>,
    images: &Images,
) -> bool {
    let base = target_base(plan, starts, images).map(|(_, base)| base.family);
    let annotated = !settings.annotations.is_empty();
    let oci = family(settings.image_format, base, false, annotated) == Family::Oci;
    settings.compression == CompressionKind::Zstd || (oci && !needs_docker(settings))
}

/// Whether a place that gets the image cannot hold an OCI image.
fn needs_docker(settings: &BuildSettings) -> bool {
    settings.outputs.iter().any(ImageOutput::is_docker_only)
}

/// The image that the target stands on.
fn target_base<'a>(
    plan: &Plan,
    starts: &'a BTreeMap<usize, Start>,
    images: &'a Images,
) -> Option<(&'a ImageSource, &'a BaseImage)> {
    let mut base = &starts.get(plan.targets.first()?)?.base;
    while let Source::Stage(stage) = base {
        base = &starts.get(stage)?.base;
    }
    let Source::Image(image, platform) = base else {
        return None;
    };
    Some((image, images.get(&(image.clone(), platform.clone()))?))
}

/// The name of that image if it has zstd layers.
fn zstd_base(plan: &Plan, starts: &BTreeMap<usize, Start>, images: &Images) -> Option<String> {
    let (image, known) = target_base(plan, starts, images)?;
    let zstd = known
        .layers
        .iter()
        .filter_map(Layer::origin)
        .any(|(descriptor, ..)| {
            descriptor.media_type().layer_compression() == Some(LayerCompression::Zstd)
        });
    zstd.then(|| image.to_string())
}
