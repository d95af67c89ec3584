//! System calls that a filter knows about.

use nix::libc;

use crate::call::{call, call_in_child, call_of_i386};
use crate::{outcome, point};

/// Calls with arguments that are wrong in a way that only shows when the call is let through.
const CALLS: &[(&str, libc::c_long, [usize; 5])] = &[
    // KEYCTL_GET_KEYRING_ID of the session keyring, then of the user's.
    (
        "keyctl session",
        libc::SYS_keyctl,
        [0, -3_isize as usize, 0, 0, 0],
    ),
    (
        "keyctl user",
        libc::SYS_keyctl,
        [0, -4_isize as usize, 0, 0, 0],
    ),
    ("add_key", libc::SYS_add_key, [0; 5]),
    ("request_key", libc::SYS_request_key, [0; 5]),
    ("mount", libc::SYS_mount, [0; 5]),
    ("umount2", libc::SYS_umount2, [0; 5]),
    ("pivot_root", libc::SYS_pivot_root, [0; 5]),
    ("open_tree", libc::SYS_open_tree, [usize::MAX, 0, 0, 0, 0]),
    (
        "move_mount",
        libc::SYS_move_mount,
        [usize::MAX, 0, usize::MAX, 0, 0],
    ),
    ("fsopen", libc::SYS_fsopen, [0; 5]),
    (
        "mount_setattr",
        libc::SYS_mount_setattr,
        [usize::MAX, 0, 0, 0, 0],
    ),
    ("setns", libc::SYS_setns, [usize::MAX, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [usize::MAX, 0, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 5]),
    (
        "userfaultfd",
        libc::SYS_userfaultfd,
        [usize::MAX, 0, 0, 0, 0],
    ),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5]),
    (
        "open_by_handle_at",
        libc::SYS_open_by_handle_at,
        [usize::MAX, 0, 0, 0, 0],
    ),
    (
        "fanotify_init",
        libc::SYS_fanotify_init,
        [usize::MAX, 0, 0, 0, 0],
    ),
    ("quotactl", libc::SYS_quotactl, [usize::MAX, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0; 5]),
    ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, usize::MAX, 0]),
    ("reboot", libc::SYS_reboot, [0; 5]),
    ("swapon", libc::SYS_swapon, [0; 5]),
    ("syslog", libc::SYS_syslog, [3, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [1, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [0; 5]),
    (
        "sethostname",
        libc::SYS_sethostname,
        [0, usize::MAX, 0, 0, 0],
    ),
    (
        "setdomainname",
        libc::SYS_setdomainname,
        [0, usize::MAX, 0, 0, 0],
    ),
    ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0]),
    (
        "pidfd_getfd",
        libc::SYS_pidfd_getfd,
        [usize::MAX, 0, 0, 0, 0],
    ),
    (
        "process_madvise",
        libc::SYS_process_madvise,
        [usize::MAX, 0, 0, 0, 0],
    ),
    ("mbind", libc::SYS_mbind, [1, 0, 0, 0, 0]),
    ("vhangup", libc::SYS_vhangup, [0; 5]),
    (
        "personality of now",
        libc::SYS_personality,
        [0xffff_ffff, 0, 0, 0, 0],
    ),
    (
        "personality without randomization",
        libc::SYS_personality,
        [0x4_0000, 0, 0, 0, 0],
    ),
    ("a call after the newest", 467, [0; 5]),
    ("a call that never was", 4000, [0; 5]),
    ("a call of x32", 0x4000_0000 + libc::SYS_getpid, [0; 5]),
    ("socket unix", libc::SYS_socket, [1, 1, 0, 0, 0]),
    ("socket inet", libc::SYS_socket, [2, 1, 0, 0, 0]),
    ("socket netlink", libc::SYS_socket, [16, 3, 0, 0, 0]),
    ("socket packet", libc::SYS_socket, [17, 3, 0, 0, 0]),
    ("socket raw", libc::SYS_socket, [2, 3, 1, 0, 0]),
    ("socket alg", libc::SYS_socket, [38, 5, 0, 0, 0]),
    ("socket vsock", libc::SYS_socket, [40, 1, 0, 0, 0]),
];

/// Those that change the process, or make another.
const CALLS_IN_CHILD: &[(&str, libc::c_long, [usize; 5])] = &[
    (
        "unshare user",
        libc::SYS_unshare,
        [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0],
    ),
    (
        "unshare mount",
        libc::SYS_unshare,
        [libc::CLONE_NEWNS as usize, 0, 0, 0, 0],
    ),
    (
        "clone user",
        libc::SYS_clone,
        [(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize, 0, 0, 0, 0],
    ),
    (
        "clone",
        libc::SYS_clone,
        [libc::SIGCHLD as usize, 0, 0, 0, 0],
    ),
    ("clone3", libc::SYS_clone3, [0; 5]),
    (
        "ptrace of a child",
        libc::SYS_ptrace,
        [libc::PTRACE_TRACEME as usize, 0, 0, 0, 0],
    ),
    (
        "ptrace of process 1",
        libc::SYS_ptrace,
        [libc::PTRACE_SEIZE as usize, 1, 0, 0, 0],
    ),
    (
        "no new privileges",
        libc::SYS_prctl,
        [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0],
    ),
];

/// What they answer.
pub(crate) fn points() {
    for (name, number, arguments) in CALLS {
        point(name, outcome(call(*number, *arguments)));
    }
    for (name, number, arguments) in CALLS_IN_CHILD {
        point(name, outcome(call_in_child(*number, *arguments)));
    }
    // getpid, mount, keyctl.
    for (name, number) in [("getpid", 20), ("mount", 21), ("keyctl", 288)] {
        let answer = outcome(call_of_i386(number));
        point(&format!("{name} of a 32-bit program"), answer);
    }
}
