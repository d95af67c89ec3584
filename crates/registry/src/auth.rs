//! Who we are to which registry: credentials from files, programs and variables, and the tokens they buy.

mod challenge;
mod config;
mod docker_config;
mod entry;
mod file;
mod gitlab;
mod helper;
mod program;
mod source;
mod token;
mod variables;

use std::fmt;

pub(crate) use challenge::{Challenge, parse_challenges};
pub use config::AuthConfig;
pub use docker_config::{DockerConfig, DockerConfigError};
pub(crate) use entry::canonical_host;
pub use helper::CredentialHelper;
pub(crate) use token::{Scope, Token, Tokens, secret_header};

/// What identifies us; printed by its kind only (I39).
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Anonymous,
    /// Sent as Basic, or exchanged for a token.
    Password {
        user: String,
        password: String,
    },
    /// A refresh token, exchanged for access tokens.
    Identity(String),
    /// A bearer token that is sent as it is.
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(..)",
            Self::Identity(_) => "Identity(..)",
            Self::Bearer(_) => "Bearer(..)",
        })
    }
}

/// A credential with the place it was found, for error messages (I10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) credential: Credential,
    /// E.g. `` `/root/.docker/config.json`, entry `ghcr.io` ``.
    pub(crate) origin: String,
}

impl Found {
    /// What to add to the message about a refused credential (I10).
    pub(crate) fn hint(&self) -> String {
        match &self.credential {
            Credential::Anonymous => self.origin.clone(),
            _ => format!("credentials came from {}", self.origin),
        }
    }
}
