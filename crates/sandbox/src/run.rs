//! The executor's side of a run: starts the helper, passes output on, and tells it when to stop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::orphans::Orphans;
use crate::output::Output;
use crate::wire::{self, Job, Report};
use crate::{Cancel, Exit, RunRoot, RunSpec, SandboxError, Stream, sys};

/// The name by which the helper knows itself.
pub(crate) const HELPER_NAME: &str = "kiln-sandbox";

const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// How long after the grace time the helper itself may take before it is killed as well, and with it the command's
/// pid namespace. In place nothing else ends what a command started, so there is more patience.
const HELPER_GRACE: Duration = Duration::from_millis(400);
const HELPER_GRACE_IN_PLACE: Duration = Duration::from_secs(5);

/// How often is looked whether a command in place has stopped the helper.
const LOOK: Duration = Duration::from_millis(200);

/// Runs one command and returns how it ended, once every process it started is gone (D9).
///
/// `output` gets each line, with its newline, as soon as it was written (D10); only a line over 64 KiB and the end
/// of the output come without one.
pub fn run(
    spec: &RunSpec,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<Exit, SandboxError> {
    check(spec)?;
    if cancel.is_cancelled() {
        return Err(SandboxError::Cancelled);
    }
    let job = Job::new(spec, cancel.grace())
        .map_err(|source| SandboxError::io("resolve", ".", source))?;
    let orphans = job.root.is_none().then(Orphans::expect);
    let mut helper = Helper::start()?;
    let cancelled = helper.converse(&job, output, cancel);
    let report = helper.report.take();
    let status = helper.wait()?;
    // A helper that reports is the last one to go. In place a command can kill it before.
    if let (Some(orphans), None) = (orphans, &report) {
        orphans.end();
    }
    let cancelled = cancelled?;
    helper
        .stdout
        .drain(output)
        .map_err(|source| SandboxError::io("read", "stdout", source))?;
    helper
        .stderr
        .drain(output)
        .map_err(|source| SandboxError::io("read", "stderr", source))?;
    match report {
        _ if cancelled => Err(SandboxError::Cancelled),
        Some(Report::Failed(error)) => Err(error.into()),
        Some(Report::Code(code)) => Ok(Exit::Code(code)),
        Some(Report::Signal(signal)) => Ok(Exit::Signal(signal)),
        None => Err(SandboxError::HelperDied { status }),
    }
}

fn check(spec: &RunSpec) -> Result<(), SandboxError> {
    match (&spec.root, spec.mounts.first()) {
        (RunRoot::Directory(_), _) | (RunRoot::Host, None) => Ok(()),
        (RunRoot::Host, Some(mount)) => Err(SandboxError::Unsupported {
            what: format!("a mount at `{}`", mount.target().display()),
            mode: "in place",
        }),
    }
}

/// The helper process and the ends of its pipes. Dropping it ends the command and waits for it.
struct Helper {
    child: Child,
    control: Option<OwnedFd>,
    stdout: Output,
    stderr: Output,
    report: Option<Report>,
}

impl Helper {
    fn start() -> Result<Self, SandboxError> {
        let (ours, theirs) =
            UnixStream::pair().map_err(|source| SandboxError::io("create", "socket", source))?;
        let protected = protected_executable();
        let path = match &protected {
            Some(fd) => descriptor_path(fd),
            None => PathBuf::from(OWN_EXECUTABLE),
        };
        // The socket is the helper's standard input: the one way to hand over a descriptor without `pre_exec`,
        // which would make the standard library fork this process instead of using posix_spawn.
        let mut child = Command::new(&path)
            .arg0(HELPER_NAME)
            .env_clear()
            // Ctrl-C on a terminal is for the executor, which then ends the command in its own way.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| SandboxError::io("start the sandbox helper", &path, source))?;
        let pipes = (child.stdout.take(), child.stderr.take());
        let (Some(stdout), Some(stderr)) = pipes else {
            return Err(SandboxError::HelperDied {
                status: "no pipes".to_owned(),
            });
        };
        let output = |pipe: OwnedFd, stream| {
            Output::new(pipe, stream)
                .map_err(|source| SandboxError::io("set up", "output pipe", source))
        };
        Ok(Self {
            child,
            control: Some(ours.into()),
            stdout: output(stdout.into(), Stream::Stdout)?,
            stderr: output(stderr.into(), Stream::Stderr)?,
            report: None,
        })
    }

    /// Sends the job and passes output on until the helper closes its socket; returns whether it was cancelled.
    fn converse(
        &mut self,
        job: &Job,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<bool, SandboxError> {
        let on_socket = |source| SandboxError::io("talk to", "sandbox helper", source);
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| on_socket(errno.into()))?;
        let waker = Arc::new(waker);
        cancel.register(&waker);
        let Some(control) = self.control.take() else {
            return Ok(false);
        };
        if wire::send(&control, job).is_err() {
            // It died before it read its job; its exit status says more than our broken pipe.
            return Ok(false);
        }
        let patience = if job.root.is_some() {
            HELPER_GRACE
        } else {
            HELPER_GRACE_IN_PLACE
        };
        let in_place = job.root.is_none();
        let mut deadline: Option<Instant> = None;
        loop {
            let waker_if_armed = deadline.is_none().then_some(&*waker);
            let next_look = in_place.then(|| Instant::now() + LOOK);
            let ready = wait_for(
                &control,
                [self.stdout.pipe(), self.stderr.pipe()],
                waker_if_armed,
                deadline.into_iter().chain(next_look).min(),
            )
            .map_err(on_socket)?;
            if in_place {
                self.go_on();
            }
            if ready.cancelled {
                deadline = Some(Instant::now() + cancel.grace() + patience);
                // A helper that is gone already cannot be told; the end of the socket follows.
                let _ = wire::send_all(&control, &[wire::CANCEL]);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                // The helper's children have it as their parent-death signal.
                self.child.kill().map_err(on_socket)?;
                return Ok(true);
            }
            if ready.stdout {
                self.stdout.read(output).map_err(on_socket)?;
            }
            if ready.stderr {
                self.stderr.read(output).map_err(on_socket)?;
            }
            if ready.control {
                match wire::receive(&control).map_err(on_socket)? {
                    Some(report) => self.report = Some(report),
                    None => return Ok(deadline.is_some()),
                }
            }
        }
    }

    /// In place, a command can stop the helper as well as kill it (`kill -STOP $PPID`).
    fn go_on(&self) {
        let own = rustix::process::Pid::from_child(&self.child);
        let stopped = rustix::process::waitid(
            WaitId::Pid(own),
            WaitIdOptions::STOPPED | WaitIdOptions::NOHANG,
        );
        if matches!(stopped, Ok(Some(_))) {
            let _ = rustix::process::kill_process(own, Signal::CONT);
        }
    }

    fn wait(&mut self) -> Result<String, SandboxError> {
        let status = self
            .child
            .wait()
            .map_err(|source| SandboxError::io("wait for", "sandbox helper", source))?;
        Ok(status.to_string())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // After an early return or a panic in the caller's closure: the closed socket tells the helper to end all.
        self.control = None;
        let _ = self.child.wait();
    }
}

/// What can be read without waiting.
#[derive(Default)]
struct Ready {
    control: bool,
    stdout: bool,
    stderr: bool,
    cancelled: bool,
}

fn wait_for(
    control: &OwnedFd,
    outputs: [Option<&OwnedFd>; 2],
    waker: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    let all = [Some(control), outputs[0], outputs[1], waker];
    let mut slots = Vec::with_capacity(all.len());
    let mut fds = Vec::with_capacity(all.len());
    for (slot, fd) in all.into_iter().enumerate() {
        if let Some(fd) = fd {
            slots.push(slot);
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
    }
    let timeout =
        deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = Ready::default();
    for (slot, fd) in slots.into_iter().zip(&fds) {
        let readable = !fd.revents().is_empty();
        match slot {
            0 => ready.control = readable,
            1 => ready.stdout = readable,
            2 => ready.stderr = readable,
            _ => ready.cancelled = readable,
        }
    }
    Ok(ready)
}

/// For [`poll`].
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// A name for what a descriptor refers to, for calls that take a path.
pub(crate) fn descriptor_path(fd: &impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(fd.as_fd().as_raw_fd().to_string())
}

/// This executable through a read-only mount of its own, so that a command that gets hold of `/proc/PID/exe` of
/// the helper cannot write to it. `None` where no mount is allowed.
fn protected_executable() -> Option<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};

    // By its name, because `/proc/self/exe` leads into the mount namespace this process was started in.
    let path = std::env::current_exe().ok()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let executable = open_tree(rustix::fs::CWD, &path, flags).ok()?;
    let (named, running) = (
        rustix::fs::fstat(&executable).ok()?,
        rustix::fs::stat(OWN_EXECUTABLE).ok()?,
    );
    if (named.st_dev, named.st_ino) != (running.st_dev, running.st_ino) {
        return None;
    }
    sys::set_read_only_recursive(executable.as_fd()).ok()?;
    Some(executable)
}
