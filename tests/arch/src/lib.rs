//! Nothing but tests: which crate of the workspace may use which, and who may use clap, tokio and reqwest.
//!
//! See `tests/arrows.rs`. A failing test there is a question about the architecture, not about the test.
