//! What a client may be told: which hosts to trust how, where else to look, how often to try again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kiln_notice::Listener;

use crate::auth::AuthConfig;
use crate::notice::RegistryNotice;
use crate::pace::Floor;

/// A broken transfer that was resumed has to bring so much before its failures are counted anew.
pub const RESUME_PROGRESS: u64 = 1 << 20;
/// The longest wait that a `Retry-After` header can ask for; a longer one ends the request.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_mins(2);
/// How long a connection may take to come up: name, TCP, proxy and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Checked settings of one [`Client`](crate::Client); hosts are written `host` or `host:port`.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Pull over plain http from any registry that does not speak https (I12).
    pub insecure_pull: bool,
    /// Push over plain http to any registry that does not speak https (I12).
    pub insecure_push: bool,
    /// Hosts for which plain http is allowed in both directions (I12).
    pub insecure_hosts: Vec<String>,
    /// Accept any certificate when pulling (I13).
    pub skip_tls_verify_pull: bool,
    /// Accept any certificate when pushing (I13).
    pub skip_tls_verify_push: bool,
    /// Hosts whose certificates are accepted unseen in both directions (I13).
    pub skip_tls_verify_hosts: Vec<String>,
    /// PEM files with roots that are trusted for one host, besides those of the system (I13).
    pub certificates: Vec<(String, PathBuf)>,
    /// Client certificate and key, both PEM, shown to one host (I13).
    pub client_certificates: Vec<(String, PathBuf, PathBuf)>,
    /// `host[/path]` tried in order before docker.io (I19).
    pub mirrors: Vec<String>,
    /// Registry host -> `host[/prefix]` tried in order before the registry itself (I20).
    pub maps: BTreeMap<String, Vec<String>>,
    /// Do not fall back to the registry itself when all its mirrors and maps failed (I19, I20).
    pub skip_default_fallback: bool,
    /// How often and how patiently a failed request is tried again.
    pub retries: Retries,
    /// The `User-Agent` header; should name tool and version (I18).
    pub user_agent: String,
    /// Where credentials come from.
    pub auth: AuthConfig,
    /// A transfer that moves no byte for this long is given up (I17).
    pub inactivity_timeout: Duration,
    /// A transfer that brings less than this is given up (I17).
    pub floor: Floor,
    /// See [`RESUME_PROGRESS`].
    pub resume_progress: u64,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// Blobs moved at the same time, pulls and pushes together (I33); zero counts as one.
    pub concurrency: usize,
    /// Speak HTTP/1.1 only, for registries that are slow or broken with HTTP/2 (I35).
    pub disable_http2: bool,
    /// Take the wordings with which registries refuse to overwrite a tag as success (I34).
    pub ignore_immutable_tag_errors: bool,
    /// Told what is noticed and is no error.
    pub notices: Listener<RegistryNotice>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            insecure_pull: false,
            insecure_push: false,
            insecure_hosts: Vec::new(),
            skip_tls_verify_pull: false,
            skip_tls_verify_push: false,
            skip_tls_verify_hosts: Vec::new(),
            certificates: Vec::new(),
            client_certificates: Vec::new(),
            mirrors: Vec::new(),
            maps: BTreeMap::new(),
            skip_default_fallback: false,
            retries: Retries::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth: AuthConfig::default(),
            inactivity_timeout: Duration::from_secs(30),
            floor: Floor::default(),
            resume_progress: RESUME_PROGRESS,
            connect_timeout: CONNECT_TIMEOUT,
            concurrency: 8,
            disable_http2: false,
            ignore_immutable_tag_errors: false,
            notices: Listener::default(),
        }
    }
}

/// How often something is tried again, and how long is waited before.
///
/// Two circles: every single request is repeated `request` times on failures that pass by themselves
/// (I15); around that, a whole blob or manifest transfer is repeated `push` or `download` times (I16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Extra tries of a push as asked for with `--push-retry` (I16).
    pub push: u32,
    /// Extra tries of a pull as asked for with `--image-download-retry` (I16).
    pub download: u32,
    /// Wait before the first extra try of a push or pull; doubles each time.
    pub delay: Duration,
    /// Extra tries of one request or broken transfer (I15).
    pub request: u32,
    /// Wait before the first of these; doubles each time.
    pub request_delay: Duration,
    /// The longest wait that a `Retry-After` header can ask for; there is no further try after a longer one.
    pub retry_after_cap: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            push: 0,
            download: 0,
            delay: Duration::from_secs(1),
            request: 3,
            request_delay: Duration::from_millis(200),
            retry_after_cap: RETRY_AFTER_LIMIT,
        }
    }
}
