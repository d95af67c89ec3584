//! What layers do to a directory, told by the directory: read back with the standard library, not with the crate.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its case should stop"
)]

mod costs;
mod disk;
mod forge;
mod hostile;
mod lines;
mod lookups;
mod merged;
mod privilege;
mod round_trip;
mod rules;
mod streams;
mod trees;
mod unprivileged;
