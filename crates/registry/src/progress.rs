//! Who is told how far a blob is on its way into a registry.

use std::fmt;
use std::sync::Arc;

/// Hears how many bytes of a blob are sent; fewer than before when an upload begins again.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64) + Send + Sync>);

impl Progress {
    /// Hands the number of bytes to `take`, which must return quickly.
    pub fn new(take: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn reach(&self, sent: u64) {
        (self.0)(sent);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
