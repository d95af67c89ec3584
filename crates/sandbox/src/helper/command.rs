//! From a prepared root to the running command.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};

use super::supervise::Scope;
use super::{errno, identity, keyring, seccomp, step, working_directory};
use crate::sys::{self, Fork};
use crate::wire::{Bytes, Job};
use crate::{SetupError, missing_program};

/// What a command without PATH is searched in, as Docker has it.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that was just written stays busy for a moment if another thread of the executor started a process
/// while it was open; so it is tried this often, with this pause.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Forks the command and returns once it runs, or with the reason why it does not.
pub(super) fn start(job: &Job, scope: Scope) -> Result<Pid, SetupError> {
    // Closed by a successful exec; otherwise it brings the error.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(step("create", "pipe"))?;
    match sys::fork().map_err(step("fork", "command"))? {
        Fork::Child => {
            let Err(error) = become_command(job, scope);
            if let Ok(json) = serde_json::to_vec(&error) {
                let _ = File::from(writer).write_all(&json);
            }
            sys::exit_now(127);
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut json = Vec::new();
            File::from(reader)
                .read_to_end(&mut json)
                .map_err(step("read", "pipe"))?;
            if json.is_empty() {
                return Ok(child);
            }
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(child), WaitOptions::empty())
            });
            Err(serde_json::from_slice(&json)
                .unwrap_or_else(|_| step("start", "command")(Errno::EIO)))
        }
    }
}

fn become_command(job: &Job, scope: Scope) -> Result<Infallible, SetupError> {
    rustix::process::setsid().map_err(step("create", "session"))?;
    let cwd = working_directory(job, false)?;
    rustix::process::fchdir(&cwd).map_err(|error| SetupError::WorkingDirectory {
        path: job.cwd.lossy(),
        errno: error.raw_os_error(),
    })?;
    drop(cwd);
    // Opened anew, because the helper's is of another root.
    if let Ok(null) = File::open("/dev/null") {
        nix::unistd::dup2_stdin(null).map_err(step("open", "/dev/null"))?;
    }
    let keyring = keyring::join_own();
    // While this process may: the user of the command may not.
    if !seccomp::confine(scope)? {
        keyring?;
    }
    identity::assume(job)?;
    if scope == Scope::Descendants {
        // After the change of user, which clears it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(step("set", "parent-death signal"))?;
    }
    sys::reset_signals().map_err(step("reset", "signals"))?;
    exec(job)
}

fn exec(job: &Job) -> Result<Infallible, SetupError> {
    let Some(first) = job.argv.first() else {
        return Err(SetupError::NoSuchFile {
            path: String::new(),
        });
    };
    let invalid = |_| SetupError::NotExecutable {
        path: first.lossy(),
        errno: nix::libc::EINVAL,
    };
    let arguments: Vec<CString> = job
        .argv
        .iter()
        .map(|word| CString::new(word.0.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(invalid)?;
    let environment = environment(job).map_err(invalid)?;
    if first.0.contains(&b'/') {
        return Err(try_exec(&first.0, &arguments, &environment));
    }
    let search_path = search_path(job);
    let directories = search_path
        .split(|byte| *byte == b':')
        .filter(|_| !first.0.is_empty());
    let mut refused = None;
    for directory in directories {
        let directory = if directory.is_empty() {
            b".".as_slice()
        } else {
            directory
        };
        let candidate = [directory, b"/", &first.0].concat();
        match try_exec(&candidate, &arguments, &environment) {
            SetupError::NoSuchFile { .. } => {}
            error @ SetupError::NotExecutable {
                errno: nix::libc::EACCES,
                ..
            } => {
                // A directory of that name is passed over.
                if !Path::new(OsStr::from_bytes(&candidate)).is_dir() {
                    refused.get_or_insert(error);
                }
            }
            error => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| SetupError::CommandNotFound {
        command: first.lossy(),
        search_path: String::from_utf8_lossy(search_path).into_owned(),
    }))
}

fn search_path(job: &Job) -> &[u8] {
    let set = job.env.iter().rev().find(|(name, _)| name.0 == b"PATH");
    set.map_or(DEFAULT_PATH, |(_, value)| value.0.as_slice())
}

/// The environment as given, and `PWD` (D4), which a shell would set and an exec form would miss.
fn environment(job: &Job) -> Result<Vec<CString>, std::ffi::NulError> {
    let mut variables: Vec<(&[u8], &[u8])> = job
        .env
        .iter()
        .map(|(name, value)| (name.0.as_slice(), value.0.as_slice()))
        .collect();
    // We are there by now: the kernel's name for it, without links and without a slash at the end.
    let cwd = std::env::current_dir().unwrap_or_else(|_| Path::new("/").join(job.cwd.path()));
    if !variables.iter().any(|(name, _)| *name == b"PWD") {
        variables.push((b"PWD", cwd.as_os_str().as_bytes()));
    }
    variables
        .into_iter()
        .map(|(name, value)| CString::new([name, b"=", value].concat()))
        .collect()
}

/// Returns only if the file cannot be executed, with the reason in the user's terms (D7).
fn try_exec(path: &[u8], arguments: &[CString], environment: &[CString]) -> SetupError {
    let name = Bytes(path.to_vec()).lossy();
    let Ok(file) = CString::new(path) else {
        return SetupError::NotExecutable {
            path: name,
            errno: nix::libc::EINVAL,
        };
    };
    let mut error = refused_exec(&file, arguments, environment);
    for _ in 0..BUSY_TRIES {
        if error != Errno::ETXTBSY {
            break;
        }
        std::thread::sleep(BUSY_PAUSE);
        error = refused_exec(&file, arguments, environment);
    }
    match error {
        Errno::ENOENT | Errno::ENOTDIR => {
            missing_program::explain(Path::new(OsStr::from_bytes(path)))
        }
        Errno::ENOEXEC => SetupError::ExecFormat { path: name },
        error => SetupError::NotExecutable {
            path: name,
            errno: errno(&error.into()),
        },
    }
}

fn refused_exec(file: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let Err(error) = nix::unistd::execve(file, arguments, environment);
    error
}
