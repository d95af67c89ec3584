//! Authorization of requests: what each host asks for, credentials, and tokens by scope (I8, I9).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_oci::Repository;
use reqwest::header::HeaderValue;

use super::{AuthConfig, Challenge, Found};
use crate::inflight::Inflight;

/// A token is given up this long before it expires, so that it survives the request it is put on.
const SLACK: Duration = Duration::from_secs(10);
/// What a token server means that does not say how long its token lives.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// What a request needs to be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    repo: Repository,
    push: bool,
    /// Paths to mount from.
    sources: BTreeSet<String>,
}

impl Scope {
    pub(crate) fn pull(repo: &Repository) -> Self {
        Self {
            repo: repo.clone(),
            push: false,
            sources: BTreeSet::new(),
        }
    }

    pub(crate) fn push(repo: &Repository) -> Self {
        Self {
            push: true,
            ..Self::pull(repo)
        }
    }

    /// Pushing, and reading the repository at `path` to mount from it.
    pub(crate) fn mount(repo: &Repository, path: &str) -> Self {
        Self {
            sources: BTreeSet::from([path.to_owned()]),
            ..Self::push(repo)
        }
    }

    /// As the token server wants it, one `scope` parameter each.
    pub(crate) fn parameters(&self) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let own = std::iter::once(format!("repository:{}:{actions}", self.repo.path));
        own.chain(
            self.sources
                .iter()
                .map(|path| format!("repository:{path}:pull")),
        )
        .collect()
    }
}

/// A bearer token and when to stop using it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) stale: Instant,
}

impl Token {
    pub(crate) fn new(value: String, life: Option<u64>) -> Self {
        let life = life
            .filter(|seconds| *seconds > 0)
            .map_or(DEFAULT_LIFE, Duration::from_secs);
        // A token that lives for less than the slack still serves once.
        let usable = life.saturating_sub(SLACK).max(life / 2);
        let now = Instant::now();
        Self {
            value,
            stale: now.checked_add(usable).unwrap_or(now),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Everything known about authorization, shared by all requests of a client.
pub(crate) struct Tokens {
    auth: AuthConfig,
    /// By host; absent until the host asked.
    challenges: Mutex<HashMap<String, Challenge>>,
    credentials: Inflight<(String, String), Found>,
    slots: Mutex<HashMap<Scope, Slot>>,
}

impl Tokens {
    pub(crate) fn new(auth: AuthConfig) -> Self {
        Self {
            auth,
            challenges: Mutex::default(),
            credentials: Inflight::default(),
            slots: Mutex::default(),
        }
    }

    /// The credential for a repository; helpers are asked once.
    pub(crate) async fn credential(&self, repo: &Repository) -> Found {
        let key = (repo.registry.clone(), repo.path.clone());
        let find = async {
            Ok::<_, std::convert::Infallible>(self.auth.find(&repo.registry, &repo.path).await)
        };
        match self.credentials.run(key, find).await {
            Ok((found, _)) => found,
            Err(never) => match never {},
        }
    }

    /// What the host asked for last.
    pub(crate) fn challenge(&self, host: &str) -> Option<Challenge> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .cloned()
    }

    /// Notes what a host asks for.
    pub(crate) fn set_challenge(&self, host: &str, challenge: Challenge) {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.to_owned(), challenge);
    }

    /// The place of the token for a scope; locked while one is being fetched.
    pub(crate) fn slot(&self, scope: &Scope) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }
}

/// A header that carries a secret.
pub(crate) fn secret_header(value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I9
    #[test]
    fn tokens_are_used_until_shortly_before_their_end() {
        let rows = [
            (None, Duration::from_secs(50)),
            (Some(0), Duration::from_secs(50)),
            (Some(300), Duration::from_secs(290)),
            // One that lives for less than that serves for half of its life.
            (Some(4), Duration::from_secs(2)),
        ];
        for (life, expected) in rows {
            let before = Instant::now();
            let stale = Token::new("t".to_owned(), life).stale;
            let after = Instant::now();
            assert!(
                before + expected <= stale && stale <= after + expected,
                "{life:?}"
            );
        }
    }
}
