//! Stopping a run from another thread.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long a command has after SIGTERM before it is killed, unless told otherwise. Whoever asks a build to end waits for
/// a second at most, and something must be left of it for cleaning up.
const DEFAULT_GRACE: Duration = Duration::from_millis(400);

/// A switch that ends every run it was given to: SIGTERM to the command's process group, SIGKILL to all after a
/// grace time (D8).
#[derive(Clone, Debug)]
pub struct Cancel {
    shared: Arc<Shared>,
}

struct Shared {
    cancelled: AtomicBool,
    grace: Duration,
    wakers: Mutex<Vec<Weak<OwnedFd>>>,
    hooks: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Cancel {
    /// A switch with 0.4 seconds between SIGTERM and SIGKILL.
    pub fn new() -> Self {
        Self::with_grace(DEFAULT_GRACE)
    }

    /// A switch with this time between SIGTERM and SIGKILL.
    pub fn with_grace(grace: Duration) -> Self {
        let shared = Shared {
            cancelled: AtomicBool::new(false),
            grace,
            wakers: Mutex::new(Vec::new()),
            hooks: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends the runs that hold this switch, and every later one before it starts.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        let mut wakers = self
            .shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.drain(..).filter_map(|waker| waker.upgrade()) {
            wake(&waker);
        }
        drop(wakers);
        let mut hooks = self.hooks();
        let called = std::mem::take(&mut *hooks);
        drop(hooks);
        for hook in called {
            hook();
        }
    }

    /// Calls `hook` on cancellation, at once if that was earlier. It must not block.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) {
        let mut hooks = self.hooks();
        // Under the lock, so that a cancellation is seen either here or in the list.
        if self.is_cancelled() {
            drop(hooks);
            hook();
        } else {
            hooks.push(Box::new(hook));
        }
    }

    fn hooks(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn FnOnce() + Send>>> {
        self.shared
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Time between SIGTERM and SIGKILL.
    pub fn grace(&self) -> Duration {
        self.shared.grace
    }

    /// Has `eventfd` become readable on cancellation, at once if that was earlier; forgotten with the last `Arc`.
    pub(crate) fn register(&self, eventfd: &Arc<OwnedFd>) {
        let mut wakers = self
            .shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(eventfd));
        // Under the lock, so that a cancellation is seen either here or in the list.
        if self.is_cancelled() {
            wake(eventfd);
        }
    }
}

fn wake(eventfd: &OwnedFd) {
    // An eventfd refuses a write only when its counter is full, and then it is readable already.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("cancelled", &self.cancelled)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Cancel;

    #[test]
    fn a_hook_is_called_once_whenever_it_was_given() {
        let cancel = Cancel::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = |calls: &Arc<AtomicUsize>| {
            let calls = Arc::clone(calls);
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        cancel.on_cancel(count(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        cancel.cancel();
        cancel.cancel();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        cancel.on_cancel(count(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
