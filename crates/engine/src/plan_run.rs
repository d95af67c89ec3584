//! What the stages of one plan share: where they begin, and the results of other stages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use kiln_cache_key::{CacheKey, Parts, Value, part};

use crate::run::Run;
use crate::stage::{Finished, State};
use crate::starts::Images;
use kiln_events::Stage;
use kiln_plan::plan::{Plan, Source};
use kiln_plan::scope::BuildArgs;
use kiln_rootfs::Exposed;

/// The outcome of a stage; `None` when it failed.
pub(crate) type StageOutcome = Option<Arc<Finished>>;

/// One plan that is carried out: the stages for one platform, what they begin with and what they came to.
pub(crate) struct PlanRun {
    /// What it shares with other plans.
    pub(crate) run: Arc<Run>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) build_args: BuildArgs,
    pub(crate) images: Arc<Images>,
    /// By number in the file; `None` for stages that nobody needs.
    pub(crate) outcomes: Vec<Option<Arc<OnceLock<StageOutcome>>>>,
    /// Directories of stages and images that mounts show, by what they show.
    pub(crate) exposed: Mutex<BTreeMap<Source, Exposed>>,
}

impl PlanRun {
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
            Source::Scratch | Source::Stage(_) | Source::Files(_) => &self.plan.platform,
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
            Source::Stage(index) => self.outcomes.get(*index)?.as_ref()?.wait().clone(),
            Source::Image(image, platform) => {
                let base = self.images.get(&(image.clone(), platform.clone()))?;
                Some(Arc::new(State::on_base(base).finish()))
            }
        }
    }
}
