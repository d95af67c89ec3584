//! One place where cached steps are kept, and whether it is still worth asking. Each kind of place is a file below
//! this one.

mod folder;
mod repository;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use kiln_oci::{Descriptor, ReferenceError, Repository};
use kiln_registry::{Client, RegistryError};
use kiln_store::parcel::{Parcel, ParcelError};
use kiln_tarball_cache::{CacheError, ImageCache, Miss};

use super::entry::{EntryError, StoredStep};
use kiln_events::{Event, EventSink, NoteKind, WarningKind};
use kiln_shown::with_causes;
use kiln_store::origin::Located;

use folder::Folder;
use repository::InRepository;

/// Explanations are not worth more memory than this.
const MAX_CONFIG: u64 = 64 << 20;

/// A kind of place. What it says of an entry is believed as far as [`StoredStep::read`] goes; blobs are compared with
/// their digests by whoever reads them.
pub(crate) trait StepStore: Debug + Send + Sync {
    /// As messages name it.
    fn name(&self) -> String;

    /// The registry's client and repository, if it is one: layers can be mounted from there, or sent there early.
    fn repository(&self) -> Option<(&Client, &Repository)>;

    /// The folder, if it is one of this machine: it keeps near what came from afar, and notes of this machine.
    fn folder(&self) -> Option<&ImageCache>;

    /// Where the blob of an entry is; see [`StepBlob::locate`](kiln_store::origin::StepBlob::locate).
    fn locate<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>>;

    /// The manifest of an entry; `None` when there is none of that key.
    fn manifest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, PlaceError>>;

    /// The config of an entry.
    fn document<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Bytes, PlaceError>>;

    /// Stores an entry under its keys, so that it is visible only when whole (H28).
    fn put<'a>(
        &'a self,
        keys: &'a [String],
        entry: &'a Parcel,
    ) -> BoxFuture<'a, Result<(), PlaceError>>;

    /// Lets another key lead to an entry that is here.
    fn add_key<'a>(
        &'a self,
        key: &'a str,
        step: &'a StoredStep,
    ) -> BoxFuture<'a, Result<(), PlaceError>>;

    /// A document that stands for itself, such as a trail.
    fn note<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Bytes>>;

    /// Keeps such a document; `created` is RFC 3339.
    fn put_note<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        created: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaceError>>;
}

