//! Ctrl-C and termination stop the build in an orderly way.

use std::time::Duration;

use kiln_engine::Cancel;
use nix::sys::signal::{SigSet, Signal};

/// The signals that ask a program to end.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// How long a build has to end in an orderly way after a signal. Whoever sent it expects the end within a second.
const ORDERLY: Duration = Duration::from_millis(800);

/// Has the signals wait until somebody [watches](Signals::watch) for them: from here on none of them ends the
/// process where it stands, with a work folder that nobody removes. Threads started later inherit this; programs
/// do not.
#[derive(Debug)]
pub(crate) struct Signals(SigSet);

impl Signals {
    /// To be called while the process has one thread.
    pub(crate) fn hold() -> Signals {
        let set: SigSet = SIGNALS.into_iter().collect();
        if let Err(error) = set.thread_block() {
            tracing::warn!("cannot hold signals, an interrupted build will not clean up: {error}");
        }
        Signals(set)
    }

    /// Cancels the build at the first signal, also one that came before; a second one ends the process as it is.
    pub(crate) fn watch(self, cancel: &Cancel) {
        let cancel = cancel.clone();
        let watching = std::thread::Builder::new()
            .name("kiln-signals".to_owned())
            .spawn(move || {
                let Ok(first) = self.0.wait() else { return };
                tracing::warn!("{}: stopping; once more to stop at once", name(first));
                cancel.cancel();
                leave_in_time();
                if let Ok(second) = self.0.wait() {
                    at_once(128 + second as i32);
                }
            });
        if let Err(error) = watching {
            tracing::warn!("cannot watch for signals: {error}");
        }
    }
}

/// Ends the process when the build did not: some system calls, such as writing to a slow disk, cannot be hurried.
fn leave_in_time() {
    let waiting = std::thread::Builder::new()
        .name("kiln-deadline".to_owned())
        .spawn(|| {
            std::thread::sleep(ORDERLY);
            tracing::error!(
                "interrupted; what was under way did not stop in time and is left to the kernel"
            );
            kiln_engine::abandon();
            at_once(1);
        });
    if let Err(error) = waiting {
        tracing::warn!("cannot watch the time: {error}");
    }
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGINT => "interrupted",
        Signal::SIGHUP => "hung up",
        _ => "terminated",
    }
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; nothing may hold the process up any more"
)]
fn at_once(code: i32) -> ! {
    std::process::exit(code)
}
