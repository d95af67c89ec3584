//! Root filesystems for RUN: made when a command has to run, and not before.
//!
//! Three kinds, chosen by what the machine allows: an overlay over directories of layers, where the upper
//! directory is the difference; a plain directory, compared by a scan; the container's own `/`, also by
//! a scan, which stages use one after the other.

mod aside;
mod exposed;
mod in_place;
mod overlay;
mod placed;
mod placing;
mod plain;
mod stage_root;
mod twin;
pub mod user;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_context::ViewError;
use kiln_layer::{
    EntryKind, ExtractOptions, Extraction, ImagePath, LayerError, OpaqueXattr, Owners, Root,
    SkipReason, Skipped, Whiteouts, extract,
};
use kiln_oci::{DiffId, Digest};
use kiln_sandbox::{Cancel, IdMap, Listener, Mode, Runner, SandboxError};
use kiln_snapshot::SnapshotError;

use kiln_copy::{Content, Item, Items};
use kiln_events::{Event, EventSink, Meter, Metered, Transfer, TransferKind, WarningKind};
use kiln_store::blobs::{BlobError, Blobs, check_diff_id};
use kiln_store::image_view::LayerDir;
use kiln_store::layers::{Layer, Made};
use kiln_work::unless_cancelled::UnlessCancelled;
use kiln_work::workers::Workers;

pub use aside::{Aside, Restored, restore};
pub use exposed::Exposed;
pub use in_place::InPlaceRoot;
pub use overlay::OverlayRoot;
pub use placed::Placed;
pub use plain::PlainRoot;
pub use stage_root::{Execute, StageRoot};

/// Entries of one layer that were left out and are told one by one.
const MOST_TOLD: usize = 20;

/// Why a root filesystem cannot be made or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// A layer cannot be had.
    #[error("cannot prepare the root filesystem")]
    Blob(#[from] BlobError),
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {digest}")]
    Unpack {
        /// The layer's blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<LayerError>,
    },
    /// A file that an earlier COPY or ADD brings cannot be read.
    #[error("cannot read `/{path}` for the root filesystem")]
    Copied {
        /// Path in the image.
        path: String,
        /// Why it failed.
        #[source]
        source: Box<ViewError>,
    },
    /// The files of the root cannot be reached.
    #[error("cannot use the root filesystem")]
    Files(#[from] LayerError),
    /// The comparison failed.
    #[error("cannot find out what the command changed")]
    Snapshot(#[from] SnapshotError),
    /// A mount failed.
    #[error("cannot mount the root filesystem")]
    Mount(#[source] SandboxError),
    /// A mount in place would move what is not the image's.
    #[error(
        "a mount at `{target}` would cover `/{kept}`, which is not the image's: it is mounted there, or the builder needs \
         it; choose another target, or build where namespaces are allowed"
    )]
    Covered {
        /// Where the mount was to be.
        target: PathBuf,
        /// The path that has to stay.
        kept: ImagePath,
    },
    /// In place, the image needs the directory that the context is in.
    #[error(
        "in place, the image needs `{context}`, where the context is, and the context cannot be moved out of its way: {why}"
    )]
    ContextInTheWay {
        /// The context.
        context: PathBuf,
        /// Why it has to stay.
        why: String,
    },
    /// In place, and nothing can be written.
    #[error("the root filesystem of this container is read-only, and RUN in place writes to it")]
    ReadOnly,
    /// The build was cancelled.
    #[error("the build was interrupted")]
    Interrupted,
    /// The work folder refuses.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No RUN is possible on this machine.
    #[error("RUN is not possible here: {reason}")]
    NoIsolation {
        /// Why neither kind of isolation works.
        reason: String,
    },
}

/// What a command gets from the builder, whatever the image has there.
const SUPPLIED: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
];

/// The directory of a base, once somebody unpacked it; locked while that goes on.
type BaseSlot = Arc<Mutex<Option<LayerDir>>>;

