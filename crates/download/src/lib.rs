//! Downloads for `ADD <url>` and for a Dockerfile given by URL (conformance E43-E46).

use std::io::Write;
use std::time::{Duration, SystemTime};

use kiln_oci::{Digest, SmallFile};
use kiln_registry::{Cause, Floor, Pace, Retries, Slow, Waits};
use kiln_shown::SecretUrl;
use sha2::{Digest as _, Sha256};

use kiln_shown::with_causes;
use kiln_work::spool::{Piece, Spool};

/// A download that stands still for this long has failed.
const STALL: Duration = Duration::from_mins(1);

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("`{url}` is not a URL that can be fetched")]
    Url {
        /// The URL.
        url: SecretUrl,
    },
    /// The server cannot be reached or broke off.
    #[error("cannot fetch `{url}`")]
    Transport {
        /// The URL.
        url: SecretUrl,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// It comes so slowly that it would never end.
    #[error("cannot fetch `{url}`")]
    Slow {
        /// The URL without its query.
        url: SecretUrl,
        /// How slow.
        source: Slow,
    },
    /// The server answered with an error.
    #[error("cannot fetch `{url}`: the server answered {status}")]
    Status {
        /// The URL.
        url: SecretUrl,
        /// The HTTP status.
        status: u16,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// The content is not the one that `--checksum` names.
    #[error("`{url}` has digest {actual}, but `--checksum` says {expected}")]
    Checksum {
        /// The URL.
        url: SecretUrl,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The work folder refuses.
    #[error("cannot keep `{url}` in the work folder")]
    Keep {
        /// The URL.
        url: SecretUrl,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl FetchError {
    /// The very same request may succeed in a moment.
    fn is_transient(&self) -> bool {
        match self {
            FetchError::Transport { source, .. } => source.is_temporary(),
            FetchError::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            FetchError::Slow { source, .. } => matches!(source, Slow::Silent { .. }),
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            FetchError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A file that was fetched.
#[derive(Debug, Clone)]
pub struct FetchedFile {
    /// The last component of the URL's path, decoded (E44).
    pub name: Vec<u8>,
    /// Its bytes.
    pub content: Piece,
    /// Length of the content in bytes.
    pub size: u64,
    /// Last-Modified in seconds, or the epoch.
    pub mtime: i64,
}

/// Fetches a file into the spool, checking its digest if one is given. What may pass by itself is tried again, as
/// often and as patiently as a request to a registry (I15).
pub async fn fetch(
    client: &reqwest::Client,
    url: &SecretUrl,
    checksum: Option<Digest>,
    spool: &Spool,
) -> Result<FetchedFile, FetchError> {
    let waits = Waits::request(&Retries::default());
    fetch_patiently(client, url, checksum, None, spool, waits).await
}

/// The same for a file that is read whole afterwards: gives up as soon as it is larger than it may be.
pub async fn fetch_small(
    client: &reqwest::Client,
    url: &SecretUrl,
    kind: SmallFile,
    spool: &Spool,
) -> Result<FetchedFile, FetchError> {
    let waits = Waits::request(&Retries::default());
    fetch_patiently(client, url, None, Some(kind), spool, waits).await
}

async fn fetch_patiently(
    client: &reqwest::Client,
    url: &SecretUrl,
    checksum: Option<Digest>,
    kind: Option<SmallFile>,
    spool: &Spool,
    mut waits: Waits,
) -> Result<FetchedFile, FetchError> {
    let parsed = url::Url::parse(url.expose()).map_err(|_| FetchError::Url { url: url.clone() })?;
    let (actual, file) = loop {
        let error = match fetch_once(client, &parsed, url, kind, spool).await {
            Ok(fetched) => break fetched,
            Err(error) => error,
        };
        let wait = if error.is_transient() {
            waits.next(error.retry_after())
        } else {
            None
        };
        let Some(wait) = wait else {
            return Err(error);
        };
        let (why, ms) = (with_causes(&error), wait.as_millis());
        tracing::debug!("{why}; trying again in {ms} ms");
        tokio::time::sleep(wait).await;
    };
    if let Some(expected) = checksum.filter(|expected| *expected != actual) {
        return Err(FetchError::Checksum {
            url: url.clone(),
            expected,
            actual,
        });
    }
    Ok(file)
}

/// One try, from the start of the file; `shown` is the URL for messages.
async fn fetch_once(
    client: &reqwest::Client,
    url: &url::Url,
    shown: &SecretUrl,
    kind: Option<SmallFile>,
    spool: &Spool,
) -> Result<(Digest, FetchedFile), FetchError> {
    let transport = |source: reqwest::Error| FetchError::Transport {
        url: shown.clone(),
        source: Cause::of(&source.without_url()),
    };
    let keep = |source| FetchError::Keep {
        url: shown.clone(),
        source,
    };
    let mut pace = Pace::new(Floor::default(), STALL);
    let slow = |source| FetchError::Slow {
        url: shown.clone(),
        source,
    };
    let asked = pace.wait(client.get(url.clone()).send()).await;
    let mut response = asked.map_err(slow)?.map_err(transport)?;
    if !response.status().is_success() {
        return Err(FetchError::Status {
            url: shown.clone(),
            status: response.status().as_u16(),
            retry_after: kiln_registry::retry_after(response.headers(), SystemTime::now()),
        });
    }
    let mtime = last_modified(&response);
    let mut file = tempfile::tempfile_in(spool.dir()).map_err(keep)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = pace
        .wait(response.chunk())
        .await
        .map_err(slow)?
        .map_err(transport)?
    {
        pace.came(chunk.len() as u64).map_err(slow)?;
        hash.update(&chunk);
        size += chunk.len() as u64;
        kind.map_or(Ok(()), |kind| kind.check(size))
            .map_err(|error| keep(error.into()))?;
        file.write_all(&chunk).map_err(keep)?;
    }
    let fetched = FetchedFile {
        name: file_name(url),
        content: Piece::whole(file, size),
        size,
        mtime,
    };
    Ok((Digest::from_bytes(hash.finalize().into()), fetched))
}

/// The last component of the URL's path, decoded (E44); what can be no file's name is `__unnamed__`.
fn file_name(url: &url::Url) -> Vec<u8> {
    let path = percent_decoded(url.path().as_bytes());
    let name = path.split(|b| *b == b'/').rfind(|name| !name.is_empty());
    match name {
        None | Some(b"." | b"..") => b"__unnamed__".to_vec(),
        Some(name) if name.contains(&0) => b"__unnamed__".to_vec(),
        Some(name) => name.to_vec(),
    }
}

/// `%2B` is `+`; a `%` that two digits do not follow is itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        // Two digits fit into a byte.
        decoded.push(byte.map_or(*first, |(high, low)| (high << 4 | low) as u8));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// A client for downloads: no total limit, but none may stand still.
pub fn client(user_agent: &str) -> Result<reqwest::Client, ClientError> {
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

#[cfg(test)]
mod tests {
    use kiln_testkit::{Fault, On, Registry};

    use super::*;

    // finding 32
    // conformance: E44
    #[test]
    fn names_are_decoded_and_stay_names() {
        let table: [(&str, &[u8]); 12] = [
            ("a.tgz", b"a.tgz"),
            ("dir/a%2Bb.tgz", b"a+b.tgz"),
            ("a+b", b"a+b"),
            ("x%2Fy.txt", b"y.txt"),
            ("with%20blank", b"with blank"),
            ("%C3%BC%ff", b"\xc3\xbc\xff"),
            ("dir/", b"dir"),
            ("", b"__unnamed__"),
            ("a%2F..", b"__unnamed__"),
            ("a/%2F", b"a"),
            ("a%00b", b"__unnamed__"),
            ("f.txt?x=1#y", b"f.txt"),
        ];
        for (path, name) in table {
            let url = url::Url::parse(&format!("https://host/{path}")).unwrap();
            assert_eq!(file_name(&url), name, "{path}");
        }
    }

    /// What a download that meets `fault` this often ends as, and how many requests that took.
    async fn with_fault(fault: Fault, times: usize) -> (Result<u64, String>, usize) {
        let registry = Registry::start();
        let digest = registry.put_blob("a", b"content");
        registry.fault(On::get("/blobs/").times(times), fault);
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(dir.path()).unwrap();
        let waits = Waits::request(&Retries {
            request: 2,
            request_delay: Duration::from_millis(1),
            retry_after_cap: Duration::from_millis(1),
            ..Retries::default()
        });
        let url = format!("http://{}/v2/a/blobs/{digest}?sig=secret", registry.host()).into();
        let client = client("test").unwrap();
        let fetched = fetch_patiently(&client, &url, Some(digest), None, &spool, waits).await;
        let ended = fetched
            .map(|file| file.size)
            .map_err(|error| with_causes(&error));
        let ended = ended.map_err(|text| text.replace(&registry.host(), "HOST"));
        (ended, registry.count("GET", "/blobs/"))
    }

    // conformance: I15
    #[tokio::test]
    async fn what_passes_by_itself_is_tried_again() {
        let table = [
            ("busy", Fault::status(503), 2, true, 3),
            ("too busy", Fault::status(503), 3, false, 3),
            ("limited", Fault::too_many("0"), 1, true, 2),
            ("limited for long", Fault::too_many("1"), 1, false, 1),
            ("slow", Fault::status(408), 1, true, 2),
            ("broken", Fault::Reset, 1, true, 2),
            ("missing", Fault::status(404), 1, false, 1),
        ];
        assert!(!table.is_empty());
        for (what, fault, times, good, requests) in table {
            let (ended, made) = with_fault(fault, times).await;
            assert_eq!(ended.is_ok(), good, "{what}: {ended:?}");
            assert_eq!(made, requests, "{what}");
            let text = ended.err().unwrap_or_default();
            assert!(
                !text.contains("secret") && !text.contains("os error"),
                "{text}"
            );
        }
    }
}
