//! The name of a request as people read it in errors and logs: never a URL, which may carry secrets.

use std::fmt;

use kiln_oci::{Digest, Repository};

/// What was asked of which registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Host as the user knows it (`docker.io`, not `registry-1.docker.io`).
    pub(crate) registry: String,
    /// A noun phrase: ``the manifest request for `x:1` ``.
    pub(crate) what: String,
}

impl Ask {
    pub(crate) fn ping(registry: &str) -> Self {
        Self {
            registry: registry.to_owned(),
            what: "the version check".to_owned(),
        }
    }

    pub(crate) fn manifest(repo: &Repository, tag_or_digest: &str) -> Self {
        Self::new(
            repo,
            format!("the manifest request for `{}`", join(repo, tag_or_digest)),
        )
    }

    pub(crate) fn manifest_push(repo: &Repository, tag_or_digest: &str) -> Self {
        Self::new(
            repo,
            format!("the push of the manifest `{}`", join(repo, tag_or_digest)),
        )
    }

    pub(crate) fn blob(repo: &Repository, digest: &Digest) -> Self {
        Self::new(
            repo,
            format!("the request for blob `{digest}` of `{}`", repo.path),
        )
    }

    pub(crate) fn blob_push(repo: &Repository, digest: &Digest) -> Self {
        Self::new(
            repo,
            format!("the upload of blob `{digest}` to `{}`", repo.path),
        )
    }

    pub(crate) fn push_check(repo: &Repository) -> Self {
        Self::new(
            repo,
            format!("the push permission check of `{}`", repo.path),
        )
    }

    fn new(repo: &Repository, what: String) -> Self {
        Self {
            registry: repo.registry.clone(),
            what,
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

fn join(repo: &Repository, tag_or_digest: &str) -> String {
    let separator = if tag_or_digest.contains(':') {
        '@'
    } else {
        ':'
    };
    format!("{}{separator}{tag_or_digest}", repo.path)
}