/// Makes roots: the work folder, the mode, and the base directories that stages share.
pub struct Roots {
    dir: PathBuf,
    mode: Mode,
    blobs: Arc<Blobs>,
    events: Arc<dyn EventSink>,
    ignore: Vec<ImagePath>,
    /// Paths of this machine that a build in place must never touch.
    keep: Vec<PathBuf>,
    threads: usize,
    stop: Cancel,
    counter: AtomicUsize,
    bases: Mutex<HashMap<Vec<DiffId>, BaseSlot>>,
    in_place: Arc<in_place::Floor>,
    aside: Arc<Aside>,
    runner: Arc<dyn Runner>,
    work: PathBuf,
    /// Paths of images that gave way to what the container has there.
    gave_way: Mutex<BTreeSet<ImagePath>>,
    /// Paths of links that commands do not miss.
    twin_links: Mutex<BTreeSet<ImagePath>>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roots")
            .field("dir", &self.dir)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// What a build says of its roots.
#[derive(Debug)]
pub struct RootRules {
    /// Paths of the image that no layer of a RUN holds.
    pub ignore: Vec<ImagePath>,
    /// Paths of this machine that a build in place must never touch.
    pub keep: Vec<PathBuf>,
    /// Threads that walk a root.
    pub threads: usize,
    /// `/` is not as it was found, for builds in place.
    pub used: bool,
    /// Ends unpacking.
    pub stop: Cancel,
    /// The context, which in place may have to make room.
    pub aside: Arc<Aside>,
    /// What runs the commands.
    pub runner: Arc<dyn Runner>,
    /// A folder for what has no other place.
    pub work: PathBuf,
}

impl Roots {
    /// Makes roots below `dir`, of the kind that `mode` allows.
    pub fn new(
        dir: PathBuf,
        mode: Mode,
        blobs: Arc<Blobs>,
        events: Arc<dyn EventSink>,
        rules: RootRules,
    ) -> Roots {
        Roots {
            dir,
            mode,
            blobs,
            events,
            ignore: rules.ignore,
            keep: rules.keep,
            threads: rules.threads,
            stop: rules.stop,
            counter: AtomicUsize::new(0),
            bases: Mutex::default(),
            in_place: Arc::new(in_place::Floor::new(rules.used)),
            aside: rules.aside,
            runner: rules.runner,
            work: rules.work,
            gave_way: Mutex::default(),
            twin_links: Mutex::default(),
        }
    }

    /// Whether all stages share one root, so that they have to run one after the other.
    pub fn one_at_a_time(&self) -> bool {
        self.mode == Mode::InPlace
    }

    /// Paths that no layer of a RUN holds.
    pub fn ignored(&self) -> Vec<String> {
        self.ignore.iter().map(ToString::to_string).collect()
    }

    /// Begins to remove all directories, which takes a while: the image is made, and what is left to do needs
    /// only blobs. What cannot be removed goes with the work folder.
    pub fn clear(&self, workers: &Workers) {
        let dir = self.dir.clone();
        let cleared = workers.start("kiln-clear", move || {
            if let Err(error) = std::fs::remove_dir_all(&dir) {
                tracing::debug!(%error, path = %dir.display(), "left for later");
            }
        });
        if let Err(error) = cleared {
            tracing::debug!(%error, "no thread to remove root filesystems");
        }
    }

    /// A root for a stage that starts with a base of `base_layers` layers.
    pub fn create(self: &Arc<Self>, base_layers: usize) -> Result<Box<dyn StageRoot>, RootError> {
        match &self.mode {
            Mode::Namespace {
                overlay_ok: true, ..
            } => Ok(Box::new(OverlayRoot::new(Arc::clone(self), base_layers))),
            Mode::Namespace { .. } => {
                let dir = self.fresh_dir("root")?;
                Ok(Box::new(PlainRoot::new(Arc::clone(self), dir)?))
            }
            Mode::InPlace => Ok(Box::new(InPlaceRoot::take(Arc::clone(self))?)),
            Mode::None { reason } => Err(RootError::NoIsolation {
                reason: reason.clone(),
            }),
        }
    }

    /// Leaves the files of `layers` in `/`, after a build in place (conformance H21).
    pub fn materialize(self: &Arc<Self>, layers: &[Layer]) -> Result<(), RootError> {
        InPlaceRoot::take(Arc::clone(self))?.apply(layers)
    }

    /// Leaves `/` without the files of the build, if there ever were any.
    pub fn clean_up(self: &Arc<Self>) -> Result<(), RootError> {
        if self.in_place.is_used() {
            InPlaceRoot::take(Arc::clone(self))?;
        }
        Ok(())
    }

    /// Ownership can be given only to ids that exist here.
    pub fn owners(&self) -> Owners {
        match &self.mode {
            Mode::Namespace {
                ids: IdMap::Single, ..
            } => Owners::Ignore,
            Mode::Namespace {
                ids: IdMap::Full | IdMap::SubIds,
                ..
            }
            | Mode::InPlace
            | Mode::None { .. } => Owners::Keep,
        }
    }

