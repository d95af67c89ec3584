//! Sending a parcel to a repository: blobs first, then what is below the top, then the tags (conformance I30-I33).

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kiln_events::{EventSink, Meter, Subject, Transfer, TransferKind};
use kiln_oci::{Reference, Repository};
use kiln_registry::{Client, RegistryError};

use crate::early::progress_of;
use crate::parcel::{Blob, Cheapest, Document, Parcel, ParcelError};

/// Blobs looked after at once; the client limits how many of them are sent at once. So many that for all layers of nearly
/// every image a registry is asked in one go, also one that is far away.
const AT_ONCE: usize = 64;

/// Why a repository does not get a parcel, by whose fault it is.
#[derive(Debug)]
pub enum SendError {
    /// The bytes cannot be had or are damaged: no registry will get them.
    Ours(ParcelError),
    /// This registry did not take it.
    Theirs(RegistryError),
}

/// Who hears how far blobs are that are sent.
#[derive(Debug)]
pub struct Told<'a> {
    /// The listener.
    pub events: &'a Arc<dyn EventSink>,
    /// Whom the blobs are for.
    pub subject: Option<Subject>,
}

/// Has the repository take all blobs. `near` are repositories of which it is known that they have all of them.
pub async fn send_blobs(
    client: &Client,
    parcel: &Parcel,
    repository: &Repository,
    near: &[Repository],
    told: &Told<'_>,
) -> Result<(), SendError> {
    let ours = |blob: &&Blob| !blob.descriptor.media_type().is_foreign();
    stream::iter(parcel.blobs.iter().filter(ours))
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |blob| {
            send_blob(client, blob, repository, near, &parcel.known_in, told)
        })
        .await
}

/// A blob that the registry has or can mount is neither fetched nor read.
async fn send_blob(
    client: &Client,
    blob: &Blob,
    repository: &Repository,
    near: &[Repository],
    known_in: &[Repository],
    told: &Told<'_>,
) -> Result<(), SendError> {
    let descriptor = &blob.descriptor;
    let mut mount_from = near.to_vec();
    match blob.cheapest() {
        Cheapest::Upload(early) => {
            if early.complete(client, repository, descriptor).await {
                return Ok(());
            }
        }
        Cheapest::Claim(origin) => {
            mount_from.extend(origin.cloned());
            let claimed = client.claim_blob(repository, descriptor, &mount_from);
            if claimed.await.map_err(SendError::Theirs)?.is_some() {
                return Ok(());
            }
            // Asked already.
            mount_from.clear();
        }
        Cheapest::Send => {}
    }
    if blob.is_own() {
        mount_from.extend_from_slice(known_in);
    }
    let source = blob.source().await.map_err(SendError::Ours)?;
    let transfer = Transfer::new(TransferKind::Push)
        .of(descriptor.digest(), descriptor.size())
        .on_behalf_of(told.subject.clone())
        .with_repository(repository);
    let meter = Arc::new(Meter::new(told.events, transfer));
    client
        .reporting(progress_of(&meter))
        .push_blob(repository, descriptor, source, &mount_from)
        .await
        .map_err(SendError::Theirs)?;
    meter.done();
    Ok(())
}

/// Sends what the top leads to, by digest.
pub async fn send_below(
    client: &Client,
    parcel: &Parcel,
    repository: &Repository,
) -> Result<(), RegistryError> {
    for document in &parcel.below {
        send_document(client, document, &repository.at_digest(document.digest)).await?;
    }
    Ok(())
}

/// Sends a document under a tag or its digest.
pub async fn send_document(
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
