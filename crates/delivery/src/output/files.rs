//! The small files that hold the digest of what was built (conformance I36, I37).

use std::fmt::Write as _;
use std::path::Path;

use kiln_oci::{Digest, Reference};
use kiln_shown::SecretUrl;
use serde_json::json;

use super::{Output, OutputError};
use futures_util::future::BoxFuture;
use kiln_options::{DigestFiles, FileTarget};
use kiln_store::parcel::Parcel;

/// The digest files that were asked for.
#[derive(Debug)]
pub struct DigestsWritten {
    asked: DigestFiles,
    destinations: Vec<Reference>,
    client: reqwest::Client,
}

impl DigestsWritten {
    /// Writes `asked` about an image under these names; `client` is for those that go to an address.
    pub fn new(
        asked: DigestFiles,
        destinations: Vec<Reference>,
        client: reqwest::Client,
    ) -> DigestsWritten {
        DigestsWritten {
            asked,
            destinations,
            client,
        }
    }

    async fn write(&self, digest: Digest) -> Result<(), OutputError> {
        let with_digest = |reference: &Reference| format!("{}@{digest}\n", reference.repo());
        let with_tag = |reference: &Reference| {
            let tag = reference.tag_or_latest();
            format!("{}:{tag}@{digest}\n", reference.repo())
        };
        let lines = |line: &dyn Fn(&Reference) -> String| -> String {
            self.destinations.iter().map(line).collect()
        };
        // Without newline, as scripts compare it.
        let files = [
            (&self.asked.digest, digest.to_string()),
            (&self.asked.names, lines(&with_digest)),
            (&self.asked.tags, lines(&with_tag)),
        ];
        for (target, text) in files {
            match target {
                Some(FileTarget::Path(path)) => write(path, &text)?,
                Some(FileTarget::Url(url)) => put(&self.client, url, text).await?,
                None => {}
            }
        }
        let Some(dir) = &self.asked.builder_output else {
            return Ok(());
        };
        let mut text = String::new();
        for reference in &self.destinations {
            let name = format!("{}:{}", reference.repo(), reference.tag_or_latest());
            let line = json!({ "name": name, "digest": digest.to_string() });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        write(&dir.join("images"), &text)
    }
}

impl Output for DigestsWritten {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<(), OutputError>> {
        Box::pin(self.write(parcel.top.digest))
    }
}

fn write(path: &Path, text: &str) -> Result<(), OutputError> {
    let failed = |source| OutputError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

async fn put(client: &reqwest::Client, url: &SecretUrl, text: String) -> Result<(), OutputError> {
    let answer = client.put(url.expose()).body(text).send().await;
    let answer = answer.map_err(|source| OutputError::Put {
        url: url.clone(),
        source: source.without_url(),
    })?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status().as_u16();
    Err(OutputError::PutStatus {
        url: url.clone(),
        status,
    })
}
