//! The helper process: this executable, started again, as the parent of one command.
//!
//! It is called `kiln-sandbox` and has a socket as standard input, over which it gets its job. For a directory as
//! root there are three processes: the helper, which only waits; the init of the new pid namespace, which prepares
//! the root, supervises and cleans up; and the command. In place, the helper is the supervisor itself.

mod command;
mod devices;
mod discard;
mod identity;
mod job_mounts;
mod keyring;
mod masks;
mod mounts;
mod namespace;
mod seccomp;
mod supervise;
mod target;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::sched::CloneFlags;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use crate::SetupError;
use crate::run::HELPER_NAME;
use crate::sys::{self, Fork};
use crate::wire::{self, Job, Report};
use supervise::{Scope, Supervisor};

/// First line of `main`: if this process was started as the sandbox helper, does its work and never returns.
pub fn init() {
    let named = std::env::args_os()
        .next()
        .is_some_and(|name| name.as_bytes() == HELPER_NAME.as_bytes());
    if named && stdin_is_socket() {
        let code = help().map_or(1, |()| 0);
        sys::exit_now(code);
    }
}

fn stdin_is_socket() -> bool {
    rustix::fs::fstat(io::stdin())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// The whole life of the helper. An error here means that the executor could not be told.
fn help() -> io::Result<()> {
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    nix::unistd::dup2_stdin(dev_null()?)?;
    // What the executor inherited from its own parent must not reach the command, nor may the command look into us.
    sys::close_rest_on_exec()?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let Some(job) = wire::receive::<Job>(&control)? else {
        return Ok(());
    };
    let Some(root) = &job.root else {
        let report = in_place(&control, &job).unwrap_or_else(Report::Failed);
        return wire::send(&control, &report);
    };
    match fork_init() {
        Ok(Fork::Child) => {
            let report = namespace::run(&control, &job, root.path()).unwrap_or_else(Report::Failed);
            wire::send(&control, &report)
        }
        Ok(Fork::Parent(init)) => {
            // The end of the socket and of the pipes tells the executor that all is over, so only init holds them.
            drop(control);
            release_output()?;
            wait_for(init)
        }
        Err(error) => wire::send(&control, &Report::Failed(error)),
    }
}

/// Forks the first process of a new pid namespace; the kernel kills it when the helper dies, and all others with it.
fn fork_init() -> Result<Fork, SetupError> {
    nix::sched::unshare(CloneFlags::CLONE_NEWPID).map_err(step("create", "pid namespace"))?;
    let side = sys::fork().map_err(step("fork", "init process"))?;
    if matches!(side, Fork::Child) {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(step("set", "parent-death signal"))?;
    }
    Ok(side)
}

fn in_place(control: &OwnedFd, job: &Job) -> Result<Report, SetupError> {
    let own_pid = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own_pid))
        .map_err(step("become", "child subreaper"))?;
    std::env::set_current_dir("/").map_err(step("enter", "/"))?;
    rustix::process::umask(UMASK);
    if job.own_network {
        // The one namespace that a command in place may have, where the container lets us make it.
        nix::sched::unshare(CloneFlags::CLONE_NEWNET)
            .map_err(step("create", "network namespace"))?;
        sys::loopback_up().map_err(step("bring up", "loopback device"))?;
    }
    make_directory(job)?;
    supervise(control, job, Scope::Descendants)
}

/// Starts the command and stays until it and everything it started is gone.
fn supervise(control: &OwnedFd, job: &Job, scope: Scope) -> Result<Report, SetupError> {
    let supervisor = Supervisor::new().map_err(step("create", "signal descriptor"))?;
    let main = command::start(job, scope)?;
    release_output().map_err(step("open", "/dev/null"))?;
    supervisor
        .watch(main, control, job.grace, scope)
        .map_err(step("supervise", "command"))
}

/// What the command and everything made for it is created with (D4).
const UMASK: Mode = Mode::from_bits_retain(0o022);

/// Makes the working directory if it is missing, in what is `/` by now (D5).
fn make_directory(job: &Job) -> Result<(), SetupError> {
    working_directory(job, true).map(drop)
}

/// The working directory below what is `/` by now.
fn working_directory(job: &Job, make: bool) -> Result<OwnedFd, SetupError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(step("open", "/"))?;
    target::directory(root.as_fd(), &job.cwd.0, make).map_err(|error| {
        SetupError::WorkingDirectory {
            path: job.cwd.lossy(),
            errno: errno(&error),
        }
    })
}

/// Points our standard output and error elsewhere, so that only the command holds the pipes.
fn release_output() -> io::Result<()> {
    let null = dev_null()?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn dev_null() -> io::Result<OwnedFd> {
    Ok(File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}

fn wait_for(child: Pid) -> io::Result<()> {
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    match status {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("init process failed")),
    }
}

/// Turns a kernel error into the report that `operation` on `target` failed.
fn step<E: Into<io::Error>>(
    operation: &str,
    target: impl Into<String>,
) -> impl FnOnce(E) -> SetupError {
    let operation = operation.to_owned();
    let target = target.into();
    move |error| SetupError::Step {
        operation,
        target,
        errno: errno(&error.into()),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(nix::libc::EIO)
}
