//! Cached steps in a folder of this machine: the local volume, or one that `oci:` names.

use std::path::Path;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kiln_oci::{Descriptor, Repository, SmallFile};
use kiln_registry::{BlobSource, Client};
use kiln_store::origin::Located;
use kiln_store::parcel::{Blob, Parcel};
use kiln_tarball_cache::{ImageCache, Miss, NewStep};

use super::{MAX_CONFIG, PlaceError, StepStore};
use crate::entry::StoredStep;

#[derive(Debug)]
pub(super) struct Folder(ImageCache);

impl Folder {
    pub(super) fn new(cache: ImageCache) -> Folder {
        Folder(cache)
    }

    async fn find(&self, key: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        let (cache, key) = (self.0.clone(), key.to_owned());
        let found = tokio::task::spawn_blocking(move || match cache.step(&key) {
            Ok(step) => {
                cache.mark_step_used(&key);
                Ok(Some(step.manifest_bytes))
            }
            Err(miss) if miss.is_absent() => Ok(None),
            Err(miss) => Err(miss),
        });
        Ok(found.await.map_err(|_| PlaceError::Lost)??)
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Bytes, PlaceError> {
        let path = self.0.blob_path(&descriptor.digest());
        let path = path.ok_or(Miss::Absent {
            digest: descriptor.digest(),
        })?;
        let kind = SmallFile::new("a document of a cache", MAX_CONFIG);
        let bytes = kind.read(&path);
        let unreadable = |source| Miss::Unreadable { path, source };
        Ok(bytes.map_err(unreadable)?.into())
    }

    async fn store(&self, keys: &[String], entry: &Parcel) -> Result<(), PlaceError> {
        let (mut config, mut layer) = (Bytes::new(), None);
        for blob in &entry.blobs {
            match blob.source().await? {
                BlobSource::Bytes(bytes) => config = bytes,
                BlobSource::File(file) | BlobSource::Part(file, _) => {
                    layer = Some((file, blob.descriptor.clone()));
                }
            }
        }
        let (cache, keys) = (self.0.clone(), keys.to_vec());
        let manifest = entry.top.bytes.clone();
        let put = tokio::task::spawn_blocking(move || {
            let layer: Option<(&Path, &Descriptor)> = layer
                .as_ref()
                .map(|(file, descriptor)| (file.as_path(), descriptor));
            let step = NewStep {
                manifest_bytes: &manifest,
                config_bytes: &config,
                layer,
            };
            keys.iter().try_for_each(|key| cache.put_step(key, &step))
        });
        Ok(put.await.map_err(|_| PlaceError::Lost)??)
    }

    /// The entry once more, from what lies here.
    fn parcel(&self, step: &StoredStep) -> Result<Parcel, PlaceError> {
        let config = self.read(&step.config)?;
        let layer = step.layer.as_ref().and_then(|(descriptor, _)| {
            let file = self.0.blob_path(&descriptor.digest())?;
            Some(Blob::packed(descriptor.clone(), file, None))
        });
        Ok(step.parcel(&config, layer))
    }
}

impl StepStore for Folder {
    fn name(&self) -> String {
        self.0.dir().display().to_string()
    }

    fn repository(&self) -> Option<(&Client, &Repository)> {
        None
    }

    fn folder(&self) -> Option<&ImageCache> {
        Some(&self.0)
    }

    fn locate<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        _into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>> {
        let found = self.0.blob_path(&descriptor.digest());
        Box::pin(async { found.map_or(Located::Gone, Located::File) })
    }

    fn manifest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, PlaceError>> {
        Box::pin(self.find(key))
    }

    fn document<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, PlaceError>> {
        Box::pin(async move { self.read(descriptor) })
    }

    fn put<'a>(
        &'a self,
        keys: &'a [String],
        entry: &'a Parcel,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(self.store(keys, entry))
    }

    fn add_key<'a>(
        &'a self,
        key: &'a str,
        step: &'a StoredStep,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            let entry = self.parcel(step)?;
            self.store(&[key.to_owned()], &entry).await
        })
    }

    fn note<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move { self.0.read_note(name).map(Bytes::from) })
    }

    fn put_note<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        _created: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move { Ok(self.0.write_note(name, bytes)?) })
    }
}
