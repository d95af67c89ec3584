//! The few system calls that have no safe wrapper; the only place in the workspace with `unsafe`.
#![expect(
    unsafe_code,
    reason = "fork, signal dispositions and three calls without wrappers; each block says why it is sound"
)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::ForkResult;
use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// Forks. Everything in the child may run arbitrary code because all callers are single-threaded: the helper by
/// construction, and `enter` by its contract, which it checks.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has one thread, so no lock can be held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Fork::Child),
        ForkResult::Parent { child } => match Pid::from_raw(child.as_raw()) {
            Some(child) => Ok(Fork::Parent(child)),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        },
    }
}

/// Ends this process at once; nothing inherited from the parent by fork is flushed or run.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Makes the mount whose root `mount` is, and those below it, read-only. ENOSYS before Linux 5.12.
pub(crate) fn set_read_only_recursive(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_recursive(mount, libc::MOUNT_ATTR_RDONLY)
}

/// Makes devices in the mount whose root `mount` is, and in those below it, useless. ENOSYS before Linux 5.12.
pub(crate) fn set_no_devices_recursive(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_recursive(mount, libc::MOUNT_ATTR_NODEV)
}

fn set_recursive(mount: BorrowedFd<'_>, attribute: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attribute,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a valid C string, the attributes live through the call and their true size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor above stderr to be closed by exec, so that nothing the executor holds reaches a command.
pub(crate) fn close_rest_on_exec() -> io::Result<()> {
    // SAFETY: takes no pointers; it only sets a flag on descriptors.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return Ok(());
    }
    // Before Linux 5.11, or under a seccomp filter that does not know the call.
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if fd > 2 {
            // SAFETY: fcntl with F_SETFD only sets a flag; a descriptor closed meanwhile gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Gives every signal its default action and unblocks all; exec resets handlers but keeps what is ignored.
pub(crate) fn reset_signals() -> io::Result<()> {
    let default = [0_u64; 8];
    for signal in 1..=libc::SIGRTMAX() {
        // The system call itself, because the C library refuses to touch its own two signals, which its
        // posix_spawn left ignored for the helper. All zeros are SIG_DFL without flags, on every architecture.
        // SAFETY: no code of ours is installed, the structure is at least as large as the kernel's, and the size of
        // a signal set is eight bytes on all machines Rust knows as Linux except MIPS. SIGKILL and SIGSTOP fail.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Brings the loopback device of this network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is fully initialised for its name and flags and outlives the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
