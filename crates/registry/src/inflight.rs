//! The same job asked for twice runs once: the second caller waits for the first and shares its result.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// Results by key, kept until forgotten. A failure is not kept: the next waiter tries for itself.
pub(crate) struct Inflight<K, V> {
    cells: Mutex<HashMap<K, Arc<OnceCell<V>>>>,
}

impl<K, V> Default for Inflight<K, V> {
    fn default() -> Self {
        Self {
            cells: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Eq + Hash, V: Clone> Inflight<K, V> {
    /// The result for `key`, from `job` unless it is known or being made; `true` if `job` made it.
    pub(crate) async fn run<E>(
        &self,
        key: K,
        job: impl Future<Output = Result<V, E>>,
    ) -> Result<(V, bool), E> {
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(key).or_default())
        };
        let mut made = false;
        let value = cell
            .get_or_try_init(|| async {
                made = true;
                job.await
            })
            .await?;
        Ok((value.clone(), made))
    }

    /// The result for `key`, if there is one already.
    pub(crate) fn known(&self, key: &K) -> Option<V> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(key).and_then(|cell| cell.get().cloned())
    }

    /// Drops what is known about `key`; a job under way is not disturbed.
    pub(crate) fn forget(&self, key: &K) {
        self.cells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// Drops everything whose key does not satisfy `keep`.
    pub(crate) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.cells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| keep(key));
    }
}

impl<K, V> fmt::Debug for Inflight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflight")
    }
}
