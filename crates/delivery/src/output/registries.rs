//! Repositories of registries: all blobs everywhere, then what is below the top, then the tags (conformance I29-I33).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all, try_join_all};
use kiln_events::{Event, EventSink, Subject, WarningKind};
use kiln_oci::{Reference, Repository};
use kiln_registry::{Client, RegistryError};
use kiln_store::parcel::{Parcel, ParcelError};
use kiln_store::send::{SendError, Told, send_below, send_blobs, send_document};

use super::{Output, OutputError};

/// An image cannot be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// We may not push there, found out before building (conformance I29).
    #[error("cannot push to `{repository}`")]
    Permission {
        /// The repository.
        repository: String,
        /// What the registry said.
        #[source]
        source: RegistryError,
    },
    /// The registry did not take it.
    #[error("cannot push `{reference}`")]
    Refused {
        /// The destination.
        reference: Reference,
        /// What the registry said.
        #[source]
        source: Arc<RegistryError>,
    },
    /// A blob cannot be had, or is damaged.
    #[error(transparent)]
    Blob(#[from] ParcelError),
}

impl PushError {
    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            PushError::Permission { source, .. } if source.is_unauthorized() => Some(
                "check the credentials in `config.json`, or pass `--skip-push-permission-check`"
                    .to_owned(),
            ),
            PushError::Permission { source, .. } => push_hint(source),
            PushError::Refused { source, .. } => push_hint(source),
            PushError::Blob(_) => None,
        }
    }
}

fn push_hint(error: &RegistryError) -> Option<String> {
    let text = if error.is_unauthorized() {
        "check the credentials in `config.json`; `executor login` stores some"
    } else if error.is_unreachable() {
        "check the registry's name and the network"
    } else {
        return trust_hint(error);
    };
    Some(text.to_owned())
}

/// What to try when the certificate of a registry is not trusted.
pub fn trust_hint(error: &RegistryError) -> Option<String> {
    error.is_untrusted().then(|| {
        "trust the certificate, or the one of who issued it, with `--registry-certificate HOST=FILE`, or any with \
         `--skip-tls-verify-registry HOST`"
            .to_owned()
    })
}

/// Every destination of a push.
pub struct Registries {
    client: Client,
    destinations: Vec<Reference>,
    /// Whether to ask beforehand.
    ask: bool,
    events: Arc<dyn EventSink>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries")
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}

impl Registries {
    /// Pushes under all of these names. With `ask`, each registry is asked before the build whether we may (I29).
    pub fn new(
        client: Client,
        destinations: Vec<Reference>,
        ask: bool,
        events: Arc<dyn EventSink>,
    ) -> Registries {
        Registries {
            client,
            destinations,
            ask,
            events,
        }
    }

    fn repositories(&self) -> BTreeSet<Repository> {
        self.destinations.iter().map(Reference::repo).collect()
    }

    fn tags<'a>(&'a self, repository: &'a Repository) -> impl Iterator<Item = &'a Reference> {
        self.destinations
            .iter()
            .filter(move |destination| destination.repo() == *repository)
    }

    async fn may_push(&self) -> Result<(), PushError> {
        let repositories = self.repositories();
        let checks = repositories.iter().map(|repository| async move {
            let asked = self.client.check_push(repository).await;
            asked.map_err(|source| PushError::Permission {
                repository: repository.to_string(),
                source,
            })
        });
        try_join_all(checks).await?;
        Ok(())
    }

    /// Pushes to every destination. A registry that refuses does not keep the others from getting the image; a blob that
    /// cannot be had does, and then no registry has got a manifest. The first failure is the one returned.
    async fn push(&self, parcel: &Parcel) -> Result<(), PushError> {
        let mut failures = Vec::new();
        let mut ready = Vec::new();
        let all = self.repositories();
        let registries = by_registry(&all);
        let sent = registries.iter().map(|one| self.fill(parcel, one));
        for outcomes in join_all(sent).await {
            for (repository, outcome) in outcomes {
                match outcome {
                    Ok(()) => ready.push(repository),
                    Err(SendError::Ours(error)) => return Err(error.into()),
                    Err(SendError::Theirs(source)) => {
                        let first = self.tags(repository).next();
                        failures.extend(first.map(|tag| refused(tag, source)));
                    }
                }
            }
        }
        let named = ready.iter().map(|repository| self.name(parcel, repository));
        failures.extend(join_all(named).await.into_iter().filter_map(Result::err));
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else {
            return Ok(());
        };
        for other in failures {
            let text = kiln_shown::with_causes(&other);
            self.events
                .event(Event::warning(WarningKind::Destination, text));
        }
        Err(first)
    }

    /// Sends the blobs to the repositories of one registry, one after the other: what the first has, the second mounts.
    async fn fill<'r>(
        &self,
        parcel: &Parcel,
        repositories: &[&'r Repository],
    ) -> Vec<(&'r Repository, Result<(), SendError>)> {
        let mut filled: Vec<Repository> = Vec::new();
        let mut outcomes = Vec::with_capacity(repositories.len());
        for repository in repositories {
            let told = Told {
                events: &self.events,
                subject: self.tags(repository).next().map(named),
            };
            let outcome = send_blobs(&self.client, parcel, repository, &filled, &told).await;
            if outcome.is_ok() {
                filled.push((*repository).clone());
            }
            outcomes.push((*repository, outcome));
        }
        outcomes
    }

    /// Sends the documents, once all blobs are there.
    async fn name(&self, parcel: &Parcel, repository: &Repository) -> Result<(), PushError> {
        let mut tags = self.tags(repository).peekable();
        if let Some(first) = tags.peek() {
            let below = send_below(&self.client, parcel, repository).await;
            below.map_err(|source| refused(first, source))?;
        }
        for tag in tags {
            let sent = send_document(&self.client, &parcel.top, tag).await;
            sent.map_err(|source| refused(tag, source))?;
            self.events.event(Event::Pushed {
                reference: tag.clone(),
                digest: parcel.top.digest,
            });
        }
        Ok(())
    }
}

impl Output for Registries {
    fn check(&self) -> BoxFuture<'_, Result<(), OutputError>> {
        Box::pin(async move {
            if self.ask {
                self.may_push().await?;
            }
            Ok(())
        })
    }

    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<(), OutputError>> {
        Box::pin(async move { Ok(self.push(parcel).await?) })
    }
}

fn by_registry(repositories: &BTreeSet<Repository>) -> Vec<Vec<&Repository>> {
    let mut registries: BTreeMap<&str, Vec<&Repository>> = BTreeMap::new();
    for repository in repositories {
        registries
            .entry(&repository.registry)
            .or_default()
            .push(repository);
    }
    registries.into_values().collect()
}

fn named(reference: &Reference) -> Subject {
    Subject::Image(reference.familiar())
}

fn refused(reference: &Reference, source: RegistryError) -> PushError {
    PushError::Refused {
        reference: reference.clone(),
        source: Arc::new(source),
    }
}
