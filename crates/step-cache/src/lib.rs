//! The cache of steps: where they are looked for, how a hit is used, and how what was executed is kept.
//!
//! A build derives the keys of all its steps (see the engine), asks all places for all of them at once, and
//! executes what is missing. Places are the local volume, then folders and repositories in the order they were
//! named; a hit in any of them is as good as another. Whatever is wrong with a place or an entry is one warning and
//! a miss: no build fails because of its cache.

mod entry;
mod files;
mod place;
mod shared;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use kiln_cache_key::{CacheKey, Parts, Trail};
use kiln_oci::{Descriptor, MediaType, Platform, Repository};
use kiln_registry::Client;
use kiln_tarball_cache::{Access, CacheError, ImageCache};

pub use files::ContentDigests;
pub(crate) use place::Place;
pub use shared::{Given, SharedSteps};
pub use why::{Missed, Reason};

pub use entry::StoredStep;
use entry::{NewEntry, read_bounded, stored_parts};

use kiln_events::{Event, EventSink, WarningKind};
use kiln_options::{BuildSettings, CachePlace};
use kiln_store::layers::{Described, Layer, Packed};
use kiln_store::noticed::of_volumes;
use kiln_store::origin::{Located, Origin, StepBlob};
use kiln_store::parcel::Blob;
use kiln_work::interrupt::Interrupt;
use kiln_work::workers::Workers;

/// Entries that turned out to be unusable after they were hits: the number of the place, and the key.
type Broken = BTreeSet<(usize, CacheKey)>;

/// What is not asked any more.
#[derive(Debug, Clone, Default)]
pub struct Distrusted {
    entries: Broken,
    /// Places that gave a broken entry more than once: each costs a new beginning, and there will be more.
    places: BTreeSet<usize>,
}

impl Distrusted {
    fn covers(&self, (place, key): (usize, CacheKey)) -> bool {
        self.places.contains(&place) || self.entries.contains(&(place, key))
    }
}

/// All places of a build.
pub struct LayerCache {
    places: Vec<Arc<Place>>,
    /// The earliest time of making that is accepted (H25).
    oldest: Option<Timestamp>,
    /// Whether the image can hold zstd layers.
    zstd: bool,
    /// Which kinds of steps are read and stored (H30).
    pub copy: bool,
    /// The same for RUN.
    pub run: bool,
    distrusted: Distrusted,
    /// What this build found broken.
    broken: Arc<Mutex<Broken>>,
    /// Digests of the context's files.
    pub digests: ContentDigests,
    /// Equal steps of different stages.
    pub shared: SharedSteps,
    /// The folder of `--cache-dir`.
    volume: Option<PathBuf>,
    digests_note: String,
    trail_note: String,
    workers: Workers,
    /// Steps on their way into the cache.
    pending: Pending,
    interrupt: Interrupt,
    runtime: tokio::runtime::Handle,
}

/// Counts what is under way.
#[derive(Debug, Clone, Default)]
struct Pending(Arc<tokio::sync::watch::Sender<usize>>);

/// One thing under way; dropped when it is done.
#[derive(Debug)]
pub struct UnderWay(Pending);

impl Pending {
    fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

impl std::fmt::Debug for LayerCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerCache")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

/// A step that need not be executed.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The key that was asked for.
    pub key: CacheKey,
    /// What the entry says.
    pub step: StoredStep,
    pub(crate) origin: Arc<StepOrigin>,
}

/// Where a cached layer comes from, and what to do if it is not what it should be.
#[derive(Debug)]
pub(crate) struct StepOrigin {
    place: Arc<Place>,
    step: StoredStep,
    number: usize,
    key: CacheKey,
    broken: Arc<Mutex<Broken>>,
    /// Keeps near what was far.
    cache: Weak<LayerCache>,
}

impl StepBlob for StepOrigin {
    fn repository(&self) -> Option<&Repository> {
        self.place.as_repository().map(|(_, repository)| repository)
    }

