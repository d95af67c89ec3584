//! The crate as its users see it.

mod errors;
mod instructions;
mod laws;
mod parsed;
mod triggers;
mod warnings;
