//! Who is told what a library noticed that is no error: something was left out, or done in another way.
//!
//! Each library has a type of its own for what it notices, with words for people as its `Display`. It is given a
//! [`Listener`] and never writes to a log.
//!
//! ```
//! use kiln_notice::Listener;
//! use std::sync::mpsc;
//!
//! let (sender, heard) = mpsc::channel();
//! let listener = Listener::new(move |notice: &str| drop(sender.send(notice.len())));
//! listener.tell("left out");
//! Listener::default().tell("nobody listens");
//! assert_eq!(heard.into_iter().next(), Some(8));
//! ```

use std::fmt;
use std::sync::Arc;

/// Takes notices, from several threads at once; by default nobody listens.
pub struct Listener<N>(Option<Arc<dyn Fn(N) + Send + Sync>>);

impl<N> Listener<N> {
    /// Hands every notice to `take`, which must return quickly.
    pub fn new(take: impl Fn(N) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    /// Tells what was noticed.
    pub fn tell(&self, notice: N) {
        if let Some(take) = &self.0 {
            take(notice);
        }
    }
}

impl<N> Clone for Listener<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<N> Default for Listener<N> {
    fn default() -> Self {
        Self(None)
    }
}

impl<N> fmt::Debug for Listener<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
