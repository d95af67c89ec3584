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
//! use kiln_build::{BuildSettings, Cancel, Silent, build, enter, init};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     init();
//!     let settings = BuildSettings {
//!         context_dir: "examples/hello".into(),
//!         no_push: true,
//!         tar_path: Some("hello.tar".into()),
//!         ..BuildSettings::default()
//!     };
//!     let entered = enter(&settings)?;
//!     let runtime = tokio::runtime::Runtime::new()?;
//!     let report = runtime.block_on(build(settings, entered, Arc::new(Silent), Cancel::new()))?;
//!     println!("{}", report.digest);
//!     Ok(())
//! }
//! ```

mod base;
mod blob_folder;
mod blobs;
mod budget;
mod build_plan;
mod cache;
mod check;
mod clock;
mod copy;
mod driver;
mod early;
mod error;
mod event;
mod explain;
mod fetch;
mod format;
mod held;
mod history;
mod image;
mod image_view;
mod interrupt;
mod keep_base;
mod layers;
mod leaving;
mod lint;
mod node;
mod origin;
mod output;
mod pack;
mod patience;
mod plan;
mod promise;
mod push_archive;
mod report;
mod roots;
mod scope;
mod settings;
mod shop;
mod sources;
mod spool;
mod squash;
mod stage;
mod starts;
mod step;
mod text;
mod unless_cancelled;
mod user;
mod volume;
mod warm;
mod work;
mod workers;

pub use base::BaseError;
pub use blobs::BlobError;
pub use build_plan::{Action, BuildPlan, PlannedImage, PlannedStage, PlannedStep};
pub use check::{CheckReport, Problem, check};
pub use copy::CopyError;
pub use driver::{Entered, build, dry_run, enter, explain, put_context_back};
pub use error::BuildError;
pub use event::{Event, EventSink, Silent};
pub use explain::{ExplainedStep, Explanation};
pub use fetch::{ClientError, FetchError};
pub use format::FormatError;
pub use held::SecretError;
pub use kiln_sandbox::{Cancel, Stream};
pub use kiln_shown::with_causes;
pub use kiln_tarball_cache::{
    CacheError, ImageUse, Miss, PruneReason, Pruned, PrunedEntry, Survey,
};
pub use layers::PackError;
pub use leaving::abandon;
pub use lint::CheckArgError;
pub use output::OutputError;
pub use output::PushError;
pub use plan::PlanError;
pub use push_archive::{PushArchiveError, PushedArchive, push_archive};
pub use report::BuildReport;
pub use roots::RootError;
pub use settings::*;
pub use sources::SourceError;
pub use stage::ViewUnavailable;
pub use step::StepError;
pub use text::{Location, TextError};
pub use user::UserError;
pub use volume::{list_volume, prune_volume};
pub use warm::{WarmError, WarmImageError, WarmReport, Warmed, WarmedImage, warm};
pub use work::WorkError;

/// To be called first thing in `main`, while the process has one thread. Commands are executed, and what an interrupted
/// build leaves is removed, by this program started again; in such a process this does not return.
pub fn init() {
    leaving::init();
    kiln_sandbox::init();
}
