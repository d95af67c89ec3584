//! The client: settings, connections, tokens and limits that all requests of one run share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kiln_oci::{Digest, Repository};
use tokio::sync::Semaphore;

use crate::auth::Tokens;
use crate::error::RegistryError;
use crate::fetched::Fetched;
use crate::inflight::Inflight;
use crate::notice::RegistryNotice;
use crate::progress::Progress;
use crate::pushed::Pushed;
use crate::settings::RegistrySettings;
use crate::sources::Sources;
use crate::transport::{self, Hosts};

/// Requests without a body to speak of, at the same time; blobs have their own limit.
const SMALL_REQUESTS: usize = 64;

/// Pulls and pushes; cheap to clone, and all clones share connections, tokens and limits.
///
/// A client remembers for its lifetime what a tag resolved to in [`image`](Self::image) (C24) and which
/// blobs it has pushed (I33), so use one client per build.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    /// Whether mirrors and maps apply.
    pub(crate) mirrored: bool,
    /// Told how far blobs are that are pushed.
    pub(crate) progress: Option<Progress>,
}

pub(crate) struct Inner {
    pub(crate) settings: RegistrySettings,
    pub(crate) hosts: Hosts,
    pub(crate) tokens: Tokens,
    pub(crate) sources: Sources,
    /// Blob transfers.
    pub(crate) transfers: Semaphore,
    /// Everything else.
    pub(crate) requests: Semaphore,
    pub(crate) pushed: Inflight<(Repository, Digest), Pushed>,
    /// A blob could not be mounted, so that others are looked for first.
    pub(crate) mounts_fail: AtomicBool,
    pub(crate) downloads: Inflight<std::path::PathBuf, ()>,
    pub(crate) resolved: Inflight<(String, bool), Fetched>,
}

impl Client {
    /// Checks the settings and reads certificate files; touches no network (I13).
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let hosts = Hosts::new(&settings)?;
        let sources = Sources::new(&settings)?;
        let transfers = Semaphore::new(settings.concurrency.max(1));
        let tokens = Tokens::new(settings.auth.clone().telling(&settings.notices));
        for notice in transport::troubles() {
            settings.notices.tell(notice);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                hosts,
                tokens,
                sources,
                mounts_fail: AtomicBool::new(false),
                transfers,
                requests: Semaphore::new(SMALL_REQUESTS),
                pushed: Inflight::default(),
                downloads: Inflight::default(),
                resolved: Inflight::default(),
                settings,
            }),
            mirrored: true,
            progress: None,
        })
    }

    /// The same client without mirrors and maps, as cache repositories and push targets need it (I22).
    #[must_use]
    pub fn direct(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            mirrored: false,
            progress: self.progress.clone(),
        }
    }

    /// The same client for one blob that is pushed: `progress` hears how many of its bytes are sent, and nothing if the
    /// registry has it already.
    #[must_use]
    pub fn reporting(&self, progress: Progress) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            mirrored: self.mirrored,
            progress: Some(progress),
        }
    }

    pub(crate) fn tell(&self, notice: RegistryNotice) {
        self.inner.settings.notices.tell(notice);
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &RegistrySettings {
        &self.inner.settings
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("mirrored", &self.mirrored)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use kiln_oci::{Descriptor, MediaType, Platform, Reference};

    use super::*;
    use crate::blob_source::BlobSource;

    /// Every future can be spawned; this fails to compile if one cannot.
    #[expect(dead_code, reason = "only its types matter")]
    fn futures_are_send(
        c: &Client,
        r: &Reference,
        repo: &Repository,
        d: &Descriptor,
        source: BlobSource,
    ) {
        fn send(_: impl Send) {}
        send(c.manifest(r));
        send(c.head_manifest(r));
        send(c.image(r, &Platform::host()));
        send(c.blob_to_file(repo, d, Path::new("x"), &|_| ()));
        send(c.blob_bytes(repo, d, 1));
        send(c.has_blob(repo, &d.digest()));
        send(c.push_blob(repo, d, source, &[]));
        send(c.push_manifest(r, Bytes::new(), &MediaType::OciManifest));
        send(c.check_push(repo));
    }
}
