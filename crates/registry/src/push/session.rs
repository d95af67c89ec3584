//! Upload sessions: start or mount, send, restart from the beginning when something breaks (I31, I32).

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kiln_oci::{Descriptor, Digest, Repository};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::check_stored;
use crate::ask::Ask;
use crate::auth::Scope;
use crate::blob_source::BlobSource;
use crate::client::Client;
use crate::error::RegistryError;
use crate::pushed::Pushed;
use crate::request::{Call, Payload, Target};
use crate::retry::Waits;
use crate::transport::{Direction, authority};

/// More mount sources than this are not worth their round trips.
const MAX_MOUNTS: usize = 4;
/// What is sent at once to a registry that refuses a blob in one piece, unless it names a minimum.
const CHUNK: u64 = 32 << 20;

pub(super) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An upload in progress.
#[derive(Debug)]
pub(super) struct Session {
    location: Url,
    /// The smallest chunk the registry takes, if it says so.
    chunk_min: Option<u64>,
}

impl Session {
    /// Where the next request of this upload goes.
    pub(super) fn location(&self) -> &Url {
        &self.location
    }
}

/// What became of an attempt to mount.
enum Mount {
    Done,
    /// Not mounted, but an upload was started.
    Started(Session),
    Refused,
}

impl Client {
    /// HEAD, mount, upload; an upload that breaks starts again.
    pub(super) async fn place_blob(
        &self,
        repo: &Repository,
        d: &Descriptor,
        source: &BlobSource,
        mount_from: &[Repository],
    ) -> Result<Pushed, RegistryError> {
        if self.is_there(repo, &d.digest()).await? {
            return Ok(Pushed::Existed);
        }
        check_source(d, source)?;
        let mut session = match self.mount(repo, &d.digest(), mount_from).await? {
            Mount::Done => return Ok(Pushed::Mounted),
            Mount::Started(session) => Some(session),
            Mount::Refused => None,
        };
        let _permit = self.inner.transfers.acquire().await;
        let worth = |error: &RegistryError| {
            error.is_transient() || matches!(error.status(), Some(404 | 416))
        };
        let ask = Ask::blob_push(repo, &d.digest());
        let mut waits = Waits::request(&self.inner.settings.retries);
        let mut chunked = false;
        loop {
            // Outside of what is tried again here: this request has its own tries, and tries of tries take long.
            let session = match session.take() {
                Some(session) => session,
                None => self.start_upload(repo, &ask).await?,
            };
            let sent = self
                .send_blob(repo, &ask, d, source, session, chunked)
                .await;
            let error = match sent {
                Ok(()) => return Ok(Pushed::Uploaded),
                // A proxy in between has a limit; smaller pieces may pass.
                Err(error) if error.status() == Some(413) && d.size() > CHUNK && !chunked => {
                    chunked = true;
                    continue;
                }
                Err(error) => error,
            };
            waits.pause(error, worth).await?;
            // The answer to a complete upload may be what was lost.
            if self.is_there(repo, &d.digest()).await.unwrap_or(false) {
                return Ok(Pushed::Uploaded);
            }
        }
    }

    /// The bytes of one upload, and its end.
    async fn send_blob(
        &self,
        repo: &Repository,
        ask: &Ask,
        d: &Descriptor,
        source: &BlobSource,
        session: Session,
        chunked: bool,
    ) -> Result<(), RegistryError> {
        if chunked {
            self.put_chunks(repo, ask, d, source, session).await
        } else {
            self.put_blob(repo, ask, d, source, &session).await
        }
    }

    /// HEAD and mount only; `None` if neither places the blob.
    ///
    /// A mount does for a blob that is there already as well, so that it comes first: one request is enough then. Not
    /// after it was in vain once, since a registry that knows no mounts would be asked three times for each blob.
    pub(super) async fn place_without_bytes(
        &self,
        repo: &Repository,
        d: &Descriptor,
        mount_from: &[Repository],
    ) -> Result<Option<Pushed>, RegistryError> {
        let mounts_first = !self.inner.mounts_fail.load(Ordering::Relaxed);
        if mounts_first && self.mount_only(repo, &d.digest(), mount_from).await? {
            return Ok(Some(Pushed::Mounted));
        }
        if self.is_there(repo, &d.digest()).await? {
            return Ok(Some(Pushed::Existed));
        }
        let mounted = !mounts_first && self.mount_only(repo, &d.digest(), mount_from).await?;
        Ok(mounted.then_some(Pushed::Mounted))
    }

