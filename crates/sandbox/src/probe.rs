//! Finding out what this machine allows by trying it in a child process, whose namespaces vanish with it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::id_map::{can_map_all, enter_user_namespace, words};
use crate::sys::{self, Fork};
use crate::{IdMap, overlay};

/// One way into a mount namespace in which we are root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As we are, with the capability `SYS_ADMIN`.
    Privileged,
    /// Through a new user namespace with these ids.
    User(IdMap),
}

/// What works after a way was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Allowed {
    pub(crate) overlay: bool,
    /// Whether a new /proc can be mounted, rather than only the old one be shown.
    pub(crate) fresh_proc: bool,
}

/// The ways worth trying, best first.
pub(crate) fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    let root = rustix::process::geteuid().is_root();
    let admin = rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN));
    if root && admin {
        ways.push(Way::Privileged);
    }
    if can_map_all() {
        ways.push(Way::User(IdMap::Full));
    }
    if !root {
        ways.push(Way::User(IdMap::SubIds));
    }
    ways.push(Way::User(IdMap::Single));
    ways
}

/// Takes a way with this process, for good.
pub(crate) fn take(way: Way) -> Result<(), String> {
    match way {
        Way::Privileged => nix::sched::unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|error| format!("new mount namespace: {}", words(error)))?,
        Way::User(ids) => enter_user_namespace(ids)?,
    }
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|error| format!("make mounts private: {}", words(error)))
}

/// Takes a way with a child process and tries there what a sandbox needs.
pub(crate) fn try_way(way: Way, work_dir: &Path) -> Result<Allowed, String> {
    // Made here, so that it is removed whatever becomes of the child.
    let scratch = tempfile::tempdir_in(work_dir).map_err(|error| {
        format!(
            "temporary directory in `{}`: {}",
            work_dir.display(),
            words(error)
        )
    })?;
    in_child(|| {
        take(way)?;
        let fresh_proc = try_sandbox(scratch.path());
        let overlay = fresh_proc.is_ok() && overlay::try_overlay(scratch.path()).is_ok();
        // Outside, nobody may have the rights to remove what a user namespace made.
        let _ = fs::read_dir(scratch.path()).map(|entries| {
            entries
                .flatten()
                .for_each(|entry| drop(fs::remove_dir_all(entry.path())));
        });
        Ok(Allowed {
            overlay,
            fresh_proc: fresh_proc?,
        })
    })
}

fn try_sandbox(scratch: &Path) -> Result<bool, String> {
    let refused =
        |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {}", words(error));
    let root = scratch.join("root");
    fs::create_dir(&root).map_err(|error| format!("make directory: {}", words(error)))?;
    rustix::mount::mount("tmpfs", &root, "tmpfs", MountFlags::empty(), None)
        .map_err(refused("mount tmpfs"))?;
    let (bound, proc) = (root.join("bound"), root.join("proc"));
    for directory in [&bound, &proc] {
        fs::create_dir(directory).map_err(|error| format!("make directory: {}", words(error)))?;
    }
    rustix::mount::mount_bind_recursive(&root, &bound).map_err(refused("bind mount"))?;
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    nix::sched::unshare(flags)
        .map_err(|error| format!("new pid, ipc and uts namespaces: {}", words(error)))?;
    let fresh_proc = in_child(|| {
        if rustix::mount::mount("proc", &proc, "proc", MountFlags::empty(), None).is_ok() {
            return Ok(true);
        }
        rustix::mount::mount_bind_recursive("/proc", &proc)
            .map_err(refused("mount or bind /proc"))?;
        Ok(false)
    })?;
    rustix::mount::unmount(&root, UnmountFlags::DETACH).map_err(refused("unmount"))?;
    Ok(fresh_proc)
}

/// Runs a function in a child process and brings its result back.
fn in_child<T>(function: impl FnOnce() -> Result<T, String>) -> Result<T, String>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    match sys::fork().map_err(|error| format!("fork: {}", words(error)))? {
        Fork::Child => {
            drop(reader);
            if let Ok(json) = serde_json::to_vec(&function()) {
                let _ = File::from(writer).write_all(&json);
            }
            sys::exit_now(0);
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut json = Vec::new();
            let read = File::from(reader).read_to_end(&mut json);
            let status: Option<(_, WaitStatus)> = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(child), WaitOptions::empty())
            })
            .map_err(|error| error.to_string())?;
            read.map_err(|error| error.to_string())?;
            serde_json::from_slice(&json)
                .unwrap_or_else(|_| Err(format!("the trial process ended with {status:?}")))
        }
    }
}
