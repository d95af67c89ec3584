//! Cached steps in a repository of a registry: a tag for each key.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kiln_events::{EventSink, Subject};
use kiln_oci::{Descriptor, Manifest, MediaType, Repository};
use kiln_registry::Client;
use kiln_store::origin::Located;
use kiln_store::parcel::{Document, Parcel};
use kiln_store::send::{SendError, Told, send_blobs, send_document};
use kiln_tarball_cache::ImageCache;

use super::{MAX_CONFIG, PlaceError, StepStore};
use crate::entry::{StoredStep, trail_parcel};

/// How long an answer of a cache is waited for; a build without it is better than one that stands still.
const READ_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct InRepository {
    client: Client,
    repository: Repository,
    events: Arc<dyn EventSink>,
}

impl InRepository {
    pub(super) fn new(
        client: Client,
        repository: Repository,
        events: Arc<dyn EventSink>,
    ) -> InRepository {
        InRepository {
            client,
            repository,
            events,
        }
    }

    async fn under_tag(&self, tag: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        let reference = self.repository.at_tag(tag)?;
        match self.client.manifest(&reference).await {
            Ok(fetched) => Ok(Some(fetched.bytes.to_vec())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&self, tags: &[String], parcel: &Parcel) -> Result<(), PlaceError> {
        let told = Told {
            events: &self.events,
            subject: Some(Subject::Cache(self.name())),
        };
        let sent = send_blobs(&self.client, parcel, &self.repository, &[], &told).await;
        sent.map_err(|error| match error {
            SendError::Ours(error) => PlaceError::from(error),
            SendError::Theirs(error) => error.into(),
        })?;
        for tag in tags {
            self.tag(tag, &parcel.top).await?;
        }
        Ok(())
    }

    async fn tag(&self, tag: &str, manifest: &Document) -> Result<(), PlaceError> {
        let reference = self.repository.at_tag(tag)?;
        Ok(send_document(&self.client, manifest, &reference).await?)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes, PlaceError> {
        let fetching = self
            .client
            .blob_bytes(&self.repository, descriptor, MAX_CONFIG);
        patiently(async { Ok(fetching.await?) }).await
    }
}

impl StepStore for InRepository {
    fn name(&self) -> String {
        self.repository.to_string()
    }

    fn repository(&self) -> Option<(&Client, &Repository)> {
        Some((&self.client, &self.repository))
    }

    fn folder(&self) -> Option<&ImageCache> {
        None
    }

    fn locate<'a>(
        &'a self,
        _descriptor: &'a Descriptor,
        _into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>> {
        Box::pin(async { Located::Repository(&self.client, &self.repository) })
    }

    fn manifest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, PlaceError>> {
        Box::pin(patiently(self.under_tag(key)))
    }

    fn document<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, PlaceError>> {
        Box::pin(self.blob(descriptor))
    }

    fn put<'a>(
        &'a self,
        keys: &'a [String],
        entry: &'a Parcel,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(self.send(keys, entry))
    }

    fn add_key<'a>(
        &'a self,
        key: &'a str,
        step: &'a StoredStep,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            let manifest = Document::new(MediaType::OciManifest, step.manifest.clone());
            self.tag(key, &manifest).await
        })
    }

    fn note<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            let manifest = patiently(self.under_tag(name)).await;
            let manifest = Manifest::parse(&manifest.ok()??).ok()?;
            self.blob(manifest.config()).await.ok()
        })
    }

    fn put_note<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        created: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            self.send(&[name.to_owned()], &trail_parcel(bytes, created))
                .await
        })
    }
}

async fn patiently<T>(work: impl Future<Output = Result<T, PlaceError>>) -> Result<T, PlaceError> {
    tokio::time::timeout(READ_PATIENCE, work)
        .await
        .unwrap_or(Err(PlaceError::Patience(READ_PATIENCE)))
}
