//! The finished image as a value: its config, its history, its manifest, and the times in them.

pub mod built;
pub mod clock;
pub mod history;
