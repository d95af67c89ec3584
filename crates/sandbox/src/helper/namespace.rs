//! A command in a directory as its root, prepared by the init process of a new pid namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::supervise::Scope;
use super::target::{Kind, Targets};
use super::{UMASK, devices, job_mounts, make_directory, masks, mounts, step, supervise};
use crate::wire::{Bytes, Job, Report};
use crate::{SetupError, sys};

/// What a command gets from `hostname`; the same everywhere, because it can end up in a layer.
const HOST_NAME: &[u8] = b"kiln";

/// What the kernel has before anybody gives it a name.
const DOMAIN_NAME: &[u8] = b"(none)";

const NO_DANGER: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Prepares the root, runs the command, and leaves the root without any trace of the preparation.
pub(super) fn run(control: &OwnedFd, job: &Job, root: &Path) -> Result<Report, SetupError> {
    enter_namespaces(job)?;
    let mut targets = Targets::new(mount_root(root)?);
    let outcome =
        prepare(&mut targets, job).and_then(|()| supervise(control, job, Scope::PidNamespace));
    targets.remove_stubs();
    outcome
}

fn enter_namespaces(job: &Job) -> Result<(), SetupError> {
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if job.own_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    nix::sched::unshare(flags).map_err(step("create", "namespaces of the command"))?;
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(step("make private", "/"))?;
    rustix::system::sethostname(HOST_NAME).map_err(step("set", "host name"))?;
    rustix::system::setdomainname(DOMAIN_NAME).map_err(step("set", "domain name"))?;
    if job.own_network {
        sys::loopback_up().map_err(step("bring up", "loopback device"))?;
    }
    Ok(())
}

/// Makes the root a mount of its own, as `pivot_root` wants it, on which no device works: those that commands need are
/// in /dev.
fn mount_root(root: &Path) -> Result<OwnedFd, SetupError> {
    let name = root.display().to_string();
    rustix::mount::mount_bind_recursive(root, root).map_err(step("bind", &*name))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty()).map_err(step("open", &*name))?;
    mounts::refuse_devices(root.as_fd()).map_err(step("refuse devices in", name))?;
    Ok(root)
}

fn prepare(targets: &mut Targets, job: &Job) -> Result<(), SetupError> {
    rustix::process::umask(Mode::empty());
    mount_proc(targets)?;
    mount_sys(targets, job.own_network)?;
    masks::protect_kernel_files(targets)?;
    devices::populate(targets)?;
    if let Some(hosts) = &job.hosts {
        job_mounts::supply_file(targets, hosts, "/etc/hosts")?;
    }
    if let Some(resolv_conf) = &job.resolv_conf {
        job_mounts::supply_file(targets, resolv_conf, "/etc/resolv.conf")?;
    }
    masks::hide(targets, &job.hidden)?;
    for mount in &job.mounts {
        job_mounts::mount(targets, mount)?;
    }
    change_root(targets).map_err(step(
        "change root to",
        job.root.as_ref().map_or_else(String::new, Bytes::lossy),
    ))?;
    rustix::process::umask(UMASK);
    make_directory(job)
}

/// A fresh /proc shows only the command's own processes. Where parts of the container's /proc are covered, the
/// kernel refuses one to a user namespace; then the container's is shown.
fn mount_proc(targets: &mut Targets) -> Result<(), SetupError> {
    let place = targets
        .find_or_make(b"proc", Kind::Directory)
        .map_err(step("make", "/proc"))?;
    if mounts::filesystem("proc", &place, NO_DANGER, "").is_ok() {
        return Ok(());
    }
    let bind = || mounts::bind(&open_directory("/proc")?, &place).map(drop);
    bind().map_err(step("mount", "/proc"))
}

/// Read-only, with the control groups below it, which programs read to learn their limits. Without any of it most
/// commands work, so it is left empty where it is refused.
fn mount_sys(targets: &mut Targets, own_network: bool) -> Result<(), SetupError> {
    let place = targets
        .find_or_make(b"sys", Kind::Directory)
        .map_err(step("make", "/sys"))?;
    if mounts::filesystem("sysfs", &place, NO_DANGER | MountFlags::RDONLY, "").is_ok() {
        if let Ok(Some(place)) = targets.find(b"sys/fs/cgroup")
            && let Ok(cgroup) = open_directory("/sys/fs/cgroup")
        {
            let _ = mounts::bind_all_read_only(&cgroup, &place);
        }
    } else if !own_network && let Ok(sys) = open_directory("/sys") {
        let _ = mounts::bind_all_read_only(&sys, &place);
    }
    Ok(())
}

fn open_directory(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Makes the prepared root `/` and takes everything else away.
fn change_root(targets: &Targets) -> io::Result<()> {
    rustix::process::fchdir(targets.root())?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => rustix::mount::unmount(".", UnmountFlags::DETACH)?,
        Err(Errno::INVAL) => {
            // Our own root is an initial ramfs or a plain chroot, which cannot be moved away, only covered.
            rustix::mount::mount_move(".", "/")?;
            rustix::process::chroot(".")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::process::chdir("/")?)
}
