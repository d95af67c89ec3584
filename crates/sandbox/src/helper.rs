//! The helper process: this executable, started again, as the parent of one command.

/// First line of `main`: if this process was started as the sandbox helper, does its work and never returns.
pub fn init() {}
