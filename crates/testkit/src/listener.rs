//! A listener that keeps what it is told.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use kiln_events::{Event, EventSink};

/// Nothing in a test takes so long: what has not been told by then is not told.
const PATIENCE: Duration = Duration::from_mins(1);

/// Keeps all events in their order; a test can wait for one. Clones keep them together.
#[derive(Debug, Clone, Default)]
pub struct FakeListener(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

impl FakeListener {
    /// Heard nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same as a sink that can be given away.
    pub fn sink(&self) -> Arc<dyn EventSink> {
        Arc::new(self.clone())
    }

    /// What was told so far.
    pub fn events(&self) -> Vec<Event> {
        let events = self.0.events.lock();
        events.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until an event is told that `is_it` accepts, and gives the first. Panics if none comes in a minute.
    pub fn wait_for(&self, is_it: impl Fn(&Event) -> bool) -> Event {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |events: &mut Vec<Event>| !events.iter().any(&is_it);
        let waited = self.0.more.wait_timeout_while(events, PATIENCE, missing);
        let (events, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = events.iter().find(|event| is_it(event));
        found.cloned().expect("it is not told")
    }
}

impl EventSink for FakeListener {
    fn event(&self, event: Event) {
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
        self.0.more.notify_all();
    }
}
