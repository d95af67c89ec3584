//! The engine as an embedder has it: what it tells, and what it says of a Dockerfile.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

mod checked;
mod runner;
mod told;
