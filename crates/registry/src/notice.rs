//! What a client notices that is no error: it goes on in another way.

use std::fmt;

/// Something that whoever uses a client should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryNotice {
    /// The file with credentials cannot be read; those of the variable are all there are.
    CredentialsFile {
        /// What is wrong with the file.
        reason: String,
        /// The variable.
        variable: &'static str,
    },
    /// An entry of a file with credentials cannot be used.
    CredentialsEntry {
        /// The entry.
        key: String,
        /// The file or variable.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential helper failed.
    CredentialHelper {
        /// Its name, without `docker-credential-`.
        program: String,
        /// The host that it was asked for.
        host: String,
        /// Why it failed.
        reason: String,
    },
    /// A proxy variable is no URL. Its value is not told: addresses of proxies often carry a password.
    Proxy,
    /// No certificate could be read from where the variables say.
    Certificates,
    /// A mirror or map did not serve an image; the next source is asked.
    Source {
        /// The image.
        reference: String,
        /// Who did not serve it.
        repository: String,
        /// Why not.
        reason: String,
    },
    /// A tag cannot be moved, and holds what was to be pushed already.
    TagHolds {
        /// The image with its tag.
        reference: String,
    },
    /// A tag cannot be moved and holds another image, which the settings say to ignore.
    TagKept {
        /// The image with its tag.
        reference: String,
    },
}

impl fmt::Display for RegistryNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsFile { reason, variable } => {
                write!(f, "{reason}; there is only `{variable}`")
            }
            Self::CredentialsEntry {
                key,
                origin,
                reason,
            } => write!(f, "entry `{key}` in {origin} is not usable: {reason}"),
            Self::CredentialHelper {
                program,
                host,
                reason,
            } => write!(
                f,
                "credential helper `docker-credential-{program}` failed for `{host}`: {reason}"
            ),
            Self::Proxy => f.write_str("a proxy variable is set but is not a URL; it is ignored"),
            Self::Certificates => f.write_str(
                "no certificate could be read from SSL_CERT_FILE or SSL_CERT_DIR; https will not work",
            ),
            Self::Source {
                reference,
                repository,
                reason,
            } => write!(f, "`{reference}` was not served by `{repository}`: {reason}"),
            Self::TagHolds { reference } => write!(
                f,
                "tag `{reference}` is immutable and holds this image already"
            ),
            Self::TagKept { reference } => write!(
                f,
                "tag `{reference}` is immutable and holds another image; not pushed"
            ),
        }
    }
}