    /// A new empty directory in the work folder, with a short name since overlay options are short.
    fn fresh_dir(&self, kind: &str) -> Result<PathBuf, RootError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{}{number}", &kind[..1]));
        std::fs::create_dir(&path).map_err(io_error("create", &path))?;
        // The root directory of an image is readable by all, whatever our umask (G3).
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).map_err(io_error("prepare", &path))?;
        Ok(path)
    }

    /// Unpacks one layer into `root`, over what is there.
    fn unpack(
        &self,
        layer: &Layer,
        root: &Root,
        protected: &(dyn Fn(&ImagePath) -> bool + Sync),
    ) -> Result<(), RootError> {
        let options = ExtractOptions {
            owners: self.owners(),
            protected: Some(protected),
            ..ExtractOptions::default()
        };
        self.unpack_with(layer, root, &options)
    }

    /// Unpacks one layer alone, as a lower directory of an overlay.
    fn unpack_apart(&self, layer: &Layer, root: &Root) -> Result<(), RootError> {
        let options = ExtractOptions {
            owners: self.owners(),
            // Our own layers have no opaque markers, so that it does not matter which attribute they would get.
            whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
            ..ExtractOptions::default()
        };
        self.unpack_with(layer, root, &options)
    }

    fn unpack_with(
        &self,
        layer: &Layer,
        root: &Root,
        options: &ExtractOptions<'_>,
    ) -> Result<(), RootError> {
        let (name, skipped) = match layer.content() {
            // No need to wait until it is packed.
            Some(Made::Items(items)) => (
                "of a COPY or ADD".to_owned(),
                self.place_items(layer, items, root, options)?,
            ),
            _ => self.unpack_blob(layer, root, options)?,
        };
        let mut told = 0;
        for skipped in &skipped {
            match skip_text(skipped) {
                Some(text) => {
                    told += 1;
                    if told <= MOST_TOLD {
                        let text = format!("layer {name}: {text}");
                        self.events
                            .event(Event::warning(WarningKind::LeftOutOfRoot, text));
                    }
                }
                None => self.gave_way().extend([skipped.path.clone()]),
            }
        }
        if told > MOST_TOLD {
            let more = told - MOST_TOLD;
            let text =
                format!("layer {name}: {more} more entries were left out or lost attributes");
            self.events
                .event(Event::warning(WarningKind::LeftOutOfRoot, text));
        }
        Ok(())
    }

    /// The files of a COPY, ADD or WORKDIR straight from where they come from.
    fn place_items(
        &self,
        layer: &Layer,
        items: &Items,
        root: &Root,
        options: &ExtractOptions<'_>,
    ) -> Result<Vec<Skipped>, RootError> {
        let size = |item: &Item| match &item.entry.kind {
            EntryKind::File { size } => *size,
            _ => 0,
        };
        let transfer = Transfer::new(TransferKind::Unpack)
            .on_behalf_of(layer.subject().cloned())
            .wanting(items.values().map(size).sum());
        let meter = Arc::new(Meter::new(&self.events, transfer));
        let skipped = place_items(items, root, options, &self.stop, &meter)?;
        meter.done();
        Ok(skipped)
    }

    /// Whom a mount tells that cannot be unmounted where it is dropped.
    fn not_unmounted(&self) -> Listener<SandboxError> {
        let events = Arc::clone(&self.events);
        Listener::new(move |error: SandboxError| {
            let kind = WarningKind::NotUnmounted;
            events.event(Event::warning(kind, error.to_string()));
        })
    }

    fn gave_way(&self) -> std::sync::MutexGuard<'_, BTreeSet<ImagePath>> {
        self.gave_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says, in one line, which paths of the image no command saw: in place, what the container has there stays (G38).
    /// Those that a command gets from the builder in a namespace as well (D17) are not worth a word.
    pub fn tell_what_gave_way(&self) {
        let supplied = |path: &ImagePath| {
            let below = |dir: &str| path.starts_with(&ImagePath::from(dir));
            SUPPLIED.iter().any(|dir| below(dir))
        };
        let links = self.twin_links.lock();
        let links = links.unwrap_or_else(PoisonError::into_inner);
        let told = |path: &&ImagePath| !supplied(path) && !links.contains(*path);
        let gave_way = std::mem::take(&mut *self.gave_way());
        let paths: Vec<String> = gave_way
            .iter()
            .filter(told)
            .map(|path| format!("`/{path}`"))
            .collect();
        if let Some((first, others)) = paths.split_first() {
            let others = match others.len() {
                0 => String::new(),
                count => format!(" and {count} more paths"),
            };
            let text = format!(
                "{first}{others} of the image gave way to what the container has there; no command saw them"
            );
            self.events
                .event(Event::warning(WarningKind::GaveWay, text));
        }
    }

    fn unpack_blob(
        &self,
        layer: &Layer,
        root: &Root,
        options: &ExtractOptions<'_>,
    ) -> Result<(String, Vec<Skipped>), RootError> {
        let (reader, digest, meter) = self.blobs.unpacking(layer)?;
        let unusable = |source| {
            layer.distrust();
            RootError::Unpack {
                digest,
                source: Box::new(source),
            }
        };
        let report = extract(reader, root, options).map_err(|error| {
            // The layer is as good as before.
            if self.stop.is_cancelled() {
                RootError::Blob(BlobError::Cancelled)
            } else {
                unusable(error)
            }
        })?;
        check_diff_id(layer, digest, report.diff_id)?;
        if let Some(link) = report.unresolved_links.first() {
            // A layer of ours brings the data of all its links (G7).
            let entry = link.path.clone();
            let target = entry.clone();
            return Err(unusable(LayerError::MissingLinkTarget { entry, target }));
        }
        meter.done();
        layer.learn_listing(report.listing);
        Ok((digest.to_string(), report.skipped))
    }

    /// A directory with all files of a finished stage or image, for a mount: what its commands ran in, if they ran, and
    /// its layers, of which `base_layers` came with the base.
    pub fn expose(
        self: &Arc<Self>,
        root: Option<&dyn StageRoot>,
        base_layers: usize,
        layers: &[Layer],
    ) -> Result<Exposed, RootError> {
        if let Some(path) = root.and_then(StageRoot::directory) {
            return Ok(Exposed::new(path, None, None));
        }
        let root = match root.and_then(StageRoot::fork) {
            Some(root) => root,
            None => self.create(base_layers)?,
        };
        root.expose(layers)
    }

    /// The directory that holds a base's layers, unpacked once for all stages that start with it.
    fn base_dir(&self, layers: &[Layer]) -> Result<LayerDir, RootError> {
        let key: Option<Vec<DiffId>> = layers.iter().map(Layer::base_diff_id).collect();
        let slot = key.map(|key| {
            let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(bases.entry(key).or_default())
        });
        let slot = slot.unwrap_or_default();
        let mut unpacked = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = &*unpacked {
            return Ok(done.clone());
        }
        self.blobs.prefetch(layers);
        let path = self.fresh_dir("base")?;
        let root = Root::open(&path)?;
        for layer in layers {
            self.unpack(layer, &root, &|_| false)?;
        }
        let dir = LayerDir {
            layers: 0..layers.len(),
            root: Arc::new(root),
        };
        *unpacked = Some(dir.clone());
        Ok(dir)
    }
}