    fn locate<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        into: &'a Path,
    ) -> BoxFuture<'a, Located<'a>> {
        self.place.locate(descriptor, into)
    }

    fn fetched(&self, file: &Path) {
        if let Some(cache) = self.cache.upgrade() {
            cache.keep_near(self, file);
        }
    }

    fn distrust(&self) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.insert((self.number, self.key));
    }
}

impl Hit {
    /// What people call the place that has it.
    pub fn place_name(&self) -> String {
        self.origin.place.name()
    }

    /// The layer as one of an image; `None` when the step made none.
    pub fn layer(&self) -> Option<Layer> {
        let (descriptor, diff_id) = self.step.layer.clone()?;
        let origin = Origin::Step(Arc::clone(&self.origin) as Arc<dyn StepBlob>);
        Some(Layer::base(descriptor, diff_id, origin))
    }
}

/// A step that was executed, to be kept.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The key, and others that lead to the same entry.
    pub keys: Vec<CacheKey>,
    /// What the key is made of.
    pub parts: Parts,
    /// The key of the step before.
    pub parent: Option<CacheKey>,
    /// The key of what the layers are, if it is known.
    pub content_key: Option<CacheKey>,
    /// The instruction as it is written.
    pub instruction: String,
    /// Time of its history entry, RFC 3339.
    pub created: String,
    /// What it made; `None` for nothing.
    pub layer: Option<Layer>,
}

