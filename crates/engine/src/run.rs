//! What a build shares, however many plans it has: made once.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_sandbox::Cancel;

use crate::held::Held;
use crate::sources::Sources;
use kiln_events::EventSink;
use kiln_image::clock::Clock;
use kiln_plan::budget::TextBudget;
use kiln_rootfs::{Aside, Roots};
use kiln_step_cache::LayerCache;
use kiln_store::blobs::Blobs;
use kiln_store::pack::Packer;
use kiln_work::spool::Spool;

/// Stores, threads, files and whom to tell. Nothing in it knows of a stage or a platform.
pub(crate) struct Run {
    pub(crate) clock: Clock,
    /// What words, variables and history may take.
    pub(crate) text: TextBudget,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) cancel: Cancel,
    pub(crate) blobs: Arc<Blobs>,
    /// None without `--cache`.
    pub(crate) cache: Option<Arc<LayerCache>>,
    /// Files that are in no image.
    pub(crate) sources: Sources,
    pub(crate) packer: Packer,
    pub(crate) roots: Arc<Roots>,
    pub(crate) spool: Spool,
    /// Folder for pieces of the build that have no other place.
    pub(crate) work: PathBuf,
    /// Where scripts and sockets are that users of the image reach, in place.
    pub(crate) shown: PathBuf,
    /// Files that the caller named, as they were at the start.
    pub(crate) held: Arc<Held>,
    /// The context's directory, which in place may have to make room for the image.
    pub(crate) aside: Arc<Aside>,
    /// Shown to commands as `/etc/hosts` (D17).
    pub(crate) hosts_file: PathBuf,
    /// Shown to commands as `/etc/resolv.conf` (D17).
    pub(crate) resolv_conf: Option<PathBuf>,
    /// Where cache mounts live between builds.
    pub(crate) cache_mounts: PathBuf,
}
