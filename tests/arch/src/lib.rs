//! Nothing but tests: which crate of the workspace may use which, and who may use clap, tokio and reqwest.
//!
//! And which module of a crate may use which: `tests/circles.rs`. What lies where, and how much of it: `tests/layout.rs`.
//! That libraries write to no log: `tests/silence.rs`.
//! And whether `docs/conformance.md` says what the comments above tests say: `tests/conformance.rs`.
//!
//! See `tests/arrows.rs`. A failing test there is a question about the architecture, not about the test.

mod words;

pub use words::tokens;