    /// Mounts the blob or starts nothing; remembers that it was in vain.
    async fn mount_only(
        &self,
        repo: &Repository,
        digest: &Digest,
        from: &[Repository],
    ) -> Result<bool, RegistryError> {
        if !mount_sources(repo, from).any(|_| true) {
            return Ok(false);
        }
        match self.mount(repo, digest, from).await? {
            Mount::Done => return Ok(true),
            Mount::Started(session) => self.cancel_upload(repo, &session).await,
            Mount::Refused => {}
        }
        self.inner.mounts_fail.store(true, Ordering::Relaxed);
        Ok(false)
    }

    /// HEAD with push rights; whatever else than yes or no comes back is left for the upload to find out.
    async fn is_there(&self, repo: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let mut call = self.blob_call(repo, digest, Method::HEAD, Direction::Push);
        call.ask = Ask::blob_push(repo, digest);
        let _permit = self.inner.requests.acquire().await;
        match self.send(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.status().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry to take the blob from a repository it has it in.
    async fn mount(
        &self,
        repo: &Repository,
        digest: &Digest,
        from: &[Repository],
    ) -> Result<Mount, RegistryError> {
        let mut seen = Vec::new();
        let mut started: Option<Session> = None;
        for candidate in mount_sources(repo, from) {
            if seen.len() == MAX_MOUNTS || seen.contains(&candidate) {
                continue;
            }
            seen.push(candidate);
            if let Some(session) = started.take() {
                self.cancel_upload(repo, &session).await;
            }
            match self.mount_one(repo, digest, candidate).await {
                Ok(Mount::Done) => return Ok(Mount::Done),
                Ok(Mount::Started(session)) => started = Some(session),
                Ok(Mount::Refused) => {}
                // A mount is a shortcut; the plain upload meets the same trouble if it is a real one.
                Err(error) => {
                    tracing::debug!("mounting `{digest}` from `{candidate}`: {}", error.full());
                }
            }
        }
        Ok(started.map_or(Mount::Refused, Mount::Started))
    }

    async fn mount_one(
        &self,
        repo: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mount, RegistryError> {
        let path = mount_path(repo, digest, from);
        let mut call = self.call(
            Ask::blob_push(repo, digest),
            repo,
            Direction::Push,
            Method::POST,
            path,
        );
        call.scope = Scope::mount(repo, &from.path);
        let _permit = self.inner.requests.acquire().await;
        let answer = self.send(&call).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Mount::Done),
            StatusCode::ACCEPTED => {
                let base = answer.response.url().clone();
                session_after(&call, &base, answer.response.headers(), None).map(Mount::Started)
            }
            _ => Ok(Mount::Refused),
        }
    }

    /// Starts an upload.
    pub(super) async fn start_upload(
        &self,
        repo: &Repository,
        ask: &Ask,
    ) -> Result<Session, RegistryError> {
        let path = format!("/v2/{}/blobs/uploads/", repo.path);
        let call = self.call(ask.clone(), repo, Direction::Push, Method::POST, path);
        let answer = self.send(&call).await?;
        let base = answer.response.url().clone();
        session_after(&call, &base, answer.response.headers(), None)
    }

    /// Ends an upload that will not be used; registries expire those that cannot be ended.
    pub(super) async fn cancel_upload(&self, repo: &Repository, session: &Session) {
        let mut call = self.upload_call(
            repo,
            &Ask::push_check(repo),
            Method::DELETE,
            session.location.clone(),
        );
        call.waits = Waits::none();
        if let Err(error) = self.send(&call).await {
            tracing::debug!("{}", error.full());
        }
    }

    /// All in one PUT.
    async fn put_blob(
        &self,
        repo: &Repository,
        ask: &Ask,
        d: &Descriptor,
        source: &BlobSource,
        session: &Session,
    ) -> Result<(), RegistryError> {
        let mut call = self.upload_call(
            repo,
            ask,
            Method::PUT,
            complete(&session.location, &d.digest()),
        );
        call.headers.insert(CONTENT_TYPE, OCTETS);
        call.body = payload(source, 0, d.size());
        let mut answer = self.attempt(&call).await?;
        let headers = std::mem::take(answer.response.headers_mut());
        answer.drain().await;
        check_stored(ask, &headers, d.digest())
    }

    /// Piece by piece with PATCH, closed with an empty PUT.
    async fn put_chunks(
        &self,
        repo: &Repository,
        ask: &Ask,
        d: &Descriptor,
        source: &BlobSource,
        mut session: Session,
    ) -> Result<(), RegistryError> {
        let chunk = CHUNK.max(session.chunk_min.unwrap_or(0));
        let mut at = 0;
        while at < d.size() {
            let size = chunk.min(d.size() - at);
            let mut call = self.upload_call(repo, ask, Method::PATCH, session.location.clone());
            call.headers.insert(CONTENT_TYPE, OCTETS);
            if let Ok(range) = HeaderValue::from_str(&format!("{at}-{}", at + size - 1)) {
                call.headers.insert(CONTENT_RANGE, range);
            }
            call.body = payload(source, at, size);
            let answer = self.attempt(&call).await?;
            let base = answer.response.url().clone();
            session = session_after(&call, &base, answer.response.headers(), Some(session))?;
            at += size;
        }
        let call = self.upload_call(
            repo,
            ask,
            Method::PUT,
            complete(&session.location, &d.digest()),
        );
        let answer = self.attempt(&call).await?;
        check_stored(ask, answer.response.headers(), d.digest())
    }

    pub(super) fn upload_call(
        &self,
        repo: &Repository,
        ask: &Ask,
        method: Method,
        location: Url,
    ) -> Call {
        let mut call = self.call(ask.clone(), repo, Direction::Push, method, String::new());
        call.target = Target::Url(location);
        call.progress.clone_from(&self.progress);
        call
    }
}

/// Where to go on, from the answer of POST or PATCH.
pub(super) fn session_after(
    call: &Call,
    base: &Url,
    headers: &HeaderMap,
    before: Option<Session>,
) -> Result<Session, RegistryError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let said = text("oci-chunk-min-length").and_then(|length| length.parse().ok());
    let chunk_min = said.or(before.as_ref().and_then(|session| session.chunk_min));
    let location = match text(LOCATION.as_str()) {
        Some(location) => base.join(location).ok(),
        // Only the first answer has to name it.
        None => before.map(|session| session.location),
    };
    let mut location = location.ok_or_else(|| RegistryError::NotARegistry {
        registry: call.ask.registry.clone(),
        ask: call.ask.what.clone(),
        got: "no upload address".to_owned(),
        wanted: "a `Location` header",
    })?;
    // A registry behind a proxy that ends TLS often believes it is reached over http.
    if base.scheme() == "https" && location.scheme() == "http" {
        let same = location.host_str() == base.host_str();
        let secured = same
            && location
                .port()
                .is_none_or(|port| Some(port) == base.port() || port == 80);
        if secured {
            let _ = location.set_port(base.port());
            let _ = location.set_scheme("https");
        } else if !call.host.insecure {
            return Err(RegistryError::Redirect {
                registry: call.ask.registry.clone(),
                ask: call.ask.what.clone(),
                target: format!("`http://{}`", authority(&location)),
                reason: "https must not become http unless the registry is marked insecure",
            });
        }
    }
    Ok(Session {
        location,
        chunk_min,
    })
}