impl LayerCache {
    /// Opens the places that the settings name; `None` without `--cache`.
    pub fn open(
        settings: &BuildSettings,
        client: &Client,
        events: &Arc<dyn EventSink>,
        workers: &Workers,
        interrupt: &Interrupt,
        distrusted: Distrusted,
        zstd: bool,
    ) -> Option<LayerCache> {
        let layers = settings.cache.layers.as_ref()?;
        let mut places = Vec::new();
        let volume = settings.cache.dir.as_ref().filter(|dir| dir.is_dir());
        let folders = volume.map(|dir| (CachePlace::Folder(dir.clone()), layers.store));
        let named = layers
            .places
            .iter()
            .map(|place| (place.clone(), layers.store));
        let read_only = layers.from.iter().map(|place| (place.clone(), false));
        for (place, store) in folders.into_iter().chain(named).chain(read_only) {
            places.extend(open_place(
                &place,
                store,
                volume.map(PathBuf::as_path),
                client,
                events,
            ));
        }
        // What is near is asked first.
        places.sort_by_key(|place| !place.is_local());
        let digests_note = name_of("context", [settings.context_dir.display().to_string()]);
        let mut folders = places
            .iter()
            .filter_map(|place| place.as_folder())
            .peekable();
        let digests = folders.peek().is_some().then(|| {
            let note = folders.find_map(|folder| folder.read_note(&digests_note));
            ContentDigests::kept(note.as_deref())
        });
        Some(LayerCache {
            places,
            // A longer life than time has been counted for is one without end.
            oldest: Timestamp::now().checked_sub(settings.cache.ttl).ok(),
            zstd,
            copy: layers.copy,
            run: layers.run,
            distrusted,
            broken: Arc::default(),
            digests: digests.unwrap_or_default(),
            shared: SharedSteps::default(),
            volume: settings.cache.dir.clone(),
            digests_note,
            trail_note: trail_name(settings),
            workers: workers.clone(),
            pending: Pending::default(),
            interrupt: interrupt.clone(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Adds to `distrusted` what turned out to be broken in this build, and gives the names of the places that had it;
    /// none when nothing did. What a folder has of it is put out of the way, so that it can be stored again.
    pub fn learn(&self, distrusted: &mut Distrusted) -> BTreeSet<String> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let seen: BTreeSet<usize> = distrusted.entries.iter().map(|(place, _)| *place).collect();
        let mut names = BTreeSet::new();
        for (number, key) in broken.iter().copied() {
            let place = &self.places[number];
            names.insert(place.name());
            if seen.contains(&number) {
                distrusted.places.insert(number);
            }
            distrusted.entries.insert((number, key));
            if let Some(cache) = place.as_folder().filter(|_| place.stores()) {
                set_aside_layer(cache, &key);
            }
        }
        names
    }

    /// The local volume, if it can be written to.
    pub fn volume(&self) -> Option<&ImageCache> {
        let mut storing = self.places.iter().filter(|place| place.stores());
        storing.find_map(|place| {
            place
                .as_folder()
                .filter(|cache| Some(cache.dir()) == self.volume.as_deref())
        })
    }

    /// The repository that new layers go to first.
    pub fn first_repository(&self) -> Option<(Client, Repository)> {
        let mut storing = self.places.iter().filter(|place| place.stores());
        storing.find_map(|place| {
            let (client, repository) = place.as_repository()?;
            Some((client.clone(), repository.clone()))
        })
    }

    /// Repositories that may hold layers of ours, for mounts.
    pub fn repositories(&self) -> Vec<Repository> {
        let all = self.places.iter().filter_map(|place| place.as_repository());
        all.map(|(_, repository)| repository.clone()).collect()
    }

    /// Looks all keys up at once: near places first, and what they do not have in all repositories at the same
    /// time.
    pub async fn probe(
        self: &Arc<Self>,
        keys: impl IntoIterator<Item = CacheKey>,
    ) -> BTreeMap<CacheKey, Hit> {
        let mut wanted: BTreeSet<CacheKey> = keys.into_iter().collect();
        let mut hits = BTreeMap::new();
        let (near, far): (Vec<usize>, Vec<usize>) =
            (0..self.places.len()).partition(|number| self.places[*number].is_local());
        for numbers in [near, far] {
            let questions = numbers
                .iter()
                .flat_map(|number| wanted.iter().map(move |key| (*number, *key)))
                .filter(|question| !self.distrusted.covers(*question));
            let answers = questions.map(|(number, key)| async move {
                let found = self.places[number]
                    .find(&key.to_string(), self.oldest)
                    .await;
                let found = found.filter(|step| self.zstd || !step.is_zstd());
                found.map(|step| self.hit(number, key, step))
            });
            // In the order of the places, so that the first that has it serves.
            for hit in join_all(answers).await.into_iter().flatten() {
                hits.entry(hit.key).or_insert(hit);
            }
            wanted.retain(|key| !hits.contains_key(key));
        }
        hits
    }

    fn hit(self: &Arc<Self>, number: usize, key: CacheKey, step: StoredStep) -> Hit {
        let origin = StepOrigin {
            place: Arc::clone(&self.places[number]),
            step: step.clone(),
            number,
            key,
            broken: Arc::clone(&self.broken),
            cache: Arc::downgrade(self),
        };
        Hit {
            key,
            step,
            origin: Arc::new(origin),
        }
    }

    /// Like [`probe`](Self::probe), from a thread that may block.
    pub fn probe_blocking(
        self: &Arc<Self>,
        keys: impl IntoIterator<Item = CacheKey>,
    ) -> BTreeMap<CacheKey, Hit> {
        self.runtime.block_on(self.probe(keys))
    }

    /// Keeps an executed step, beside the build: the layer may still be being packed.
    pub fn keep(self: &Arc<Self>, executed: Executed, platform: &Platform) {
        if !self.places.iter().any(|place| place.stores()) {
            return;
        }
        let (cache, platform) = (Arc::clone(self), platform.clone());
        let under_way = self.pending.begin();
        let started = self.workers.start("kiln-cache", move || {
            cache.store(&executed, &platform);
            drop(under_way);
        });
        if let Err(error) = started {
            tracing::debug!(%error, "no thread to store a step");
        }
    }

    fn store(&self, executed: &Executed, platform: &Platform) {
        let layer = match executed.layer.as_ref().map(Layer::describe) {
            None => None,
            Some(Ok(Described::Own(packed))) => Some((stored_layer(&packed), packed.info.diff_id)),
            // It is an entry already; or the build fails for it, and says so.
            Some(Ok(Described::Base(..)) | Err(_)) => return,
        };
        let Some(key) = executed.keys.first() else {
            return;
        };
        let descriptor = layer.as_ref().map(|(blob, _)| blob.descriptor.clone());
        let entry = NewEntry {
            key: *key,
            parts: &executed.parts,
            parent: executed.parent,
            content_key: executed.content_key,
            instruction: &executed.instruction,
            platform,
            created: executed.created.clone(),
            layer: descriptor
                .as_ref()
                .zip(layer.as_ref().map(|(_, diff_id)| *diff_id)),
        };
        let entry = entry.parcel(layer.map(|(blob, _)| blob));
        let keys: Vec<String> = executed.keys.iter().map(ToString::to_string).collect();
        for place in self.places.iter().filter(|place| place.stores()) {
            let put = self.interrupt.unless_raised(place.put(&keys, &entry));
            match self.runtime.block_on(put) {
                None => return,
                Some(Ok(())) => tracing::debug!(place = place.name(), key = keys[0], "stored"),
                Some(Err(error)) => place.give_up_storing(&error),
            }
        }
    }

    /// Something that [`stored`](Self::stored) waits for as well.
    pub fn begin(&self) -> UnderWay {
        self.pending.begin()
    }

    /// Waits until all steps that were executed so far are stored, or it is known that they will not be.
    pub async fn stored(&self) {
        let mut pending = self.pending.0.subscribe();
        // The sender is ours, so this ends with the count.
        let _ = pending.wait_for(|count| *count == 0).await;
    }

    /// Lets another key lead to an entry that is there already.
    pub fn add_key(self: &Arc<Self>, hit: &Hit, key: CacheKey) {
        let place = Arc::clone(&hit.origin.place);
        if !place.stores() {
            return;
        }
        let (cache, hit) = (Arc::clone(self), hit.clone());
        let started = self.workers.start("kiln-cache", move || {
            let key = key.to_string();
            let adding = cache
                .interrupt
                .unless_raised(place.add_key(&key, &hit.step));
            if let Some(Err(error)) = cache.runtime.block_on(adding) {
                place.give_up_storing(&error);
            }
        });
        if let Err(error) = started {
            tracing::debug!(%error, "no thread to store a key");
        }
    }

    /// Keeps on the local volume what had to be fetched from afar anyway.
    fn keep_near(self: &Arc<Self>, origin: &StepOrigin, path: &Path) {
        let step = &origin.step;
        let near: Vec<Arc<Place>> = self
            .places
            .iter()
            .filter(|place| place.is_local() && place.stores())
            .cloned()
            .collect();
        if near.is_empty() || origin.place.is_local() {
            return;
        }
        let Some((descriptor, _)) = step.layer.clone() else {
            return;
        };
        let layer = Blob::packed(descriptor, path.to_owned(), None);
        let (cache, far, step, key) = (
            Arc::clone(self),
            Arc::clone(&origin.place),
            step.clone(),
            origin.key,
        );
        let started = self.workers.start("kiln-cache", move || {
            let keeping = async {
                let config = far.document(&step.config).await?;
                let entry = step.parcel(&config, Some(layer));
                for place in near {
                    place.put(&[key.to_string()], &entry).await?;
                }
                Ok::<(), place::PlaceError>(())
            };
            let kept = cache.interrupt.unless_raised(keeping);
            if let Some(Err(error)) = cache.runtime.block_on(kept) {
                tracing::debug!(%error, "not kept on the volume");
            }
        });
        if let Err(error) = started {
            tracing::debug!(%error, "no thread to keep a step");
        }
    }

    /// The trail of the last build of the same name, for explanations.
    pub async fn trail(&self) -> Option<Trail> {
        for place in &self.places {
            if let Some(bytes) = place.note(&self.trail_note).await
                && let Some(trail) = read_bounded(&bytes)
            {
                return Some(trail);
            }
        }
        None
    }

    /// The parts of an earlier entry's key.
    pub(crate) async fn parts_of(&self, key: CacheKey) -> Option<Parts> {
        for place in &self.places {
            let Some(step) = place.find(&key.to_string(), None).await else {
                continue;
            };
            if let Ok(config) = place.document(&step.config).await
                && let Some(parts) = stored_parts(&config)
            {
                return Some(parts);
            }
        }
        None
    }

    /// Keeps what helps the next build: digests of the context's files, and this build's trail.
    pub async fn finish(&self, trail: &Trail) {
        let now = Timestamp::now();
        let created = now.to_string();
        let digests = self.digests.to_bytes(now.as_second());
        let trail = serde_json::to_vec(trail).unwrap_or_default();
        for place in self.places.iter().filter(|place| place.stores()) {
            if let (Some(cache), Some(digests)) = (place.as_folder(), &digests)
                && let Err(error) = cache.write_note(&self.digests_note, digests)
            {
                tracing::debug!(%error, "digests of the context are not kept");
            }
            if let Err(error) = place.put_note(&self.trail_note, &trail, &created).await {
                place.give_up_storing(&error);
            }
        }
    }
}

/// Makes room for a layer that is to be stored again: one of the right length would be taken for whole.
fn set_aside_layer(cache: &ImageCache, key: &CacheKey) {
    let Ok(step) = cache.step(&key.to_string()) else {
        return;
    };
    for layer in step.manifest.layers() {
        if let Err(error) = cache.set_aside_blob(&layer.digest()) {
            tracing::debug!(%error, "a broken layer stays where it is");
        }
    }
}

fn open_place(
    place: &CachePlace,
    store: bool,
    volume: Option<&Path>,
    client: &Client,
    events: &Arc<dyn EventSink>,
) -> Option<Arc<Place>> {
    let place = match place {
        CachePlace::Repository(repository) => {
            Place::repository(client, repository.clone(), store, Arc::clone(events))
        }
        CachePlace::Folder(dir) => {
            let opened = if !store {
                ImageCache::open(dir, Access::ReadOnly)
            } else if Some(dir.as_path()) == volume {
                // It may be there for reading only.
                ImageCache::open(dir, Access::WriteIfPossible)
            } else {
                ImageCache::open(dir, Access::ReadWrite).or_else(|error| {
                    let kind = WarningKind::CacheUnwritable;
                    events.event(Event::warning(kind, unwritable(dir, &error)));
                    ImageCache::open(dir, Access::ReadOnly)
                })
            };
            match opened {
                Ok(cache) => {
                    let cache = cache.telling(of_volumes(events));
                    Place::folder(cache, store, Arc::clone(events))
                }
                Err(error) => {
                    let why = kiln_shown::with_causes(&error);
                    let text = format!("the cache at {} is left out: {why}", dir.display());
                    events.event(Event::warning(WarningKind::CacheUnreadable, text));
                    return None;
                }
            }
        }
    };
    Some(Arc::new(place))
}

/// What is said of a folder that steps were to be stored in.
fn unwritable(dir: &Path, error: &CacheError) -> String {
    format!(
        "steps cannot be stored in the cache at {}: {}. The next build will run them again; `--no-push-cache` does not try",
        dir.display(),
        kiln_shown::with_causes(error)
    )
}

/// The blob of a layer of our own as a cache stores it.
fn stored_layer(packed: &Packed) -> Blob {
    let media_type = MediaType::layer(kiln_oci::Family::Oci, packed.info.compression);
    let descriptor = Descriptor::new(media_type, packed.info.digest, packed.info.size);
    Blob::packed(descriptor, packed.path.clone(), packed.early.clone())
}

/// A short name for a note: what it is about, hashed.
fn name_of(kind: &str, about: impl IntoIterator<Item = String>) -> String {
    let parts = Parts::new().with("about", kiln_cache_key::Value::list(about));
    format!("{kind}-{}", &parts.key(None).to_string()[..32])
}

/// Builds of one name follow each other: the same first repository, targets and Dockerfile name.
fn trail_name(settings: &BuildSettings) -> String {
    let destination = settings.destinations.first();
    let mut about = vec![
        destination
            .map(|name| name.repo().to_string())
            .unwrap_or_default(),
        match &settings.dockerfile {
            kiln_options::DockerfileSource::Path(path) => path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            kiln_options::DockerfileSource::Url(url) => url.to_string(),
        },
    ];
    about.extend(settings.targets.iter().cloned());
    name_of("trail", about)
}
