//! Watching over the command: reaping, cancelling, and leaving no process behind (D8, D9).

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, WaitOptions};

use crate::processes::{Process, descendants};
use crate::run::timespec;
use crate::wire::Report;

/// How long to wait before looking again for descendants that were forked while we killed.
const RESCAN: Duration = Duration::from_millis(20);

/// Which processes are the command's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All others in this pid namespace, whose init we are.
    PidNamespace,
    /// All descendants of ours; orphans come back to us as their subreaper.
    Descendants,
}

/// Learns of dead children through a descriptor, so that it can wait for the executor at the same time.
pub(super) struct Supervisor {
    children: SignalFd,
}

impl Supervisor {
    /// To be called before the command is started, or its death could be missed.
    pub(super) fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { children })
    }

    /// Returns how the main process ended, after every other one is gone as well.
    pub(super) fn watch(
        &self,
        main: Pid,
        control: &OwnedFd,
        grace: Duration,
        scope: Scope,
    ) -> io::Result<Report> {
        let mut deadline: Option<Instant> = None;
        let mut listening = true;
        let report = loop {
            if let Some(report) = self.reap(main)? {
                break report;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                // At once, and not after a look at all processes: what forks most is most likely in here.
                let _ = rustix::process::kill_process_group(main, rustix::process::Signal::KILL);
                break Report::Signal(Signal::SIGKILL as i32);
            }
            match self.wait(listening.then_some(control), deadline)? {
                Some(Request::Cancel) => {
                    deadline.get_or_insert(Instant::now() + grace);
                    // It is the leader of its session, hence of a group; a command that is gone is no error.
                    let _ =
                        rustix::process::kill_process_group(main, rustix::process::Signal::TERM);
                }
                // The executor is dead: nobody is left to see a polite end.
                Some(Request::Gone) => {
                    listening = false;
                    deadline = Some(Instant::now());
                }
                None => {}
            }
        };
        match scope {
            Scope::PidNamespace => end_namespace()?,
            Scope::Descendants => self.end_descendants(main)?,
        }
        Ok(report)
    }

    /// Reaps whatever is dead; tells if the main process was among it.
    fn reap(&self, main: Pid) -> io::Result<Option<Report>> {
        while self.children.read_signal()?.is_some() {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == main => {
                    let code = status.exit_status().map(Report::Code);
                    let signal = status.terminating_signal().map(Report::Signal);
                    return Ok(Some(code.or(signal).unwrap_or(Report::Code(1))));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sleeps until a child dies, the executor says something, or the deadline passes.
    fn wait(
        &self,
        control: Option<&OwnedFd>,
        deadline: Option<Instant>,
    ) -> io::Result<Option<Request>> {
        let mut fds = vec![PollFd::new(&self.children, PollFlags::IN)];
        if let Some(control) = control {
            fds.push(PollFd::new(control, PollFlags::IN));
        }
        let timeout =
            deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (Some(control), Some(slot)) = (control, fds.get(1)) else {
            return Ok(None);
        };
        if slot.revents().is_empty() {
            return Ok(None);
        }
        let mut byte = [0];
        match rustix::net::recv(control, &mut byte, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => Ok(Some(Request::Gone)),
            Ok(_) => Ok(Some(Request::Cancel)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn end_descendants(&self, main: Pid) -> io::Result<()> {
        loop {
            let kill = rustix::process::Signal::KILL;
            let found = descendants(rustix::process::getpid());
            // Whole groups first, which the kernel does at one blow: no member can fork meanwhile.
            for group in groups(&found, main) {
                let _ = rustix::process::kill_process_group(group, kill);
            }
            for process in found {
                let _ = rustix::process::kill_process(process.pid, kill);
            }
            loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) | Err(Errno::INTR) => {}
                    Ok(None) => break,
                    Err(Errno::CHILD) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            let mut fds = [PollFd::from_borrowed_fd(
                self.children.as_fd(),
                PollFlags::IN,
            )];
            let _ = poll(&mut fds, Some(&timespec(RESCAN)));
            while self.children.read_signal()?.is_some() {}
        }
    }
}

/// What the executor wants.
enum Request {
    Cancel,
    Gone,
}

fn end_namespace() -> io::Result<()> {
    loop {
        // From the init of a pid namespace, -1 means everyone in it but ourselves.
        let _ = signal::kill(nix::unistd::Pid::from_raw(-1), Signal::SIGKILL);
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The groups to be killed. The command began a session of its own, and nobody can join a group of another session, so none
/// of these groups has a stranger in it.
fn groups(found: &[Process], main: Pid) -> HashSet<Pid> {
    let own = rustix::process::getpgrp();
    let mut groups: HashSet<Pid> = found.iter().filter_map(|process| process.group).collect();
    if found.is_empty() {
        // Without /proc, at least what stayed in the command's own.
        groups.insert(main);
    }
    groups.remove(&own);
    groups
}
