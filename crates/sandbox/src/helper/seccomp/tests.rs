use nix::libc::sock_filter;

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The kernel's machine, as far as our programs use it: the answer, and whether an argument was read.
fn execute(program: &[sock_filter], abi: u32, number: u32, arguments: [u64; 6]) -> (u32, bool) {
    let (mut at, mut accumulator, mut read) = (0, 0, false);
    loop {
        let now = program[at];
        at += 1;
        let holds = match u32::from(now.code) {
            0x20 => {
                accumulator = match now.k {
                    0 => number,
                    4 => abi,
                    offset => {
                        assert_eq!(offset % 8, 0, "the low half of an argument");
                        read = true;
                        arguments[(offset as usize - 16) / 8] as u32
                    }
                };
                continue;
            }
            0x05 => {
                at += now.k as usize;
                continue;
            }
            0x06 => return (now.k, read),
            0x15 => accumulator == now.k,
            0x35 => accumulator >= now.k,
            0x45 => accumulator & now.k != 0,
            code => panic!("an instruction {code:#x}"),
        };
        at += usize::from(if holds { now.jt } else { now.jf });
    }
}

/// Every ABI of every machine.
fn columns() -> Vec<(u32, Numbers)> {
    MACHINES
        .iter()
        .flat_map(|(_, abis)| abis.iter().copied())
        .collect()
}

/// A program for all machines at once.
fn everything() -> Vec<sock_filter> {
    assert_eq!(columns().len(), 4);
    assert!(abis_of(std::env::consts::ARCH).is_some());
    program::assemble(&sections(&columns()))
}

fn number(name: &str, column: Numbers) -> Option<u32> {
    ALLOWED
        .iter()
        .find(|call| call.name == name)
        .unwrap_or_else(|| panic!("{name} is not in the table"))
        .number(column)
}

// conformance: D43
#[test]
fn the_program_gives_every_number_its_answer() {
    let program = everything();
    assert!(program.len() < 4096, "{}", program.len());
    for (abi, column) in columns() {
        for call in 0..2 * NEWEST {
            let allowed = ALLOWED
                .iter()
                .find(|known| known.number(column) == Some(call));
            let expected = match allowed {
                Some(known) if RULES.iter().any(|(name, _)| *name == known.name) => continue,
                Some(_) => ALLOW,
                None if call > NEWEST => ENOSYS,
                None => EPERM,
            };
            let (answer, read) = execute(&program, abi, call, [u64::MAX; 6]);
            assert_eq!(answer, expected, "{column:?} {call}");
            // What the kernel needs to remember the answer.
            assert!(!read, "{column:?} {call}");
        }
        // x32, and what a tracer leaves of a call that it cancels.
        for call in [0x4000_0000, 0x4000_0029, u32::MAX] {
            assert_eq!(execute(&program, abi, call, [0; 6]).0, ENOSYS);
        }
    }
    let (answer, _) = execute(&program, 5, 0, [0; 6]);
    assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS);
}

// conformance: D43
#[test]
fn arguments_decide_about_four_calls() {
    let program = everything();
    // Call, first argument, whether it is allowed.
    let namespaces = 0x7e02_0000;
    let mut cases: Vec<(&str, u64, u32)> = vec![
        ("clone", libc::SIGCHLD as u64, ALLOW),
        ("clone", 0x3d_0f00, ALLOW),
        ("clone", namespaces, EPERM),
        ("clone3", 0, ENOSYS),
        ("personality", 0, ALLOW),
        ("personality", 0x8, ALLOW),
        ("personality", 0x2_0000, ALLOW),
        ("personality", 0x2_0008, ALLOW),
        ("personality", 0xffff_ffff, ALLOW),
        ("personality", 0x4_0000, EPERM),
        ("personality", 0x2, EPERM),
        ("socket", 1, ALLOW),
        ("socket", 2, ALLOW),
        ("socket", 10, ALLOW),
        ("socket", 16, ALLOW),
        ("socket", 17, ALLOW),
        ("socket", 38, EPERM),
        ("socket", 40, EPERM),
        ("socket", 0x1_0000_0028, EPERM),
        ("socket", 46, EPERM),
        ("socket", 0, EPERM),
    ];
    let each = (0..32).map(|bit| 1_u64 << bit);
    cases.extend(
        each.filter(|bit| bit & namespaces != 0)
            .map(|bit| ("clone", bit | 0x11, EPERM)),
    );
    assert_eq!(cases.len(), 21 + 7);
    for (abi, column) in columns() {
        for (name, argument, expected) in &cases {
            let call = number(name, column).expect("every machine has these");
            let (answer, _) = execute(&program, abi, call, [*argument, 0, 0, 0, 0, 0]);
            assert_eq!(answer, *expected, "{column:?} {name} {argument:#x}");
        }
    }
}