/// The repositories that a blob can be mounted from.
fn mount_sources<'a>(
    repo: &'a Repository,
    from: &'a [Repository],
) -> impl Iterator<Item = &'a Repository> {
    from.iter()
        .filter(move |from| from.registry == repo.registry && *from != repo)
}

fn mount_path(repo: &Repository, digest: &Digest, from: &Repository) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("mount", &digest.to_string())
        .append_pair("from", &from.path);
    format!("/v2/{}/blobs/uploads/?{}", repo.path, query.finish())
}

pub(super) fn complete(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    url
}

fn payload(source: &BlobSource, offset: u64, size: u64) -> Payload {
    Payload::Blob {
        source: source.clone(),
        offset,
        size,
    }
}

/// A file of another size would break the request in a way that looks like the network's fault.
fn check_source(d: &Descriptor, source: &BlobSource) -> Result<(), RegistryError> {
    let length = |path: &Path| match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(source) => Err(RegistryError::Io {
            operation: "read",
            path: path.to_owned(),
            source,
        }),
    };
    let (path, actual) = match source {
        BlobSource::Bytes(bytes) => (PathBuf::from("memory"), bytes.len() as u64),
        BlobSource::File(path) => (path.clone(), length(path)?),
        // What follows in the file belongs to others.
        BlobSource::Part(path, start) => {
            let rest = length(path)?.saturating_sub(*start);
            (path.clone(), rest.min(d.size()))
        }
    };
    if actual == d.size() {
        return Ok(());
    }
    Err(RegistryError::SourceSize {
        path,
        digest: d.digest(),
        expected: d.size(),
        actual,
    })
}
