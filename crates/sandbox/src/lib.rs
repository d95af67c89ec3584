//! Runs one command in a root filesystem: in namespaces of its own, or in place in a throw-away container.
//!
//! In goes a [`RunSpec`]: root, command, environment, user, mounts. Out come the lines the command writes and how
//! it ended. The crate knows nothing of images: who `www-data` is and what a cache mount means is settled by the
//! caller.
//!
//! A program that uses it calls [`init`] first thing in `main`, because commands are started by a second process
//! made from the same executable, and [`enter`] before it starts threads:
//!
//! ```no_run
//! use kiln_sandbox::{Cancel, Isolation, RunRoot, RunSpec, enter, init, run};
//!
//! fn main() -> Result<(), kiln_sandbox::SandboxError> {
//!     init();
//!     let entered = enter(Isolation::Auto, "/var/tmp".as_ref(), false)?;
//!     eprintln!("{}", entered.reason);
//!     let root = RunRoot::Directory("/var/tmp/rootfs".into());
//!     let spec = RunSpec::new(root, vec!["echo".into(), "hello".into()]);
//!     let exit = run(&spec, &mut |_, line| eprint!("{}", String::from_utf8_lossy(line)), &Cancel::new())?;
//!     assert!(exit.success());
//!     Ok(())
//! }
//! ```

mod cancel;
mod container;
mod error;
mod helper;
mod id_map;
mod isolation;
mod missing_program;
mod mount_points;
mod orphans;
mod output;
mod overlay;
mod probe;
mod processes;
mod run;
mod runner;
mod setup_error;
mod spec;
mod sys;
mod wire;

pub use cancel::Cancel;
pub use error::SandboxError;
pub use helper::init;
pub use id_map::IdMap;
pub use isolation::{Entered, Isolation, Mode, enter};
pub use kiln_notice::Listener;
pub use mount_points::mount_points;
pub use overlay::{OverlayMount, mount_overlay, probe_overlay};
pub use run::run;
pub use runner::{Processes, Runner};
pub use setup_error::SetupError;
pub use spec::{Exit, Network, RunRoot, RunSpec, SandboxMount, Stream, User};
