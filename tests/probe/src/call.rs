//! System calls by number: a filter looks at nothing else.
#![expect(
    unsafe_code,
    reason = "calls that no library wraps, with numbers and null pointers only"
)]

use std::io;

use nix::libc;

/// Makes a call. The arguments are numbers, never pointers to anything of ours.
pub(crate) fn call(number: libc::c_long, arguments: [usize; 5]) -> io::Result<libc::c_long> {
    // SAFETY: no argument is an address in this process; what the kernel cannot take it refuses.
    let result = unsafe {
        libc::syscall(
            number,
            arguments[0],
            arguments[1],
            arguments[2],
            arguments[3],
            arguments[4],
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Makes a call in a child process, for those that change their caller or give birth to another.
pub(crate) fn call_in_child(number: libc::c_long, arguments: [usize; 5]) -> io::Result<()> {
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code =
            call(number, arguments).map_or_else(|error| error.raw_os_error().unwrap_or(255), |_| 0);
        // SAFETY: ends this process without running anything.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the kernel writes the status of our own child into a variable of ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    match libc::WEXITSTATUS(status) {
        _ if !libc::WIFEXITED(status) => Err(io::Error::other(format!(
            "signal {}",
            libc::WTERMSIG(status)
        ))),
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Makes a call as a 32-bit program does, where a 64-bit program has an instruction for that.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_of_i386(number: u32) -> io::Result<()> {
    let mut result = number;
    // SAFETY: the kernel takes numbers from these registers and returns one; the arguments are null. The base register is
    // the compiler's own, so it is put aside.
    unsafe {
        std::arch::asm!(
            "xchg {base:r}, rbx",
            "int 0x80",
            "xchg {base:r}, rbx",
            base = inout(reg) 0_u64 => _,
            inout("eax") result,
            in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let result = result as i32;
    if result < 0 {
        Err(io::Error::from_raw_os_error(-result))
    } else {
        Ok(())
    }
}

/// Makes a call as a 32-bit program does, where a 64-bit program has an instruction for that.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn call_of_i386(_number: u32) -> io::Result<()> {
    Err(io::Error::other("no such machine"))
}
