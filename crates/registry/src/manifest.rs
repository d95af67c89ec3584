//! Manifests, indexes and configs: small documents, read whole and verified.

mod document;
mod image;

use kiln_oci::{Descriptor, Digest, MAX_DOCUMENT, Reference, Repository};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};

use crate::ask::Ask;
use crate::client::Client;
use crate::error::{RegistryError, Try};
use crate::fetched::Fetched;
use crate::notice::RegistryNotice;
use crate::request::Call;
use crate::retry::{Waits, repeat};
use crate::transport::Direction;

pub use image::RemoteImage;

/// What we read (I23). Schema 1 is not asked for, but some registries send it all the same.
const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

impl Client {
    /// The manifest or index behind `r`, from the first source that has it (I19-I21).
    pub async fn manifest(&self, r: &Reference) -> Result<Fetched, RegistryError> {
        let origin = r.repo();
        let fetched = self
            .ask_sources(r, |repo, waits| self.fetch_manifest(repo, r, waits))
            .await?;
        self.inner.sources.remember(&fetched.from, &origin);
        Ok(fetched)
    }

    /// What `r` points at without reading it; `None` if it does not exist.
    ///
    /// Reads it after all if the registry does not tell its digest.
    pub async fn head_manifest(&self, r: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let head = self
            .ask_sources(r, |repo, waits| self.head(repo, r, waits))
            .await;
        match head {
            Ok(Some(descriptor)) => Ok(Some(descriptor)),
            Ok(None) => self.manifest(r).await.map(|fetched| {
                let size = fetched.bytes.len() as u64;
                Some(Descriptor::new(fetched.media_type, fetched.digest, size))
            }),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the sources of `r` in turn; only the last one is given time (I19-I21).
    async fn ask_sources<T, F>(
        &self,
        r: &Reference,
        ask: impl Fn(Repository, Waits) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let origin = r.repo();
        let sources = if self.mirrored {
            self.inner.sources.of(&origin)
        } else {
            vec![origin]
        };
        let waits = Waits::download(&self.inner.settings.retries);
        repeat(waits, RegistryError::is_retryable, || {
            self.ask_each(r, &sources, &ask)
        })
        .await
    }

    async fn ask_each<T, F>(
        &self,
        r: &Reference,
        sources: &[Repository],
        ask: &impl Fn(Repository, Waits) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let mut errors = Vec::new();
        for (at, repo) in sources.iter().enumerate() {
            let last = at + 1 == sources.len();
            let waits = if last {
                Waits::request(&self.inner.settings.retries)
            } else {
                Waits::none()
            };
            match ask(repo.clone(), waits).await {
                Ok(value) => return Ok(value),
                Err(error) if sources.len() == 1 => return Err(error),
                Err(error) => {
                    if !last {
                        self.tell(RegistryNotice::Source {
                            reference: r.familiar(),
                            repository: repo.to_string(),
                            reason: error.full(),
                        });
                    }
                    errors.push(Try {
                        source: repo.to_string(),
                        error: Box::new(error),
                    });
                }
            }
        }
        Err(RegistryError::AllSourcesFailed {
            reference: r.familiar(),
            errors,
        })
    }

    fn manifest_call(
        &self,
        repo: &Repository,
        r: &Reference,
        method: Method,
        waits: Waits,
    ) -> Call {
        let identifier = r.identifier();
        let path = format!("/v2/{}/manifests/{identifier}", repo.path);
        let ask = Ask::manifest(repo, &identifier);
        let mut call = self.call(ask, repo, Direction::Pull, method, path);
        call.headers
            .insert(ACCEPT, HeaderValue::from_static(ACCEPT_MANIFESTS));
        call.waits = waits;
        call
    }

    async fn head(
        &self,
        repo: Repository,
        r: &Reference,
        waits: Waits,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let call = self.manifest_call(&repo, r, Method::HEAD, waits);
        let _permit = self.inner.requests.acquire().await;
        let answer = self.send(&call).await?;
        let media_type = answer.header("content-type").map(document::header_type);
        if media_type
            .as_ref()
            .is_some_and(|kind| kind.as_str() == "text/html")
        {
            return Err(document::odd(&call.ask, "text/html"));
        }
        let digest = answer
            .header("docker-content-digest")
            .and_then(|text| text.parse().ok())
            .or(r.digest());
        let size = answer
            .header("content-length")
            .and_then(|text| text.parse().ok());
        Ok(match (media_type, digest, size) {
            (Some(media_type), Some(digest), Some(size)) => {
                Some(Descriptor::new(media_type, digest, size))
            }
            _ => None,
        })
    }

    async fn fetch_manifest(
        &self,
        repo: Repository,
        r: &Reference,
        waits: Waits,
    ) -> Result<Fetched, RegistryError> {
        let call = self.manifest_call(&repo, r, Method::GET, waits);
        let (headers, bytes) = self.send_and_read(&call, MAX_DOCUMENT).await?;
        let media_type = document::media_type(&call.ask, &r.familiar(), &headers, &bytes)?;
        let digest = Digest::of(&bytes);
        let said = headers
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(expected) = r.digest().or(said).filter(|expected| *expected != digest) {
            return Err(RegistryError::DigestMismatch {
                registry: call.ask.registry,
                ask: call.ask.what,
                expected,
                actual: digest,
            });
        }
        Ok(Fetched {
            bytes,
            media_type,
            digest,
            from: repo,
        })
    }
}
