//! The small files that hold the digest of what was built (conformance I36, I37).

use std::fmt::Write as _;
use std::path::Path;

use kiln_oci::{Digest, Reference};
use kiln_shown::SecretUrl;
use serde_json::json;

use super::OutputError;
use kiln_options::{DigestFiles, FileTarget};

/// Writes every digest file that was asked for.
pub async fn write_digest_files(
    asked: &DigestFiles,
    destinations: &[Reference],
    digest: Digest,
    client: &reqwest::Client,
) -> Result<(), OutputError> {
    let with_digest = |reference: &Reference| format!("{}@{digest}\n", reference.repo());
    let with_tag = |reference: &Reference| {
        let tag = reference.tag_or_latest();
        format!("{}:{tag}@{digest}\n", reference.repo())
    };
    let lines =
        |line: &dyn Fn(&Reference) -> String| -> String { destinations.iter().map(line).collect() };
    // Without newline, as scripts compare it.
    let files = [
        (&asked.digest, digest.to_string()),
        (&asked.names, lines(&with_digest)),
        (&asked.tags, lines(&with_tag)),
    ];
    for (target, text) in files {
        match target {
            Some(FileTarget::Path(path)) => write(path, &text)?,
            Some(FileTarget::Url(url)) => put(client, url, text).await?,
            None => {}
        }
    }
    if let Some(dir) = &asked.builder_output {
        let mut text = String::new();
        for reference in destinations {
            let name = format!("{}:{}", reference.repo(), reference.tag_or_latest());
            let line = json!({ "name": name, "digest": digest.to_string() });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        write(&dir.join("images"), &text)?;
    }
    Ok(())
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