/// Writes the files of a COPY, ADD or WORKDIR straight from where they come from.
fn place_items(
    items: &Items,
    root: &Root,
    options: &ExtractOptions<'_>,
    stop: &Cancel,
    meter: &Arc<Meter>,
) -> Result<Vec<Skipped>, RootError> {
    let failed = |path: &ImagePath, source| RootError::Copied {
        path: path.to_string(),
        source: Box::new(source),
    };
    Content::prefetch(items.values()).map_err(|(path, source)| failed(&path, source))?;
    let mut extraction = Extraction::new(root, options);
    for item in items.values() {
        let content = item
            .content
            .open()
            .map_err(|source| failed(&item.entry.path, source))?;
        if stop.is_cancelled() {
            return Err(RootError::Blob(BlobError::Cancelled));
        }
        let content = Metered::new(content, Some(Arc::clone(meter)));
        extraction.entry(&item.entry, &mut UnlessCancelled::new(content, stop))?;
    }
    Ok(extraction.finish()?.0)
}

/// What is missing from a root, and why (conformance G34, G40); `None` for what gave way to a mount (G38).
fn skip_text(skipped: &Skipped) -> Option<String> {
    let path = &skipped.path;
    let text = match &skipped.reason {
        SkipReason::Protected | SkipReason::Mounted => return None,
        SkipReason::Device => {
            format!("device `/{path}` cannot be made here and is left out of the root")
        }
        SkipReason::Xattr { name, error } => {
            format!("attribute `{name}` of `/{path}` and maybe others cannot be set here: {error}")
        }
    };
    // Names come from an image.
    Some(text.chars().filter(|c| !c.is_control()).take(500).collect())
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RootError {
    let path = path.to_owned();
    move |source| RootError::Io {
        operation,
        path,
        source,
    }
}
