//! What can go wrong between us and a registry, in words that say what to look at.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kiln_oci::{Digest, Platform};

use crate::pace::Slow;
use crate::settings_error::SettingsError;

/// A request or transfer that failed for good, after all retries.
///
/// Texts name the registry, what was asked and what came back, and never a credential or a URL with a
/// query (I39).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry answered, and the answer is an error.
    #[error(
        "registry `{registry}` answered {ask} with {status}{}{}",
        explain(message), unwaited(*retry_after, *limit)
    )]
    Status {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// Code and reason: `404 Not Found`.
        status: StatusText,
        /// The registry's own codes (`MANIFEST_UNKNOWN`), if it sent any.
        codes: Vec<String>,
        /// The registry's own words, shortened.
        message: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
        /// Set when that is longer than is waited.
        limit: Option<Duration>,
    },
    /// Credentials were sent and refused, or none were found and some are needed (I10).
    #[error(
        "registry `{registry}` refused {ask} ({status}{}); {credentials}",
        explain(message)
    )]
    Unauthorized {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// Code and reason: `401 Unauthorized`.
        status: StatusText,
        /// The registry's own words, shortened.
        message: String,
        /// Which credentials were used, by their source.
        credentials: String,
    },
    /// The registry could not be reached, or the connection broke.
    #[error("{ask} to registry `{registry}` failed")]
    Connection {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Nothing moved for the inactivity timeout (I17).
    #[error(
        "registry `{registry}` was silent for {} s during {ask}",
        seconds(after)
    )]
    Timeout {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// How long was waited.
        after: Duration,
    },
    /// Something moved, but less than anybody can wait for (I17).
    #[error("registry `{registry}` is too slow: during {ask}")]
    TooSlow {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// How slow.
        #[source]
        source: Slow,
    },
    /// The answer is well-formed HTTP but nothing a registry would say.
    #[error("registry `{registry}` answered {ask} with {got}, not {wanted}; is this a registry?")]
    NotARegistry {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// The content type, or what else is odd about the answer.
        got: String,
        /// What a registry would have sent.
        wanted: &'static str,
    },
    /// A redirect that must not be followed (I11).
    #[error("registry `{registry}` redirected {ask} to {target}: {reason}")]
    Redirect {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// Scheme and host of the target.
        target: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The bytes are not the ones that were asked for (I25).
    #[error(
        "registry `{registry}` answered {ask} with other content: expected `{expected}`, got `{actual}`"
    )]
    DigestMismatch {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More or fewer bytes than the descriptor says (I25).
    #[error("registry `{registry}` answered {ask} with {actual} bytes, expected {expected}")]
    SizeMismatch {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// Bytes according to the descriptor.
        expected: u64,
        /// Bytes that came, at least.
        actual: u64,
    },
    /// The registry stored something else than was pushed, by its own account (I33).
    #[error("registry `{registry}` reports digest `{reported}` after {ask}, expected `{expected}`")]
    StoredDigest {
        /// The host.
        registry: String,
        /// What was asked, as a noun phrase.
        ask: String,
        /// Our digest.
        expected: Digest,
        /// The registry's.
        reported: String,
    },
    /// A manifest of the format that was abandoned in 2017 (I23).
    #[error(
        "`{reference}` is stored as a schema 1 manifest, which is no longer supported; push it again with a current tool"
    )]
    Schema1 {
        /// The image.
        reference: String,
    },
    /// A manifest or config that cannot be read.
    #[error("{what} of `{reference}` is malformed")]
    Malformed {
        /// `the manifest`, `the index` or `the config`.
        what: &'static str,
        /// The image.
        reference: String,
        /// What the parser said.
        #[source]
        source: kiln_oci::DocumentError,
    },
    /// A manifest that says nothing useful, e.g. nested too deeply.
    #[error("`{reference}` cannot be used as an image: {reason}")]
    Unusable {
        /// The image.
        reference: String,
        /// Why not.
        reason: String,
    },
    /// The index has no entry for the platform (C15).
    #[error(
        "`{reference}` is not available for platform `{wanted}`; it offers {}",
        offers(available)
    )]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// All mirrors, maps and the registry itself failed (I20).
    #[error(
        "`{reference}` could not be fetched from any of its sources: {}",
        tries(errors)
    )]
    AllSourcesFailed {
        /// What was asked for.
        reference: String,
        /// Every source with its reason, in the order tried.
        errors: Vec<Try>,
    },
    /// No source is left to ask: the fallback is switched off and there is no mirror.
    #[error(
        "no source is left for `{reference}`: it has no mirror or map, and the default registry is switched off"
    )]
    NoSource {
        /// What was asked for.
        reference: String,
    },
    /// A file on our side.
    #[error("cannot {operation} `{path}`", path = path.display())]
    Io {
        /// `read`, `write`, ...
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file to be pushed is not what its descriptor says.
    #[error("`{path}` is to be pushed as blob `{digest}` of {expected} bytes, but has {actual} bytes", path = path.display())]
    SourceSize {
        /// The file.
        path: PathBuf,
        /// The digest it should have.
        digest: Digest,
        /// Bytes according to the descriptor.
        expected: u64,
        /// Bytes in the file.
        actual: u64,
    },
    /// A reference that cannot name a repository of a registry.
    #[error("`{reference}` cannot be used as an address: {reason}")]
    BadAddress {
        /// The reference or host.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be set up.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// One source and why it did not serve.
#[derive(Debug)]
pub struct Try {
    /// The repository that was asked.
    pub source: String,
    /// What it answered.
    pub error: Box<RegistryError>,
}

/// What the network said, in one line: `connection refused`, `invalid peer certificate: unknown issuer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    text: String,
    temporary: bool,
    certificate: bool,
}

impl Cause {
    pub(crate) fn new(text: impl Into<String>, temporary: bool) -> Self {
        Self {
            text: text.into(),
            temporary,
            certificate: false,
        }
    }

    /// The innermost reason of a transport error: the outer ones only say that sending failed.
    pub fn of(error: &reqwest::Error) -> Self {
        let mut chain: Vec<&(dyn std::error::Error + 'static)> = Vec::new();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            chain.push(cause);
            next = cause.source();
        }
        let text = chain
            .iter()
            .rev()
            .map(ToString::to_string)
            .find(|text| !text.is_empty());
        let text = text.unwrap_or_else(|| error.to_string());
        let certificate = text.contains("certificate");
        let text = match text.as_str() {
            t if t.contains("end of file before message length reached")
                || t.contains("unexpected EOF") =>
            {
                "the connection was closed before the answer was complete".to_owned()
            }
            t if t.contains("connection closed before message completed") => {
                "the connection was closed without an answer".to_owned()
            }
            // What a server does that asks for a certificate and is shown none; TLS 1.3 tells only afterwards.
            t if t == "channel closed" || t.contains("CertificateRequired") => {
                "the connection was closed right after it was made; a registry that wants a client certificate does \
                 that, see `--registry-client-cert`"
                    .to_owned()
            }
            t if certificate => certificate_words(t),
            t => t.split(" (os error").next().unwrap_or(t).to_owned(),
        };
        Self {
            text: lower_first(&text),
            temporary: !certificate && !error.is_builder() && !error.is_redirect(),
            certificate,
        }
    }

    /// Whether trying again makes sense.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}

/// An HTTP status as `404 Not Found`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusText(pub u16);

impl fmt::Display for StatusText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = reqwest::StatusCode::from_u16(self.0)
            .ok()
            .and_then(|s| s.canonical_reason());
        match reason {
            Some(reason) => write!(f, "{} {reason}", self.0),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl RegistryError {
    /// The thing asked for does not exist, as far as we are allowed to see.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.0 == 404,
            // The last source is the registry itself, unless it is switched off.
            Self::AllSourcesFailed { errors, .. } => {
                errors.last().is_some_and(|t| t.error.is_not_found())
            }
            _ => false,
        }
    }

    /// Credentials are missing or were refused.
    pub fn is_unauthorized(&self) -> bool {
        match self {
            Self::Unauthorized { .. } => true,
            Self::AllSourcesFailed { errors, .. } => {
                errors.last().is_some_and(|t| t.error.is_unauthorized())
            }
            _ => false,
        }
    }

    /// The certificate of the host is not one that we trust.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.certificate,
            Self::AllSourcesFailed { errors, .. } => {
                errors.last().is_some_and(|t| t.error.is_untrusted())
            }
            _ => false,
        }
    }

    /// Nobody answered: no such host, no connection, or silence.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !source.certificate,
            Self::Timeout { .. } => true,
            Self::AllSourcesFailed { errors, .. } => {
                errors.last().is_some_and(|t| t.error.is_unreachable())
            }
            _ => false,
        }
    }

    /// The failure may pass by itself (I15), or another copy of the content may be a sound one.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => true,
            Self::AllSourcesFailed { errors, .. } => errors.iter().any(|t| t.error.is_retryable()),
            _ => self.is_transient(),
        }
    }

    /// The very same request may succeed in a moment (I15).
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status.0, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Connection { source, .. } => source.temporary,
            Self::Timeout { .. } => true,
            _ => false,
        }
    }

    /// When the registry wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same, with the reason why it was not tried again.
    pub(crate) fn not_waited_for(mut self, longest: Duration) -> Self {
        if let Self::Status { limit, .. } = &mut self {
            *limit = Some(longest);
        }
        self
    }

    /// The registry's own words about a status.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Status { message, .. } | Self::Unauthorized { message, .. } => message,
            _ => "",
        }
    }

    /// The HTTP status of the answer, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Unauthorized { status, .. } => Some(status.0),
            _ => None,
        }
    }

    pub(crate) fn no_platform(
        reference: String,
        wanted: &Platform,
        available: &[Platform],
    ) -> Self {
        Self::NoPlatform {
            reference,
            wanted: wanted.to_string(),
            available: available.iter().map(ToString::to_string).collect(),
        }
    }

    /// The text with its causes, for places that show one line.
    pub(crate) fn full(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

/// The names that rustls gives the faults of a certificate, in words. That a CA's own certificate is shown means in
/// practice that somebody made one for this server and signed it with itself.
fn certificate_words(text: &str) -> String {
    const WORDS: [(&str, &str); 3] = [
        ("Other(OtherError(CaUsedAsEndEntity))", "it is self-signed"),
        ("UnknownIssuer", "unknown issuer"),
        ("BadSignature", "its signature is wrong"),
    ];
    WORDS.iter().fold(text.to_owned(), |text, (name, words)| {
        text.replace(name, words)
    })
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        // `DNS error` stays, `Connection refused` does not.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

fn explain(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Why a registry that is busy is not asked again.
fn unwaited(asked: Option<Duration>, limit: Option<Duration>) -> String {
    match (asked, limit) {
        (Some(asked), Some(limit)) => format!(
            "; it wants to be asked again in {} s, and {} s is the longest wait (RETRY_AFTER_LIMIT)",
            asked.as_secs(),
            limit.as_secs()
        ),
        _ => String::new(),
    }
}

fn seconds(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// Platforms that a message names.
const MOST_SHOWN: usize = 20;

fn offers(available: &[String]) -> String {
    if available.is_empty() {
        "nothing".to_owned()
    } else {
        let shown = available.iter().take(MOST_SHOWN);
        let mut texts: Vec<String> = shown
            .map(|p| format!("`{}`", p.chars().take(100).collect::<String>()))
            .collect();
        if available.len() > MOST_SHOWN {
            texts.push(format!("and {} more", available.len() - MOST_SHOWN));
        }
        texts.join(", ")
    }
}

fn tries(errors: &[Try]) -> String {
    let lines = errors
        .iter()
        .map(|t| format!("`{}`: {}", t.source, t.error.full()));
    lines.collect::<Vec<_>>().join("; ")
}
