//! What all stages of a build share: settings, stores, the results of other stages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use kiln_cache_key::{CacheKey, Parts, Value, part};
use kiln_sandbox::Cancel;

use crate::held::Held;
use crate::sources::Sources;
use crate::stage::{Finished, State};
use crate::starts::Images;
use kiln_events::{EventSink, Stage};
use kiln_image::clock::Clock;
use kiln_plan::budget::TextBudget;
use kiln_plan::plan::{Plan, Source};
use kiln_plan::scope::BuildArgs;
use kiln_rootfs::{Aside, Exposed, Roots};
use kiln_step_cache::LayerCache;
use kiln_store::blobs::Blobs;
use kiln_store::pack::Packer;
use kiln_work::spool::Spool;

/// The outcome of a stage; `None` when it failed.
pub(crate) type StageOutcome = Option<Arc<Finished>>;

/// Shared by all stages of one build.
pub(crate) struct Shop {
    pub(crate) plan: Arc<Plan>,
    pub(crate) build_args: BuildArgs,
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
    pub(crate) images: Arc<Images>,
    /// By number in the file; `None` for stages that nobody needs.
    pub(crate) stages: Vec<Option<Arc<OnceLock<StageOutcome>>>>,
    /// Directories of stages and images that mounts show, by what they show.
    pub(crate) exposed: Mutex<BTreeMap<Source, Exposed>>,
}

impl Shop {
    /// What an image, or nothing, is known by in keys: the digest of its manifest, never its name (H2).
    pub(crate) fn base_key(&self, source: &Source) -> Option<Value> {
        match source {
            Source::Image(image, platform) => {
                let known = self.images.get(&(image.clone(), platform.clone()))?;
                Some(known.digest.into())
            }
            Source::Scratch => Some("scratch".into()),
            Source::Stage(_) | Source::Files(_) => None,
        }
    }

    /// Where the chain of keys of a stage on an image, or on nothing, starts.
    pub(crate) fn first_key(&self, source: &Source) -> Option<CacheKey> {
        let platform = match source {
            Source::Image(_, platform) => platform,
            _ => &self.plan.platform,
        };
        let parts = Parts::new()
            .with(part::BASE, self.base_key(source)?)
            .with(part::PLATFORM, platform.normalized().to_string());
        Some(parts.key(None))
    }

    /// A stage as events name it.
    pub(crate) fn stage(&self, number: usize) -> Stage {
        Stage {
            number,
            name: self.plan.stage_name(number),
        }
    }

    /// Waits for a stage, or looks an image up; `None` if it failed, or if there is none. Blocks; not for async code.
    pub(crate) fn wait_for(&self, source: &Source) -> Option<Arc<Finished>> {
        match source {
            Source::Scratch => Some(Arc::new(State::on_scratch(&self.plan.platform).finish())),
            Source::Files(_) => None,
            Source::Stage(index) => self.stages.get(*index)?.as_ref()?.wait().clone(),
            Source::Image(image, platform) => {
                let base = self.images.get(&(image.clone(), platform.clone()))?;
                Some(Arc::new(State::on_base(base).finish()))
            }
        }
    }
}
