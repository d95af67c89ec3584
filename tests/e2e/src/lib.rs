//! What the end-to-end tests stand on: real registries, base images made on the spot, contexts made in code,
//! a command builder for the executor, and readers and comparers of the images that come out.
//!
//! Nothing here uses Kiln's own crates: images are made with `tar` and pushed by `skopeo`, and they are read back by
//! `skopeo`, `umoci` and `docker`. So a mistake in our reading cannot hide the same mistake in our writing.
//!
//! The suite takes any builder: `KILN_E2E_BUILDER=buildah` runs those tests that need no flag of ours against Debian's
//! `buildah`, which tests the tests.
//!
//! ```no_run
//! use kiln_e2e::{Base, Case};
//!
//! let case = Case::new();
//! let context = case.context().dockerfile(format!("FROM {}\nCOPY a /b\n", case.base(Base::Busybox))).file("a", "hello");
//! let image = case.build(&context).run().image();
//! assert_eq!(image.tree().text("b"), "hello");
//! ```
// Everything here runs inside a test: a fixture that cannot be made is a failed test, and says so on the terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    clippy::format_push_string,
    clippy::format_collect
)]

mod attack;
mod base;
mod build;
mod case;
mod compare;
mod context;
mod debian;
mod docker;
mod forge;
mod git;
mod guarded;
mod http;
mod image;
mod layout;
mod leaks;
mod memory;
mod privilege;
mod proxy;
mod registry;
mod rude;
mod ssh_agent;
mod tool;
mod tree;
mod volume;

pub use attack::{Ends, attack, attack_all};
pub use base::Base;
pub use build::{Build, Builder, Outcome, Running};
pub use case::Case;
pub use compare::{compare_configs, compare_trees};
pub use context::Context;
pub use debian::{DebianRoot, apt_settings};
pub use docker::{Docker, ExecutorImage};
pub use forge::{Forge, Forged, Says, gzip_of, record, write_documents};
pub use git::{GitDaemon, GitHost, GitRepository};
pub use http::{HttpServer, Request, Response};
pub use image::{Image, Layer};
pub use layout::{ImageSpec, LayerSpec, Packing, TarTree, digest};
pub use leaks::Leaks;
pub use memory::{PeakMemory, roomy_tempdir};
pub use privilege::{Access, Throwaway, User, all_in_place, is_root, userns_works};
pub use proxy::{Fault, Proxy};
pub use registry::Registry;
pub use rude::{Rude, Said, served};
pub use ssh_agent::SshAgent;
pub use tool::{Ran, embed, executor, output, probe, run, tool, warmer};
pub use tree::{Node, NodeKind, Tree};
pub use volume::{SmallDisk, Volume, incompressible};

pub use kiln_skip::skipped;

/// Returns from the test with a printed reason unless it runs as root.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::is_root() {
            $crate::skipped("needs root");
            return;
        }
    };
}

/// Returns from the test with a printed reason when the suite runs against another builder than Kiln.
#[macro_export]
macro_rules! kiln_only {
    () => {
        if $crate::Builder::from_env() != $crate::Builder::Kiln {
            $crate::skipped("about a flag or message of Kiln's");
            return;
        }
    };
}

/// Returns from the test with a printed reason when the suite builds in place: for what only namespaces can do.
#[macro_export]
macro_rules! namespace_only {
    () => {
        if $crate::all_in_place() {
            $crate::skipped("about namespaces");
            return;
        }
    };
}
