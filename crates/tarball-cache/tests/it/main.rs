//! The volume as its users see it.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod concurrent;
mod damage;
mod images;
mod kaniko;
mod prune;
mod steps;
mod store;
