//! The few system calls that have no safe wrapper; the only place with `unsafe` in what is shipped.
#![expect(
    unsafe_code,
    reason = "fork, signal dispositions and calls without wrappers; each block says why it is sound"
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

/// Puts a filter of system calls on this process, for good.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the kernel only reads the program, which lives through the call and has the length that is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // Otherwise older kernels slow a process with a filter down. Some kernels know no such flag.
    match install(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(0),
        outcome => outcome,
    }
}

/// Leaves the session keyring for a new one without name or keys.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null pointer in place of a name asks for a keyring without one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if result >= 0 {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn session_keyring() -> libc::c_long {
        const GET_KEYRING_ID: libc::c_long = 0;
        const SESSION: libc::c_long = -3;
        // SAFETY: numbers only; the last says that none is to be made.
        unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) }
    }

    /// Finding 3: a command in place has no filter of ours, but none of the builder's keys either.
    // conformance: D42
    #[test]
    fn a_new_session_keyring_is_another_one() {
        // A thread has keyrings of its own, so nothing of the test process changes.
        let join = || {
            join_new_session_keyring().ok()?;
            let first = session_keyring();
            join_new_session_keyring().ok()?;
            Some((first, session_keyring()))
        };
        let Some((first, second)) = std::thread::spawn(join).join().unwrap() else {
            kiln_skip::skipped("this kernel, or the container, has no keys");
            return;
        };
        assert!(first > 0 && second > 0, "{first} {second}");
        assert_ne!(first, second);
    }
}
