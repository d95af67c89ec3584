//! What an overlay and a scan say about the same steps, and that a layer made of it brings the result back.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its case should stop"
)]

mod cases;
mod filtered;
mod laws;
mod lowers;
mod mounted;
mod racing;
mod settled;
mod tree;
