//! Keys of the kernel: a command has none of the builder's, and leaves none behind (finding 3).

use std::io;

use nix::libc;

use super::step;
use crate::{SetupError, sys};

/// Gives this process an empty session keyring of its own, which goes with its last process.
///
/// It is the second lock: the filter refuses every call about keys. Where a container refuses the call to us, it refuses
/// it to the command as well.
pub(super) fn join_own() -> Result<(), SetupError> {
    match sys::join_new_session_keyring() {
        Ok(()) => Ok(()),
        Err(error) if has_no_keys(&error) => Ok(()),
        Err(error) => Err(step("join", "session keyring")(error)),
    }
}

fn has_no_keys(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
}
