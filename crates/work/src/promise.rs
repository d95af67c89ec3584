//! A value that one thread promises and others wait for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The waiting side; cheap to clone.
#[derive(Debug)]
pub struct Promise<T> {
    shared: Arc<(Mutex<Option<T>>, Condvar)>,
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Promise {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Clone> Promise<T> {
    /// A promise nobody has kept yet.
    pub fn new() -> Promise<T> {
        Promise {
            shared: Arc::new((Mutex::new(None), Condvar::new())),
        }
    }

    /// Keeps the promise; the first value stays.
    pub fn keep(&self, value: T) {
        let (slot, wake) = &*self.shared;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(value);
        }
        wake.notify_all();
    }

    /// Blocks until the promise is kept. Not for async code.
    pub fn wait(&self) -> T {
        let (slot, wake) = &*self.shared;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(value) = &*slot {
                return value.clone();
            }
            slot = wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
