//! Blobs out of a registry.

mod sink;
mod transfer;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use kiln_oci::{Descriptor, Digest, Repository};
use reqwest::Method;

use crate::ask::Ask;
use crate::client::Client;
use crate::error::RegistryError;
use crate::request::Call;
use crate::retry::{Waits, repeat};
use crate::transport::Direction;

/// Addresses of a foreign layer that are tried; the rest of a longer list is not.
const MAX_URLS: usize = 8;

impl Client {
    /// Streams a blob to the file `to`, which appears only when digest and size are right (I25).
    ///
    /// A broken transfer is resumed where it broke (I16). The file is not synced to disk. `progress` is
    /// called with the number of bytes that are there, after each piece; a transfer that starts all over
    /// begins to count again. The same file asked for by several callers is fetched once.
    pub async fn blob_to_file(
        &self,
        repo: &Repository,
        d: &Descriptor,
        to: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let key = to.to_owned();
        let fetch = async {
            let _permit = self.inner.transfers.acquire().await;
            let waits = Waits::download(&self.inner.settings.retries);
            repeat(waits, RegistryError::is_retryable, || {
                // Boxed, or every future above would carry all of it.
                self.get_anywhere(repo, d, |origin| {
                    Box::pin(self.transfer(origin, d, to, progress))
                })
            })
            .await
        };
        let done = self.inner.downloads.run(key.clone(), fetch).await;
        self.inner.downloads.forget(&key);
        done.map(|_| ())
    }

    /// A verified blob in memory, for configs and other small ones; more than `limit` bytes is an error.
    pub async fn blob_bytes(
        &self,
        repo: &Repository,
        d: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let waits = Waits::download(&self.inner.settings.retries);
        repeat(waits, RegistryError::is_retryable, || {
            self.get_anywhere(repo, d, |origin| Box::pin(self.read(origin, d, limit)))
        })
        .await
    }

    /// Whether the repository has the blob.
    pub async fn has_blob(
        &self,
        repo: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let call = self.blob_call(repo, digest, Method::HEAD, Direction::Pull);
        let _permit = self.inner.requests.acquire().await;
        match self.send(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn blob_call(
        &self,
        repo: &Repository,
        digest: &Digest,
        method: Method,
        direction: Direction,
    ) -> Call {
        let path = format!("/v2/{}/blobs/{digest}", repo.path);
        self.call(Ask::blob(repo, digest), repo, direction, method, path)
    }

    /// Tries `repo`, the sources its images were mirrored for, and the URLs of a foreign layer (I21, I26).
    async fn get_anywhere<T, F>(
        &self,
        repo: &Repository,
        d: &Descriptor,
        get: impl Fn(Origin) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let repos = if self.mirrored {
            self.inner.sources.of_content(repo)
        } else {
            vec![repo.clone()]
        };
        let urls: &[String] = if d.media_type().is_foreign() {
            d.urls()
        } else {
            &[]
        };
        let urls = urls.iter().take(MAX_URLS).map(|url| Origin::Url {
            repo: repo.clone(),
            url: url.clone(),
        });
        let origins: Vec<Origin> = repos
            .into_iter()
            .map(Origin::Repository)
            .chain(urls)
            .collect();
        let mut first = None;
        for origin in origins {
            match get(origin).await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    tracing::debug!("{}", error.full());
                    first = first.or(Some(error));
                }
            }
        }
        Err(first.unwrap_or_else(|| RegistryError::NoSource {
            reference: repo.at_digest(d.digest()).familiar(),
        }))
    }

    async fn read(
        &self,
        origin: Origin,
        d: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let call = self.content_call(&origin, d)?;
        if d.size() > limit {
            return Err(RegistryError::Unusable {
                reference: call.repo.at_digest(d.digest()).familiar(),
                reason: format!(
                    "a blob of {} bytes where at most {limit} are expected",
                    d.size()
                ),
            });
        }
        let waits = call.waits.clone();
        let bytes = repeat(waits, RegistryError::is_transient, || {
            self.read_once(&call, d.size())
        })
        .await?;
        if bytes.len() as u64 != d.size() {
            return Err(wrong_size(&call.ask, d.size(), bytes.len() as u64));
        }
        let actual = Digest::of(&bytes);
        if actual == d.digest() {
            Ok(bytes)
        } else {
            Err(wrong_digest(&call.ask, d.digest(), actual))
        }
    }

    async fn read_once(&self, call: &Call, size: u64) -> Result<Bytes, RegistryError> {
        let _permit = self.inner.requests.acquire().await;
        let mut answer = self.attempt(call).await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            // What is too long is wrong already.
            if body.len() as u64 > size {
                break;
            }
        }
        Ok(body.freeze())
    }
}

/// One place a blob may be.
enum Origin {
    Repository(Repository),
    /// Of a foreign layer; the repository is for messages.
    Url {
        repo: Repository,
        url: String,
    },
}

fn wrong_size(ask: &Ask, expected: u64, actual: u64) -> RegistryError {
    RegistryError::SizeMismatch {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        expected,
        actual,
    }
}

fn wrong_digest(ask: &Ask, expected: Digest, actual: Digest) -> RegistryError {
    RegistryError::DigestMismatch {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        expected,
        actual,
    }
}
