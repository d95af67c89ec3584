//! For tests only: an in-process registry with faults, images made from a few lines of text, certificates,
//! free ports, a listener that keeps events, and Debian's `docker-registry` as a second opinion.
//!
//! In go what a test wants to exist; out come a [`Registry`] that holds it, counts what is asked of it and
//! misbehaves on demand, and [`Image`]s whose layers are written by none of Kiln's own code. Everything
//! ends with its value: servers stop and directories disappear when they are dropped. Whatever goes wrong
//! here is the test's failure, so functions panic instead of returning errors.
//!
//! ```
//! use kiln_testkit::{Fault, Image, On, Registry};
//!
//! let registry = Registry::start();
//! let image = Image::new().layer("etc/\netc/motd = hello\\n\nbin/sh -> busybox").env("A=b");
//! let digest = registry.push_image("team/app:1", &image);
//! registry.fault(On::get("/manifests/").times(1), Fault::status(500));
//! assert_eq!(registry.reference("team/app:1").registry(), registry.host());
//! assert_eq!(registry.manifest("team/app", "1").map(|m| m.digest), Some(digest));
//! ```
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "used by tests only, where a panic is the message"
)]

mod certificate;
mod debian;
mod image;
mod listener;
mod port;
mod registry;
mod runner;
mod tree;

pub use certificate::{Authority, Issued};
pub use debian::DebianRegistry;
pub use image::{Built, BuiltLayer, Image, image_from};
pub use listener::FakeListener;
pub use port::closed_port;
pub use registry::{Auth, Fault, Logged, On, Registry, RegistryOptions, Stored};
pub use runner::FakeRunner;
pub use tree::tar_of;
