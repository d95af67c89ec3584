//! Builds a container image from a Dockerfile: plan, bases, steps, layers, outputs.
//!
//! In go [`BuildSettings`]; out comes a [`BuildReport`], and the image where the settings say. The crate
//! knows no command line and no terminal: what happens is told to an [`EventSink`].
//!
//! A program calls [`init`] first thing in `main`, because commands are started by a second process made
//! from the same executable; then [`enter`], before it starts threads; then [`build`] on a tokio runtime.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kiln_engine::{BuildSettings, Cancel, ImageOutput, Silent, build, enter, init};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     init();
//!     let settings = BuildSettings {
//!         context_dir: "examples/hello".into(),
//!         no_push: true,
//!         outputs: vec![ImageOutput::Archive("hello.tar".into())],
//!         ..BuildSettings::default()
//!     };
//!     let entered = enter(&settings)?;
//!     let runtime = tokio::runtime::Runtime::new()?;
//!     let report = runtime.block_on(build(settings, entered, Arc::new(Silent), Cancel::new()))?;
//!     println!("{}", report.digest);
//!     Ok(())
//! }
//! ```

mod build_plan;
mod check;
mod driver;
mod error;
mod explain;
mod format;
mod held;
mod plan_run;
mod report;
mod run;
mod settings;
mod sources;
mod squash;
mod stage;
mod starts;
mod step;

/// The crate of what a Dockerfile says: errors and problems show places in it.
pub use kiln_dockerfile as dockerfile;
/// The crate of references, digests, platforms and configs, which settings and reports have.
pub use kiln_oci as oci;
/// The crate of the settings for registries.
pub use kiln_registry as registry;

pub use build_plan::{Action, BuildPlan, PlannedImage, PlannedStage, PlannedStep};
pub use check::{CheckReport, Problem, check};
pub use driver::{Entered, build, dry_run, enter, explain, put_context_back};
pub use error::BuildError;
pub use explain::{ExplainedStep, Explanation};
pub use format::FormatError;
pub use held::SecretError;
pub use kiln_context::{ContextError, ViewError};
pub use kiln_copy::CopyError;
pub use kiln_delivery::output::OutputError;
pub use kiln_delivery::output::PushError;
pub use kiln_delivery::push_archive::{PushArchiveError, PushedArchive, push_archive};
pub use kiln_download::{ClientError, FetchError};
pub use kiln_events::{
    Event, EventSink, ImageMade, NoteKind, Silent, Stage, StageOutcome, Step, StepLayer,
    StepOutcome, Subject, Transfer, TransferId, TransferKind, WaitingFor, WarningKind,
};
pub use kiln_git::GitError;
pub use kiln_layer::{LayerError, TreeError};
pub use kiln_plan::budget::TooMuchText;
pub use kiln_plan::lint::CheckArgError;
pub use kiln_plan::plan::PlanError;
pub use kiln_plan::text::{Location, TextError};
pub use kiln_rootfs::RootError;
pub use kiln_rootfs::user::UserError;
pub use kiln_sandbox::{Cancel, SandboxError, Stream};
pub use kiln_shown::{SecretUrl, with_causes};
pub use kiln_snapshot::SnapshotError;
pub use kiln_store::base::BaseError;
pub use kiln_store::blobs::BlobError;
pub use kiln_store::layers::PackError;
pub use kiln_tarball_cache::{
    CacheError, ImageUse, Miss, Origin, PruneReason, Pruned, PrunedEntry, Survey,
};
pub use kiln_volume::{
    WarmError, WarmImageError, WarmReport, Warmed, WarmedImage, list_volume, prune_volume, warm,
};
pub use kiln_work::folder::WorkError;
pub use kiln_work::leaving::abandon;
pub use report::BuildReport;
pub use settings::*;
pub use sources::SourceError;
pub use stage::ViewUnavailable;
pub use step::StepError;

/// To be called first thing in `main`, while the process has one thread. Commands are executed, and what an interrupted
/// build leaves is removed, by this program started again; in such a process this does not return.
pub fn init() {
    kiln_work::leaving::init();
    kiln_sandbox::init();
}
