//! From answers to a program of the kernel's filter machine (classic BPF).
//!
//! Each ABI gets a search tree over ranges of numbers that have the same answer: some seven comparisons. Leaves of calls
//! that are simply allowed read nothing but the number, so that the kernel (5.11 and later) works them out once,
//! when the filter is installed, and never runs the program for them.

use nix::libc::{self, sock_filter};

/// Where the kernel shows what it asks about: `struct seccomp_data`.
const NUMBER: u32 = 0;
const ABI: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;

/// What the kernel does about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// As to somebody without the right: EPERM.
    Refuse,
    /// As a kernel without the call: ENOSYS.
    Absent,
    /// It depends on one argument, of which the kernel takes the low half only.
    If(Rule),
}

/// When a call is allowed; otherwise it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) argument: u32,
    pub(super) test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    NoneOfBits(u32),
    OneOf(&'static [u32]),
}

/// Numbers from this one to that of the next range have this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) answer: Answer,
}

/// What is asked in one ABI.
pub(super) struct Section {
    /// The kernel's name for the ABI.
    pub(super) abi: u32,
    /// In order, the first from 0.
    pub(super) ranges: Vec<Range>,
}

/// The whole program. A process of any other ABI is killed, which no machine can start where all of its ABIs are here.
pub(super) fn assemble(sections: &[Section]) -> Vec<sock_filter> {
    let mut program = vec![load(ABI)];
    for section in sections {
        let mut body = vec![load(NUMBER)];
        body.extend(tree(&section.ranges));
        program.push(jump(libc::BPF_JEQ, section.abi, 1, 0));
        program.push(jump_always(body.len()));
        program.extend(body);
    }
    program.push(end(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

fn tree(ranges: &[Range]) -> Vec<sock_filter> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let (Some(middle), false) = (right.first(), left.is_empty()) else {
        return leaf(ranges.first().map_or(Answer::Refuse, |range| range.answer));
    };
    let (below, above) = (tree(left), tree(right));
    let mut out = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(length) => out.push(jump(libc::BPF_JGE, middle.first, length, 0)),
        // A comparison jumps over 255 instructions at most.
        Err(_) => {
            out.push(jump(libc::BPF_JGE, middle.first, 0, 1));
            out.push(jump_always(below.len()));
        }
    }
    out.extend(below);
    out.extend(above);
    out
}

fn leaf(answer: Answer) -> Vec<sock_filter> {
    let refuse = end(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    match answer {
        Answer::Allow => vec![end(libc::SECCOMP_RET_ALLOW)],
        Answer::Refuse => vec![refuse],
        Answer::Absent => vec![end(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)],
        Answer::If(Rule { argument, test }) => {
            // Little-endian on every machine in the table, so the low half is first.
            let mut out = vec![load(ARGUMENTS + ARGUMENT_SIZE * argument)];
            match test {
                Test::NoneOfBits(mask) => out.push(jump(libc::BPF_JSET, mask, 0, 1)),
                Test::OneOf(values) => {
                    let count = values.len() as u8;
                    let tests = values.iter().zip((1..=count).rev());
                    out.extend(tests.map(|(value, left)| jump(libc::BPF_JEQ, *value, left, 0)));
                }
            }
            out.push(refuse);
            out.push(end(libc::SECCOMP_RET_ALLOW));
            out
        }
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// Goes on after so many instructions.
fn jump(condition: u32, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    let code = libc::BPF_JMP | condition | libc::BPF_K;
    instruction(code, value, if_so, if_not)
}

fn jump_always(over: usize) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, over as u32, 0, 0)
}

fn end(answer: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, answer, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}
