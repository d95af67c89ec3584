//! Where a credential comes from: the seam for more sources. Each is a file beside this one.

use std::ffi::OsString;
use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use kiln_notice::Listener;

use super::Found;
use crate::notice::RegistryNotice;

/// A source of credentials. It is asked once for a repository, and again when what it gave has run out.
pub(crate) trait CredentialSource: Debug + Send + Sync {
    /// The credential for a repository, if this source has one. What is wrong with the source is told, and then the next
    /// one is asked.
    fn find<'a>(&'a self, asked: &'a Asked<'_>) -> BoxFuture<'a, Option<Found>>;
}

/// What a credential is wanted for, and what a source may use.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// The registry, with its port if it has one.
    pub(crate) host: &'a str,
    /// The path of the repository.
    pub(crate) path: &'a str,
    /// The environment.
    pub(crate) variables: &'a Variables,
    /// Told what is wrong with a source.
    pub(crate) notices: &'a Listener<RegistryNotice>,
}

/// How variables are looked up.
type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The environment as sources see it: the process's, unless somebody chose another.
#[derive(Clone, Default)]
pub(crate) struct Variables(Option<Arc<Lookup>>);

impl Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

impl Variables {
    /// Another environment than the process's.
    pub(crate) fn of(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(lookup)))
    }

    /// A variable that is set to some text.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(lookup) => lookup(name),
            None => std::env::var_os(name),
        };
        value
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.is_empty())
    }

    /// Where programs are searched, if somebody chose the environment.
    pub(crate) fn search_path(&self) -> Option<String> {
        self.0.as_ref().and_then(|_| self.get("PATH"))
    }
}
