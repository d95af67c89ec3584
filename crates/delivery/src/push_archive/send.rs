//! Sending: all blobs everywhere, then what is below the top, then the tags (conformance I30-I33).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kiln_oci::{Reference, Repository};
use kiln_registry::{Client, RegistryError};

use super::PushArchiveError;
use super::parcel::{Blob, Document, Parcel};
use kiln_events::{Event, EventSink};
use kiln_shown::with_causes;

/// Blobs looked after at once; the client limits how many of them are sent at once.
const AT_ONCE: usize = 8;

/// Pushes to every destination. A registry that refuses does not keep the others from getting the image; a
/// damaged blob does, and then no registry has got a manifest.
pub(super) async fn send(
    client: &Client,
    parcel: &Parcel,
    destinations: &[Reference],
    events: &Arc<dyn EventSink>,
) -> Result<(), PushArchiveError> {
    let repositories: BTreeSet<Repository> = destinations.iter().map(Reference::repo).collect();
    let mut failures = Vec::new();
    let mut ready: Vec<Repository> = Vec::new();
    // One after the other, so that a registry can mount for the second repository what it has in the first.
    for repository in repositories {
        match send_blobs(client, parcel, &repository, &ready).await {
            Ok(()) => ready.push(repository),
            Err(Failure::Ours(error)) => return Err(error),
            Err(Failure::Theirs(source)) => failures.extend(
                destinations
                    .iter()
                    .find(|destination| destination.repo() == repository)
                    .map(|destination| refused(destination, source)),
            ),
        }
    }
    for repository in &ready {
        let tags = destinations
            .iter()
            .filter(|destination| destination.repo() == *repository);
        let sent = send_documents(client, parcel, repository, tags, events).await;
        failures.extend(sent.err());
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else {
        return Ok(());
    };
    for other in failures {
        events.event(Event::Warning(with_causes(&other)));
    }
    Err(first)
}

/// Whose fault it is that a blob is not there.
enum Failure {
    /// It is damaged: no registry will get it.
    Ours(PushArchiveError),
    /// This registry did not take it.
    Theirs(RegistryError),
}

async fn send_blobs(
    client: &Client,
    parcel: &Parcel,
    repository: &Repository,
    mount_from: &[Repository],
) -> Result<(), Failure> {
    stream::iter(&parcel.blobs)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |blob| {
            send_blob(client, blob, repository, mount_from)
        })
        .await
}

/// A blob that the registry has or can mount is not even read.
async fn send_blob(
    client: &Client,
    blob: &Blob,
    repository: &Repository,
    mount_from: &[Repository],
) -> Result<(), Failure> {
    let claimed = client
        .claim_blob(repository, &blob.descriptor, mount_from)
        .await
        .map_err(Failure::Theirs)?;
    if claimed.is_some() {
        return Ok(());
    }
    let source = blob.source().await.map_err(Failure::Ours)?;
    client
        .push_blob(repository, &blob.descriptor, source, &[])
        .await
        .map_err(Failure::Theirs)?;
    Ok(())
}

async fn send_documents(
    client: &Client,
    parcel: &Parcel,
    repository: &Repository,
    tags: impl Iterator<Item = &Reference> + Clone,
    events: &Arc<dyn EventSink>,
) -> Result<(), PushArchiveError> {
    let Some(any) = tags.clone().next() else {
        return Ok(());
    };
    for document in &parcel.below {
        send_document(client, document, &repository.at_digest(document.digest))
            .await
            .map_err(|source| refused(any, source))?;
    }
    for tag in tags {
        send_document(client, &parcel.top, tag)
            .await
            .map_err(|source| refused(tag, source))?;
        events.event(Event::Pushed {
            reference: tag.clone(),
            digest: parcel.top.digest,
        });
    }
    Ok(())
}

async fn send_document(
    client: &Client,
    document: &Document,
    reference: &Reference,
) -> Result<(), RegistryError> {
    let bytes = document.bytes.clone();
    client
        .push_manifest(reference, bytes, &document.media_type)
        .await?;
    Ok(())
}

fn refused(reference: &Reference, source: RegistryError) -> PushArchiveError {
    PushArchiveError::Push {
        reference: reference.clone(),
        source: Box::new(source),
    }
}
