//! What a command in place leaves behind when it has killed the helper that would have taken it away (D9).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::processes::{Process, descendants, process};

/// How long processes are killed that make others faster than they die.
const LONGEST_CHASE: Duration = Duration::from_secs(10);

/// Between two looks at the table of processes.
const PAUSE: Duration = Duration::from_millis(10);

/// This process as the one that orphans come to, and who was below it before the helper was started.
#[derive(Debug)]
pub(crate) struct Orphans {
    before: HashSet<(Pid, u64)>,
}

impl Orphans {
    /// To be called before the helper is started.
    pub(crate) fn expect() -> Self {
        let own = rustix::process::getpid();
        // Where it is refused, they go to the first process of the container, and there is nothing to be done.
        let _ = rustix::process::set_child_subreaper(Some(own));
        let before = descendants(own).iter().map(identity).collect();
        Self { before }
    }

    /// Ends every process that the command has left. To be called once the helper is gone.
    pub(crate) fn end(&self) {
        let end = Instant::now() + LONGEST_CHASE;
        while Instant::now() < end {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            for process in &left {
                let _ = rustix::process::kill_process(process.pid, Signal::KILL);
            }
            for process in &left {
                // Those that are children of another of them are reaped when that is gone.
                let _ = rustix::process::waitpid(Some(process.pid), WaitOptions::NOHANG);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The command began a session of its own, and nobody can join a session: whoever is in ours was started by this process
    /// itself, a credential helper for example.
    fn left(&self) -> Vec<Process> {
        let own = rustix::process::getpid();
        // Not by getsid(2), which says 0 for a session that began outside of this pid namespace.
        let Some(Process { session, .. }) = process(own.as_raw_nonzero().get()) else {
            return Vec::new();
        };
        let mut found = descendants(own);
        found.retain(|process| {
            process.session != session && !self.before.contains(&identity(process))
        });
        found
    }
}

fn identity(process: &Process) -> (Pid, u64) {
    (process.pid, process.started)
}
