//! Downloads for `ADD <url>` and for a Dockerfile given by URL (conformance E43-E46).

use std::io::Write;
use std::time::Duration;

use kiln_oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::spool::{Piece, Spool};

/// A download that stands still for this long has failed.
const STALL: Duration = Duration::from_mins(1);

/// Why a download failed. Queries of URLs may hold signatures, so they are never shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("`{url}` is not a URL that can be fetched")]
    Url {
        /// The URL without its query.
        url: String,
    },
    /// The server cannot be reached or broke off.
    #[error("cannot fetch `{url}`")]
    Transport {
        /// The URL without its query.
        url: String,
        /// Why it failed.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered with an error.
    #[error("cannot fetch `{url}`: the server answered {status}")]
    Status {
        /// The URL without its query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The content is not the one that `--checksum` names.
    #[error("`{url}` has digest {actual}, but `--checksum` says {expected}")]
    Checksum {
        /// The URL without its query.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The work folder refuses.
    #[error("cannot keep `{url}` in the work folder")]
    Keep {
        /// The URL without its query.
        url: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// A file that was fetched.
#[derive(Debug, Clone)]
pub(crate) struct FetchedFile {
    /// The last segment of the URL's path as written (E44).
    pub(crate) name: Vec<u8>,
    pub(crate) content: Piece,
    /// Length of the content in bytes.
    pub(crate) size: u64,
    /// Last-Modified in seconds, or the epoch.
    pub(crate) mtime: i64,
}

/// Fetches a file into the spool, checking its digest if one is given.
pub(crate) async fn fetch(
    client: &reqwest::Client,
    url: &str,
    checksum: Option<Digest>,
    spool: &Spool,
) -> Result<FetchedFile, FetchError> {
    let parsed = url::Url::parse(url).map_err(|_| FetchError::Url {
        url: without_query(url),
    })?;
    let name = match parsed
        .path_segments()
        .and_then(|mut parts| parts.next_back())
    {
        Some(last) if !last.is_empty() => last.as_bytes().to_vec(),
        _ => b"__unnamed__".to_vec(),
    };
    let url = without_query(url);
    let transport = |source: reqwest::Error| FetchError::Transport {
        url: url.clone(),
        source: source.without_url(),
    };
    let mut response = client.get(parsed).send().await.map_err(transport)?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(FetchError::Status { url, status });
    }
    let mtime = last_modified(&response);
    let keep = |source| FetchError::Keep {
        url: url.clone(),
        source,
    };
    let mut file = tempfile::tempfile_in(spool.dir()).map_err(keep)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        hash.update(&chunk);
        size += chunk.len() as u64;
        file.write_all(&chunk).map_err(keep)?;
    }
    let actual = Digest::from_bytes(hash.finalize().into());
    if let Some(expected) = checksum.filter(|expected| *expected != actual) {
        return Err(FetchError::Checksum {
            url,
            expected,
            actual,
        });
    }
    Ok(FetchedFile {
        name,
        content: Piece::whole(file, size),
        size,
        mtime,
    })
}

/// A client for downloads: no total limit, but none may stand still.
pub(crate) fn client(user_agent: &str) -> Result<reqwest::Client, ClientError> {
    let builder = kiln_registry::http_client_builder(user_agent)?;
    Ok(builder.read_timeout(STALL).connect_timeout(STALL).build()?)
}

/// Why downloads are not possible at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The TLS settings of this machine cannot be used.
    #[error(transparent)]
    Settings(#[from] kiln_registry::SettingsError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

fn last_modified(response: &reqwest::Response) -> i64 {
    response
        .headers()
        .get(reqwest::header::LAST_MODIFIED)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// The URL without query, fragment and user information, for messages (I39).
fn without_query(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) => {
            parsed.set_query(None);
            parsed.set_fragment(None);
            // Both fail only for URLs that cannot have them.
            let _ = parsed.set_password(None);
            let _ = parsed.set_username("");
            parsed.to_string()
        }
        Err(_) => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I39
    #[test]
    fn messages_hold_no_signature() {
        let shown = without_query("https://user:pass@host/a/b?X-Signature=secret#f");
        assert_eq!(shown, "https://host/a/b");
    }
}
