//! Settings that cannot be used.

use std::path::PathBuf;

/// A setting that cannot be used; found when the client is made, not at the first request (I13).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A certificate or key file could not be read.
    #[error("cannot read the {what} `{path}` given for registry `{host}`", path = path.display())]
    Unreadable {
        /// `certificate`, `client certificate` or `client key`.
        what: &'static str,
        /// The registry it was given for.
        host: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key file holds something else.
    #[error("the {what} `{path}` given for registry `{host}` is not usable: {reason}", path = path.display())]
    Malformed {
        /// `certificate`, `client certificate` or `client key`.
        what: &'static str,
        /// The registry it was given for.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A mirror or map does not read as `host[:port][/path]`.
    #[error("`{value}` is not a registry (expected `host[:port][/path]`)")]
    BadMirror {
        /// As it was given.
        value: String,
    },
    /// The HTTP client refused its configuration.
    #[error("cannot set up the http client: {reason}")]
    Http {
        /// What it said.
        reason: String,
    },
    /// A file with credentials could not be read.
    #[error("cannot read credentials from `{path}`", path = path.display())]
    AuthUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Credentials are not the JSON that docker writes; the content is never quoted.
    #[error("credentials in {origin} are malformed: {reason}")]
    AuthMalformed {
        /// The file or variable.
        origin: String,
        /// What is wrong, with line and column but without any value.
        reason: String,
    },
}
