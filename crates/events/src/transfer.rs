//! Bytes on their way: what a transfer is, and a meter that tells how far it is without telling too often.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_oci::Digest;

use crate::{Event, EventSink, Subject};

/// A transfer is told at most so often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// So many bytes are worth an event of their own.
const WORTH_TELLING: u64 = 64 << 10;
/// After this time fewer bytes are told as well.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransferKind {
    /// A blob out of a registry; its bytes are counted.
    Pull,
    /// A blob into a registry; its bytes are counted.
    Push,
    /// A layer into a root filesystem; the bytes of its blob are counted, or of its files where there is no blob yet.
    Unpack,
    /// Files into a layer; the bytes of the tar stream are counted.
    Pack,
}

impl TransferKind {
    /// The name of the kind; it stays the same in later versions.
    pub fn name(self) -> &'static str {
        match self {
            TransferKind::Pull => "pull",
            TransferKind::Push => "push",
            TransferKind::Unpack => "unpack",
            TransferKind::Pack => "pack",
        }
    }
}

/// Tells one transfer of this process from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(u64);

impl TransferId {
    fn next() -> TransferId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        TransferId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One blob or layer on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The same in all events of this transfer.
    pub id: TransferId,
    /// Which way it goes.
    pub kind: TransferKind,
    /// Digest of the blob, if it is known.
    pub digest: Option<Digest>,
    /// Whom it is for, if that is known.
    pub subject: Option<Subject>,
    /// The repository at the other end of a pull or push.
    pub repository: Option<String>,
    /// How many bytes there will be, if that is known. Of [`TransferKind::Pack`] an estimate: headers of long names
    /// come on top.
    pub wanted: Option<u64>,
}

impl Transfer {
    /// A transfer of which nothing else is known yet.
    pub fn new(kind: TransferKind) -> Transfer {
        Transfer {
            id: TransferId::next(),
            kind,
            digest: None,
            subject: None,
            repository: None,
            wanted: None,
        }
    }

    /// The same, of this blob.
    #[must_use]
    pub fn of(mut self, digest: Digest, size: u64) -> Transfer {
        (self.digest, self.wanted) = (Some(digest), Some(size));
        self
    }

    /// The same, for somebody.
    #[must_use]
    pub fn on_behalf_of(mut self, subject: Option<Subject>) -> Transfer {
        self.subject = subject;
        self
    }

    /// The same, with a repository at the other end.
    #[must_use]
    pub fn with_repository(mut self, repository: &impl ToString) -> Transfer {
        self.repository = Some(repository.to_string());
        self
    }

    /// The same, of so many bytes.
    #[must_use]
    pub fn wanting(mut self, bytes: u64) -> Transfer {
        self.wanted = Some(bytes);
        self
    }
}

/// Tells how far one transfer is: that it began when the first byte is on its way, how far it is no more than every tenth of a
/// second, and how it ended. One that is dropped before it is done has failed.
#[derive(Debug)]
pub struct Meter {
    events: Arc<dyn EventSink>,
    transfer: Transfer,
    moved: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// No byte was on its way.
    Waiting,
    Moving {
        begun: Instant,
        throttle: Throttle,
    },
    Ended,
}

impl Meter {
    /// For a transfer that has not begun.
    pub fn new(events: &Arc<dyn EventSink>, transfer: Transfer) -> Meter {
        Meter {
            events: Arc::clone(events),
            transfer,
            moved: AtomicU64::new(0),
            state: Mutex::new(State::Waiting),
        }
    }

    /// So many more bytes have moved.
    pub fn add(&self, bytes: u64) {
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.tell(moved);
    }

    /// So many bytes have moved in all; fewer than before if the transfer had to begin again.
    pub fn reach(&self, moved: u64) {
        self.moved.store(moved, Ordering::Relaxed);
        self.tell(moved);
    }

    /// The transfer is done. Says nothing of one that never began: its bytes were there already.
    pub fn done(&self) {
        self.end(true);
    }

    fn tell(&self, moved: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Waiting => {
                let begun = Instant::now();
                let throttle = Throttle::default();
                *state = State::Moving { begun, throttle };
                self.events.event(Event::TransferBegun {
                    transfer: self.transfer.clone(),
                });
            }
            State::Moving { begun, throttle } => {
                if throttle.is_due(begun.elapsed(), moved) {
                    self.events.event(Event::TransferMoved {
                        transfer: self.transfer.clone(),
                        moved,
                    });
                }
            }
            State::Ended => {}
        }
    }

    fn end(&self, done: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Moving { begun, .. } = &*state {
            self.events.event(Event::TransferEnded {
                transfer: self.transfer.clone(),
                moved: self.moved.load(Ordering::Relaxed),
                took: begun.elapsed(),
                done,
            });
        }
        *state = State::Ended;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Has no effect on one that is done.
        self.end(false);
    }
}

/// When to tell again.
#[derive(Debug, Default)]
struct Throttle {
    /// Time since the beginning, and bytes, of what was told last.
    told: (Duration, u64),
}

impl Throttle {
    /// Whether `moved` bytes at this time since the beginning are to be told; then they count as told.
    fn is_due(&mut self, now: Duration, moved: u64) -> bool {
        let (then, before) = self.told;
        let pause = now.saturating_sub(then);
        let worth = moved.abs_diff(before) >= WORTH_TELLING || pause >= LONG_PAUSE;
        let due = pause >= SHORTEST_PAUSE && worth;
        if due {
            self.told = (now, moved);
        }
        due
    }
}

/// Bytes that are counted as they are read or written.
#[derive(Debug)]
pub struct Metered<T> {
    inner: T,
    meter: Option<Arc<Meter>>,
}

impl<T> Metered<T> {
    /// Counts what is read from or written to `inner`; without a meter it only passes on.
    pub fn new(inner: T, meter: Option<Arc<Meter>>) -> Metered<T> {
        Metered { inner, meter }
    }

    fn count(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.add(bytes as u64);
        }
    }
}

impl<R: io::Read> io::Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(read);
        Ok(read)
    }
}

impl<W: io::Write> io::Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_often_than_every_tenth_of_a_second() {
        let ms = Duration::from_millis;
        let table = [
            // Whatever moved.
            (ms(99), 10 << 20, false),
            (ms(100), 10 << 20, true),
            (ms(199), 20 << 20, false),
            (ms(200), 20 << 20, true),
            // Little moved: not before a second is over.
            (ms(300), (20 << 20) + 1, false),
            (ms(1199), (20 << 20) + 2, false),
            (ms(1200), (20 << 20) + 3, true),
            // It began again.
            (ms(1300), 1 << 20, true),
        ];
        assert!(!table.is_empty());
        let mut throttle = Throttle::default();
        for (now, moved, due) in table {
            assert_eq!(throttle.is_due(now, moved), due, "{moved} at {now:?}");
        }
    }
}