/// The table is one of numbers; these are known from elsewhere.
// conformance: D43
#[test]
fn numbers_are_those_of_the_kernel() {
    #[cfg(target_arch = "x86_64")]
    let native = Numbers::X86_64;
    #[cfg(target_arch = "aarch64")]
    let native = Numbers::Aarch64;
    let own = [
        ("accept4", libc::SYS_accept4),
        ("capset", libc::SYS_capset),
        ("chroot", libc::SYS_chroot),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("execve", libc::SYS_execve),
        ("exit_group", libc::SYS_exit_group),
        ("fchownat", libc::SYS_fchownat),
        ("futex", libc::SYS_futex),
        ("getdents64", libc::SYS_getdents64),
        ("mknodat", libc::SYS_mknodat),
        ("mmap", libc::SYS_mmap),
        ("openat", libc::SYS_openat),
        ("personality", libc::SYS_personality),
        ("prctl", libc::SYS_prctl),
        ("ptrace", libc::SYS_ptrace),
        ("read", libc::SYS_read),
        ("rt_sigaction", libc::SYS_rt_sigaction),
        ("setgroups", libc::SYS_setgroups),
        ("setresuid", libc::SYS_setresuid),
        ("socket", libc::SYS_socket),
        ("statx", libc::SYS_statx),
        ("unlinkat", libc::SYS_unlinkat),
        ("wait4", libc::SYS_wait4),
    ];
    for (name, expected) in own {
        assert_eq!(
            number(name, native).map(i64::from),
            Some(expected),
            "{name}"
        );
    }
    let others = [
        ("exit", Numbers::X86, 1),
        ("execve", Numbers::X86, 11),
        ("socketcall", Numbers::X86, 102),
        ("clone", Numbers::X86, 120),
        ("socket", Numbers::X86, 359),
        ("openat", Numbers::Aarch64, 56),
        ("socket", Numbers::Aarch64, 198),
        ("execve", Numbers::Aarch64, 221),
        ("socket", Numbers::Arm, 281),
        ("openat", Numbers::Arm, 322),
    ];
    for (name, column, expected) in others {
        assert_eq!(number(name, column), Some(expected), "{name} {column:?}");
    }
    assert_eq!(number("open", Numbers::Aarch64), None);
}

/// Nothing that takes more than Docker's capabilities may come into the table by mistake.
// conformance: D43 (finding 3: key calls are among them)
#[test]
fn what_docker_refuses_is_not_in_the_table() {
    let refused = "acct add_key bpf delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick get_mempolicy \
        init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl \
        lookup_dcookie lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl \
        open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot \
        request_key set_mempolicy setdomainname sethostname setns settimeofday clock_settime clock_settime64 stime \
        swapoff swapon sysfs syslog umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old";
    for name in refused.split_whitespace() {
        assert!(!ALLOWED.iter().any(|call| call.name == name), "{name}");
    }
    assert!(ALLOWED.is_sorted_by(|one, next| one.name < next.name));
}
