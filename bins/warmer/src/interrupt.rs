//! Signals that ask the program to end. It has to listen for them: the first process of a container, as the warmer of a
//! Kubernetes Job is, is not ended by a signal that it has no handler for.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the first of the signals comes, with a word for it. They count from this call on.
pub(crate) fn told_to_end() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "terminated",
            _ = interrupt.recv() => "interrupted",
            _ = hang_up.recv() => "hung up",
        }
    })
}