/// Why a place does not give or take an entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Volume(#[from] CacheError),
    #[error(transparent)]
    Layer(#[from] ParcelError),
    #[error(transparent)]
    Miss(#[from] Miss),
    #[error("entry {key}")]
    Entry {
        key: String,
        #[source]
        source: EntryError,
    },
    #[error(transparent)]
    Tag(#[from] ReferenceError),
    #[error("no answer within {} seconds", .0.as_secs())]
    Patience(Duration),
    #[error("a thread ended before it was done")]
    Lost,
}

impl PlaceError {
    /// Whether it is about one entry, and others of the same place may be as they should.
    fn is_of_entry(&self) -> bool {
        use RegistryError as R;
        let document = |error: &RegistryError| {
            matches!(
                error,
                R::DigestMismatch { .. }
                    | R::SizeMismatch { .. }
                    | R::Schema1 { .. }
                    | R::Malformed { .. }
                    | R::Unusable { .. }
                    | R::NoPlatform { .. }
            )
        };
        match self {
            PlaceError::Miss(_) | PlaceError::Entry { .. } => true,
            PlaceError::Registry(error) => document(error),
            _ => false,
        }
    }
}

impl PlaceError {
    fn is_denied(&self) -> bool {
        matches!(self, PlaceError::Registry(error) if error.is_unauthorized())
    }
}

/// A place, and whether it is still worth asking.
pub(crate) struct Place {
    steps: Box<dyn StepStore>,
    store: bool,
    /// Reading failed in a way that is the place's and not the entry's.
    unreadable: AtomicBool,
    unwritable: AtomicBool,
    /// An unusable entry was complained of; one line is enough for all of them.
    complained: AtomicBool,
    events: Arc<dyn EventSink>,
}

impl Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("steps", &self.steps)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Place {
    pub(crate) fn repository(
        client: &Client,
        repository: Repository,
        store: bool,
        events: Arc<dyn EventSink>,
    ) -> Place {
        let steps = InRepository::new(client.direct(), repository, Arc::clone(&events));
        Place::new(Box::new(steps), store, events)
    }

    /// The local volume, or a folder named by `oci:`.
    pub(crate) fn folder(cache: ImageCache, store: bool, events: Arc<dyn EventSink>) -> Place {
        let store = store && cache.is_writable();
        Place::new(Box::new(Folder::new(cache)), store, events)
    }

    pub(crate) fn new(steps: Box<dyn StepStore>, store: bool, events: Arc<dyn EventSink>) -> Place {
        Place {
            steps,
            store,
            unreadable: AtomicBool::new(false),
            unwritable: AtomicBool::new(false),
            complained: AtomicBool::new(false),
            events,
        }
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        self.steps.name()
    }

    /// Where the blob of an entry is.
    pub(crate) fn locate<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>> {
        self.steps.locate(descriptor, into)
    }

    pub(crate) fn is_local(&self) -> bool {
        self.steps.folder().is_some()
    }

    pub(crate) fn stores(&self) -> bool {
        self.store && !self.unwritable.load(Ordering::Relaxed)
    }

    /// The registry's client and repository, for blobs.
    pub(crate) fn as_repository(&self) -> Option<(&Client, &Repository)> {
        self.steps.repository()
    }

    /// The volume, for blobs and notes.
    pub(crate) fn as_folder(&self) -> Option<&ImageCache> {
        self.steps.folder()
    }

    /// Looks an entry up. What is wrong with it, or with the place, is said here and is a miss (H22).
    pub(crate) async fn find(&self, key: &str, oldest: Option<Timestamp>) -> Option<StoredStep> {
        if self.unreadable.load(Ordering::Relaxed) {
            return None;
        }
        let found = self.steps.manifest(key).await;
        match found {
            Ok(None) => None,
            Ok(Some(manifest)) => match StoredStep::read(&manifest, oldest) {
                Ok(step) => Some(step),
                Err(EntryError::Expired(_)) => None,
                Err(source) => {
                    let key = key.to_owned();
                    self.complain_of_entry(&PlaceError::Entry { key, source });
                    None
                }
            },
            Err(error) if error.is_of_entry() => {
                self.complain_of_entry(&error);
                None
            }
            Err(error) => {
                self.give_up_reading(&error);
                None
            }
        }
    }

    fn complain_of_entry(&self, error: &PlaceError) {
        let (name, why) = (self.name(), with_causes(error));
        let text =
            format!("an entry of the cache at {name} is not usable and will be made again: {why}");
        if self.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!("{text}");
        } else {
            self.warn(WarningKind::CacheEntry, text);
        }
    }

    /// A place that does not give is not given anything either: it would most likely not take it, and each try costs
    /// time. But some registries deny the reading of a repository that does not exist yet, and make it when something
    /// is pushed.
    fn give_up_reading(&self, error: &PlaceError) {
        if !error.is_denied() {
            self.unwritable.store(true, Ordering::Relaxed);
        }
        if !self.unreadable.swap(true, Ordering::Relaxed) {
            let (name, why) = (self.name(), with_causes(error));
            self.warn(
                WarningKind::CacheUnreadable,
                format!(
                    "the cache at {name} cannot be read, so the build goes on without it: {why}. \
                 Check its name, credentials and network, or leave it out"
                ),
            );
        }
    }

    /// Says once that storing does not work; the build is none the worse for it (H23).
    pub(crate) fn give_up_storing(&self, error: &PlaceError) {
        if !self.unwritable.swap(true, Ordering::Relaxed) {
            let (name, why) = (self.name(), with_causes(error));
            if self.unreadable.load(Ordering::Relaxed) {
                // Said already that it cannot be used.
                let text = format!("nothing is stored in the cache at {name} either: {why}");
                self.events.event(Event::note(NoteKind::Cache, text));
                return;
            }
            self.warn(WarningKind::CacheUnwritable, format!(
                "steps cannot be stored in the cache at {name}: {why}. The next build will run them again; \
                 `--no-push-cache` does not try"
            ));
        }
    }

    fn warn(&self, kind: WarningKind, text: String) {
        self.events.event(Event::warning(kind, text));
    }

    /// Stores an entry under its keys.
    pub(crate) async fn put(&self, keys: &[String], entry: &Parcel) -> Result<(), PlaceError> {
        self.steps.put(keys, entry).await
    }

    /// Lets another key lead to an entry that is here.
    pub(crate) async fn add_key(&self, key: &str, step: &StoredStep) -> Result<(), PlaceError> {
        self.steps.add_key(key, step).await
    }

    /// The config of an entry.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, PlaceError> {
        self.steps.document(descriptor).await
    }

    /// A document that stands for itself: a trail.
    pub(crate) async fn note(&self, name: &str) -> Option<Bytes> {
        if self.unreadable.load(Ordering::Relaxed) {
            return None;
        }
        self.steps.note(name).await
    }

    /// Keeps such a document.
    pub(crate) async fn put_note(
        &self,
        name: &str,
        bytes: &[u8],
        created: &str,
    ) -> Result<(), PlaceError> {
        self.steps.put_note(name, bytes, created).await
    }
}
