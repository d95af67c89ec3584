//! What a registry holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kiln_oci::Digest;

/// A manifest as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The `Content-Type` it was pushed with.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Digest of `bytes`.
    pub digest: Digest,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    repos: BTreeMap<String, Repo>,
    uploads: HashMap<u64, Vec<u8>>,
    next_upload: u64,
    most_open_uploads: usize,
}

#[derive(Debug, Default)]
struct Repo {
    blobs: HashMap<Digest, Arc<Vec<u8>>>,
    manifests: HashMap<Digest, Stored>,
    tags: BTreeMap<String, Digest>,
}

impl Store {
    fn repo(&mut self, name: &str) -> &mut Repo {
        self.repos.entry(name.to_owned()).or_default()
    }

    pub(super) fn put_blob(&mut self, repo: &str, blob: Vec<u8>) -> Digest {
        let digest = Digest::of(&blob);
        self.repo(repo).blobs.insert(digest, Arc::new(blob));
        digest
    }

    pub(super) fn blob(&self, repo: &str, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.repos.get(repo)?.blobs.get(digest).cloned()
    }

    pub(super) fn remove_blob(&mut self, repo: &str, digest: &Digest) {
        self.repo(repo).blobs.remove(digest);
    }

    /// `false` if `from` does not have it.
    pub(super) fn mount(&mut self, repo: &str, digest: &Digest, from: &str) -> bool {
        let Some(blob) = self.blob(from, digest) else {
            return false;
        };
        self.repo(repo).blobs.insert(*digest, blob);
        true
    }

    pub(super) fn put_manifest(
        &mut self,
        repo: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Digest {
        let digest = Digest::of(&bytes);
        let repo = self.repo(repo);
        let stored = Stored {
            media_type: media_type.to_owned(),
            bytes,
            digest,
        };
        repo.manifests.insert(digest, stored);
        if let Some(tag) = tag {
            repo.tags.insert(tag.to_owned(), digest);
        }
        digest
    }

    pub(super) fn manifest(&self, repo: &str, tag_or_digest: &str) -> Option<Stored> {
        let repo = self.repos.get(repo)?;
        let digest = match tag_or_digest.parse() {
            Ok(digest) => digest,
            Err(_) => *repo.tags.get(tag_or_digest)?,
        };
        repo.manifests.get(&digest).cloned()
    }

    pub(super) fn tags(&self, repo: &str) -> Vec<String> {
        self.repos
            .get(repo)
            .map(|repo| repo.tags.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn start_upload(&mut self) -> u64 {
        self.next_upload += 1;
        self.uploads.insert(self.next_upload, Vec::new());
        self.most_open_uploads = self.most_open_uploads.max(self.uploads.len());
        self.next_upload
    }

    pub(super) fn upload(&mut self, id: u64) -> Option<&mut Vec<u8>> {
        self.uploads.get_mut(&id)
    }

    pub(super) fn end_upload(&mut self, id: u64) -> Option<Vec<u8>> {
        self.uploads.remove(&id)
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn most_open_uploads(&self) -> usize {
        self.most_open_uploads
    }
}
