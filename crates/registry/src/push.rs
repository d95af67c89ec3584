//! Blobs and manifests into a registry.

mod growing;
mod session;

use bytes::Bytes;
use kiln_oci::{Descriptor, Digest, MediaType, Reference, Repository};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::ask::Ask;
use crate::blob_source::BlobSource;
use crate::client::Client;
use crate::error::RegistryError;
use crate::notice::RegistryNotice;
use crate::pushed::Pushed;
use crate::request::{ERROR_BODY_LIMIT, Payload};
use crate::retry::{Waits, repeat};
use crate::transport::Direction;

pub use growing::UnnamedBlob;

impl Client {
    /// Makes sure that `repo` has the blob: HEAD, else mount, else upload (I31, I32).
    ///
    /// The same blob asked for by several callers is sent once; the others wait and see `Existed` (I33).
    /// Of `mount_from`, repositories of other registries and `repo` itself are skipped. Layers that must
    /// not be distributed are the caller's business (I27).
    pub async fn push_blob(
        &self,
        repo: &Repository,
        d: &Descriptor,
        source: BlobSource,
        mount_from: &[Repository],
    ) -> Result<Pushed, RegistryError> {
        let source = &source;
        let push = async {
            let waits = Waits::push(&self.inner.settings.retries);
            repeat(waits, RegistryError::is_retryable, || {
                self.place_blob(repo, d, source, mount_from)
            })
            .await
        };
        let (pushed, made) = self
            .inner
            .pushed
            .run((repo.clone(), d.digest()), push)
            .await?;
        Ok(if made { pushed } else { Pushed::Existed })
    }

    /// Has `repo` take the blob without sending it: it is there already, or the registry mounts it from one
    /// of `mount_from` (I31). `None` when its bytes have to be sent, with [`push_blob`](Self::push_blob).
    pub async fn claim_blob(
        &self,
        repo: &Repository,
        d: &Descriptor,
        mount_from: &[Repository],
    ) -> Result<Option<Pushed>, RegistryError> {
        let key = (repo.clone(), d.digest());
        if self.inner.pushed.known(&key).is_some() {
            return Ok(Some(Pushed::Existed));
        }
        let waits = Waits::push(&self.inner.settings.retries);
        let claimed = repeat(waits, RegistryError::is_retryable, || {
            self.place_without_bytes(repo, d, mount_from)
        })
        .await?;
        if let Some(pushed) = claimed {
            let known = async { Ok::<_, RegistryError>(pushed) };
            self.inner.pushed.run(key, known).await?;
        }
        Ok(claimed)
    }

    /// Stores a manifest or index under the tag or digest of `r`; its blobs must be there before.
    ///
    /// A tag that cannot be overwritten is no error if it holds the same digest already, or if the settings
    /// say to ignore it (I34).
    pub async fn push_manifest(
        &self,
        r: &Reference,
        bytes: Bytes,
        mt: &MediaType,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let waits = Waits::push(&self.inner.settings.retries);
        let stored = repeat(waits, RegistryError::is_retryable, || {
            self.put_manifest(r, bytes.clone(), mt, digest)
        })
        .await;
        for mirrored in [true, false] {
            self.inner.resolved.forget(&(r.to_string(), mirrored));
        }
        let error = match stored {
            Ok(()) => return Ok(digest),
            Err(error) => error,
        };
        if names_unknown_blob(&error) {
            // What we believe to be there has gone, so it must be possible to push it again.
            let repo = r.repo();
            self.inner.pushed.retain(|(known, _)| *known != repo);
        }
        if !is_immutable_tag(&error) {
            return Err(error);
        }
        let held = self
            .direct()
            .head_manifest(r)
            .await
            .ok()
            .flatten()
            .map(|held| held.digest());
        if held == Some(digest) {
            let reference = r.familiar();
            self.tell(RegistryNotice::TagHolds { reference });
            return Ok(digest);
        }
        if self.inner.settings.ignore_immutable_tag_errors {
            let reference = r.familiar();
            self.tell(RegistryNotice::TagKept { reference });
            return Ok(digest);
        }
        Err(error)
    }

    /// Fails if pushing to `repo` is not allowed: starts an upload and cancels it (I29).
    pub async fn check_push(&self, repo: &Repository) -> Result<(), RegistryError> {
        let session = self.start_upload(repo, &Ask::push_check(repo)).await?;
        self.cancel_upload(repo, &session).await;
        Ok(())
    }

    async fn put_manifest(
        &self,
        r: &Reference,
        bytes: Bytes,
        mt: &MediaType,
        digest: Digest,
    ) -> Result<(), RegistryError> {
        let repo = r.repo();
        // A tag, if there is one, is what the caller wants set; the digest follows from the bytes.
        let name = r.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let path = format!("/v2/{}/manifests/{name}", repo.path);
        let mut call = self.call(
            Ask::manifest_push(&repo, &name),
            &repo,
            Direction::Push,
            Method::PUT,
            path,
        );
        if let Ok(kind) = HeaderValue::from_str(mt.as_str()) {
            call.headers.insert(CONTENT_TYPE, kind);
        }
        call.body = Payload::Bytes(bytes);
        let (headers, _) = self.send_and_read(&call, ERROR_BODY_LIMIT).await?;
        check_stored(&call.ask, &headers, digest)
    }
}

/// Compares the registry's idea of what it stored with ours (I33).
fn check_stored(ask: &Ask, headers: &HeaderMap, expected: Digest) -> Result<(), RegistryError> {
    let reported = headers
        .get("docker-content-digest")
        .and_then(|value| value.to_str().ok());
    match reported {
        Some(text) if text.starts_with("sha256:") && text.parse() != Ok(expected) => {
            Err(RegistryError::StoredDigest {
                registry: ask.registry.clone(),
                ask: ask.what.clone(),
                expected,
                reported: text.chars().filter(|c| !c.is_control()).take(100).collect(),
            })
        }
        _ => Ok(()),
    }
}

fn names_unknown_blob(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Status { codes, .. } if codes.iter().any(|code| code.ends_with("BLOB_UNKNOWN")))
}

/// How registries say that a tag cannot be moved (I34): ECR, Google, Harbor, Quay, GitLab, ACR.
fn is_immutable_tag(error: &RegistryError) -> bool {
    let client_error = error
        .status()
        .is_some_and(|status| (400..500).contains(&status));
    let text = error.message().to_ascii_lowercase();
    let wordings = [
        "immutab",
        "cannot be overwritten",
        "cannot overwrite",
        "write-locked",
        "already exists and",
    ];
    client_error && wordings.iter().any(|wording| text.contains(wording))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StatusText;

    // conformance: I34
    #[test]
    fn refusals_to_move_a_tag_are_recognised() {
        let table = [
            (
                400,
                "The image tag 'v1' already exists in the 'x' repository and cannot be overwritten because the tag is immutable.",
                true,
            ),
            (400, "The repository has enabled tag immutability. x", true),
            (
                412,
                "Failed to process request due to 'x:v1' configured as immutable.",
                true,
            ),
            (403, "requested access to the resource is denied", false),
            (500, "immutable", false),
        ];
        assert!(!table.is_empty());
        for (status, message, expected) in table {
            let error = RegistryError::Status {
                registry: "h".into(),
                ask: "x".into(),
                status: StatusText(status),
                codes: vec![],
                message: message.into(),
                retry_after: None,
                limit: None,
            };
            assert_eq!(is_immutable_tag(&error), expected, "{message}");
        }
    }
}
