//! A docker config as a source of credentials: its entries, and the programs that it names (I3-I5).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::docker_config::DOCKER_CONFIG;
use super::entry::{Entry, canonical_host, keys_for, normal_key};
use super::source::{Asked, CredentialSource};
use super::{Found, program};
use crate::notice::RegistryNotice;
use crate::settings_error::SettingsError;

/// The part of a docker config that is about credentials.
#[derive(Default)]
pub(super) struct AuthFile {
    /// For messages: a path or the name of a variable.
    pub(super) origin: String,
    /// By normal key.
    auths: BTreeMap<String, Entry>,
    /// Program by host.
    programs: BTreeMap<String, String>,
    /// The program for all other hosts.
    store: Option<String>,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default, rename = "credHelpers")]
    programs: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFile")
            .field("origin", &self.origin)
            .field("auths", &self.auths.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl AuthFile {
    /// `None` if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, SettingsError> {
        match DOCKER_CONFIG.read(path) {
            Ok(text) => Self::parse(&text, &format!("`{}`", path.display())).map(Some),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(SettingsError::AuthUnreadable {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn parse(text: &[u8], origin: &str) -> Result<Self, SettingsError> {
        // An empty file is what `touch` and some secret mounts leave; docker reads it as no credentials.
        let text = if text.trim_ascii().is_empty() {
            b"{}"
        } else {
            text
        };
        let raw: RawFile =
            serde_json::from_slice(text).map_err(|error| SettingsError::AuthMalformed {
                origin: origin.to_owned(),
                // serde's own text can quote a value of the file, which may be a password.
                reason: format!("line {}, column {}", error.line(), error.column()),
            })?;
        let by_host = |table: Option<BTreeMap<String, String>>| {
            let table = table.unwrap_or_default().into_iter();
            table
                .map(|(host, program)| (normal_key(&host), program))
                .collect()
        };
        let auths = raw.auths.unwrap_or_default();
        Ok(Self {
            origin: origin.to_owned(),
            auths: auths
                .into_iter()
                .map(|(key, entry)| (normal_key(&key), entry))
                .collect(),
            programs: by_host(raw.programs),
            store: raw.store.filter(|program| !program.is_empty()),
        })
    }

    fn entry(&self, asked: &Asked<'_>) -> Option<Found> {
        for key in keys_for(asked.host, asked.path) {
            let Some(entry) = self.auths.get(&key) else {
                continue;
            };
            match entry.credential() {
                Ok(Some(credential)) => {
                    let origin = format!("{}, entry `{key}`", self.origin);
                    return Some(Found { credential, origin });
                }
                Ok(None) => {}
                Err(reason) => {
                    asked.notices.tell(RegistryNotice::CredentialsEntry {
                        key,
                        origin: self.origin.clone(),
                        reason: reason.to_string(),
                    });
                }
            }
        }
        None
    }

    async fn ask_program(&self, asked: &Asked<'_>) -> Option<Found> {
        let host = canonical_host(asked.host);
        let programs = self.programs.get(&host).into_iter().chain(&self.store);
        for name in programs {
            let found = program::ask(name, asked).await;
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl CredentialSource for AuthFile {
    /// An entry of its own, else what the programs say that it names.
    fn find<'a>(&'a self, asked: &'a Asked<'_>) -> BoxFuture<'a, Option<Found>> {
        Box::pin(async move {
            match self.entry(asked) {
                Some(found) => Some(found),
                None => self.ask_program(asked).await,
            }
        })
    }
}
