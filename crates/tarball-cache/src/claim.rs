//! The right to fetch something that others may want just now as well.

use crate::lock::EntryLock;

/// What asking for the right to fetch a blob came to.
#[derive(Debug)]
pub enum BlobClaim {
    /// It is there by now.
    Present,
    /// Someone else is fetching it.
    Busy,
    /// It is for the caller to fetch.
    Claimed(Claim),
}

/// The right to fetch something, given back on drop.
#[derive(Debug)]
pub struct Claim {
    #[expect(dead_code, reason = "it does its work when it is dropped")]
    lock: EntryLock,
}

impl Claim {
    pub(crate) fn new(lock: EntryLock) -> Self {
        Self { lock }
    }
}
