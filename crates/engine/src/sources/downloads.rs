//! Files that ADD names by URL, fetched once a build.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kiln_oci::Digest;
use kiln_shown::SecretUrl;
use tokio::runtime::Handle;

use super::SourceError;
use kiln_download::{FetchedFile, fetch};
use kiln_work::interrupt::Interrupt;
use kiln_work::spool::Spool;

/// What was fetched, by URL.
pub(crate) struct Downloads {
    client: reqwest::Client,
    spool: Spool,
    runtime: Handle,
    interrupt: Interrupt,
    known: Mutex<BTreeMap<String, FetchedFile>>,
}

impl Downloads {
    pub(crate) fn new(
        client: reqwest::Client,
        spool: Spool,
        runtime: Handle,
        interrupt: Interrupt,
    ) -> Downloads {
        Downloads {
            client,
            spool,
            runtime,
            interrupt,
            known: Mutex::default(),
        }
    }

    /// The file behind a URL. Blocks; not for async code.
    pub(crate) fn get(
        &self,
        url: &SecretUrl,
        checksum: Option<Digest>,
    ) -> Result<FetchedFile, SourceError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(url.expose()).cloned() {
            return Ok(known);
        }
        drop(known);
        let fetch = fetch(&self.client, url, checksum, &self.spool);
        let fetched = self.runtime.block_on(self.interrupt.unless_raised(fetch));
        let fetched = fetched.ok_or(SourceError::Cancelled)??;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(url.expose().to_owned(), fetched.clone());
        Ok(fetched)
    }
}
