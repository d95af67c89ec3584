//! The threads that a build starts and does not wait for at once: packers, fetchers, removers. They are all
//! gone before the work folder goes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Threads to be waited for; clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Workers(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Workers {
    /// Starts a thread; fails when the system has none left.
    pub fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(work)?;
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Waits for all threads, also those that others start meanwhile. Blocks; not for async code.
    pub fn join(&self) {
        loop {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = next else { return };
            // A panic was reported where the thread's result is waited for.
            let _ = thread.join();
        }
    }
}
