//! Pushing: blobs first, the manifest last, one upload of a blob per repository (conformance I29-I33).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use kiln_oci::{Reference, Repository};
use kiln_registry::{BlobSource, Client, RegistryError};

use super::layer_file;
use kiln_events::{Event, EventSink};
use kiln_image::built::{BuiltImage, ImageLayer, LayerBytes};
use kiln_store::blobs::{BlobError, Blobs};

/// An image cannot be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// We may not push there, found out before building (conformance I29).
    #[error("cannot push to `{repository}`")]
    Permission {
        /// The repository.
        repository: String,
        /// What the registry said.
        #[source]
        source: RegistryError,
    },
    /// The registry did not take it.
    #[error("cannot push `{reference}`")]
    Refused {
        /// The destination.
        reference: Reference,
        /// What the registry said.
        #[source]
        source: Arc<RegistryError>,
    },
    /// A layer of the base cannot be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl PushError {
    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            PushError::Permission { source, .. } if source.is_unauthorized() => Some(
                "check the credentials in `config.json`, or pass `--skip-push-permission-check`"
                    .to_owned(),
            ),
            PushError::Permission { source, .. } => push_hint(source),
            PushError::Refused { source, .. } => push_hint(source),
            PushError::Blob(_) => None,
        }
    }
}

fn push_hint(error: &RegistryError) -> Option<String> {
    let text = if error.is_unauthorized() {
        "check the credentials in `config.json`; `executor login` stores some"
    } else if error.is_unreachable() {
        "check the registry's name and the network"
    } else {
        return trust_hint(error);
    };
    Some(text.to_owned())
}

/// What to try when the certificate of a registry is not trusted.
pub fn trust_hint(error: &RegistryError) -> Option<String> {
    error.is_untrusted().then(|| {
        "trust the certificate, or the one of who issued it, with `--registry-certificate HOST=FILE`, or any with \
         `--skip-tls-verify-registry HOST`"
            .to_owned()
    })
}

/// Asks every destination whether we may push there, before anything is built (I29).
pub async fn check_permission(
    client: &Client,
    destinations: &[Reference],
) -> Result<(), PushError> {
    let repositories: BTreeSet<Repository> = destinations.iter().map(Reference::repo).collect();
    let checks = repositories.iter().map(|repository| async move {
        client
            .check_push(repository)
            .await
            .map_err(|source| PushError::Permission {
                repository: repository.to_string(),
                source,
            })
    });
    try_join_all(checks).await?;
    Ok(())
}

/// Pushes the image to every destination. All are tried; the first failure is the one returned.
pub async fn push(
    client: &Client,
    blobs: &Blobs,
    image: &BuiltImage,
    destinations: &[Reference],
    cached: &[Repository],
    events: &Arc<dyn EventSink>,
) -> Result<(), PushError> {
    let repositories: BTreeSet<Repository> = destinations.iter().map(Reference::repo).collect();
    let pushes = repositories.iter().map(|repository| {
        let tags = destinations
            .iter()
            .filter(move |destination| destination.repo() == *repository);
        push_repository(client, blobs, image, repository, tags, cached, events)
    });
    let mut failures = Vec::new();
    for outcome in join_all(pushes).await {
        if let Err(error) = outcome {
            failures.push(error);
        }
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else {
        return Ok(());
    };
    for other in failures {
        events.event(Event::Warning(kiln_shown::with_causes(&other)));
    }
    Err(first)
}

async fn push_repository(
    client: &Client,
    blobs: &Blobs,
    image: &BuiltImage,
    repository: &Repository,
    tags: impl Iterator<Item = &Reference> + Clone,
    cached: &[Repository],
    events: &Arc<dyn EventSink>,
) -> Result<(), PushError> {
    let Some(any) = tags.clone().next() else {
        return Ok(());
    };
    let failed = |source| PushError::Refused {
        reference: any.clone(),
        source: Arc::new(source),
    };
    // The same layer may be in the image twice; it is one blob (I33).
    let mut seen = BTreeSet::new();
    let layers = image
        .layers
        .iter()
        .filter(|layer| seen.insert(layer.descriptor.digest))
        .filter(|layer| !layer.descriptor.media_type.is_foreign())
        .map(|layer| push_layer(client, blobs, repository, layer, cached, any));
    let config = async {
        let bytes = BlobSource::Bytes(Bytes::copy_from_slice(&image.config_bytes));
        client
            .push_blob(repository, &image.manifest.config, bytes, &[])
            .await
            .map_err(failed)
    };
    futures_util::future::try_join(try_join_all(layers), config).await?;
    let media_type = image.manifest.effective_media_type();
    for tag in tags {
        let bytes = Bytes::copy_from_slice(&image.manifest_bytes);
        let digest = client
            .push_manifest(tag, bytes, &media_type)
            .await
            .map_err(|source| PushError::Refused {
                reference: tag.clone(),
                source: Arc::new(source),
            })?;
        events.event(Event::Pushed {
            reference: tag.clone(),
            digest,
        });
    }
    Ok(())
}

/// Has the registry take a layer: a base's layer without fetching it, if it is there or can be mounted. `cached` are
/// repositories that our own layers were stored in.
async fn push_layer(
    client: &Client,
    blobs: &Blobs,
    repository: &Repository,
    layer: &ImageLayer,
    cached: &[Repository],
    reference: &Reference,
) -> Result<(), PushError> {
    let failed = |source| PushError::Refused {
        reference: reference.clone(),
        source: Arc::new(source),
    };
    match &layer.bytes {
        LayerBytes::Base(origin) => {
            let mount_from: Vec<Repository> = origin.repository().cloned().into_iter().collect();
            let claimed = client.claim_blob(repository, &layer.descriptor, &mount_from);
            if claimed.await.map_err(failed)?.is_some() {
                return Ok(());
            }
        }
        LayerBytes::Packed(_, Some(early)) => {
            if early.complete(client, repository, &layer.descriptor).await {
                return Ok(());
            }
        }
        LayerBytes::Packed(_, None) => {}
    }
    let path = layer_file(blobs, layer).await?;
    client
        .push_blob(
            repository,
            &layer.descriptor,
            BlobSource::File(path),
            cached,
        )
        .await
        .map_err(failed)?;
    Ok(())
}
