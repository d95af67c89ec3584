//! The crate as its users see it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy does not know the helpers of tests for tests"
)]

mod errors;
mod instructions;
mod laws;
mod limits;
mod lint;
mod mistakes;
mod naive;
mod parsed;
mod stages;
mod triggers;
