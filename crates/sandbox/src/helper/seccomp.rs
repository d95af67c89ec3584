//! Which system calls a command may make: what Docker's default profile allows to a container with Docker's default
//! capabilities (D43).
//!
//! The program is ours and not one of the crate `seccompiler`: that gives one answer to all that does not match, and kills
//! programs of the machine's second ABI, while the profile has three answers and allows 32-bit programs.

mod calls;
mod program;

use std::collections::BTreeMap;
use std::io;

use nix::libc;

use super::step;
use super::supervise::Scope;
use crate::{SetupError, sys};
use calls::{ALLOWED, NEWEST, Numbers};
use program::{Answer, Range, Rule, Section, Test};

/// Flags of `clone` that make namespaces. `clone3` takes them where no filter can look, so it does not exist: C libraries
/// then use `clone`.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Linux, Linux with 16-bit ids, Linux and old uname, both, and "tell me".
const PERSONALITIES: &[u32] = &[0, 0x0008, 0x2_0000, 0x2_0008, u32::MAX];

/// Families of sockets. Not among them: `AF_VSOCK` (40), which reaches other machines of the host, `AF_ALG` (38), and those
/// that kernels no longer have.
const SOCKET_FAMILIES: &[u32] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31,
    32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
];

/// Calls in the table that are not simply allowed.
const RULES: &[(&str, Answer)] = &[
    ("clone", unless_bits(0, NEW_NAMESPACES)),
    ("clone3", Answer::Absent),
    ("personality", one_of(0, PERSONALITIES)),
    ("socket", one_of(0, SOCKET_FAMILIES)),
];

/// The ABIs of one architecture: the kernel's name of each, and whose numbers it uses.
type Abis = [(u32, Numbers)];

/// Architecture as Rust names it. x32, which is x86-64 with a bit set in each number, is not there, as in the kernels of
/// most distributions.
const MACHINES: &[(&str, &Abis)] = &[
    (
        "x86_64",
        &[(0xc000_003e, Numbers::X86_64), (0x4000_0003, Numbers::X86)],
    ),
    (
        "aarch64",
        &[(0xc000_00b7, Numbers::Aarch64), (0x4000_0028, Numbers::Arm)],
    ),
];

const fn unless_bits(argument: u32, mask: u32) -> Answer {
    let test = Test::NoneOfBits(mask);
    Answer::If(Rule { argument, test })
}

const fn one_of(argument: u32, values: &'static [u32]) -> Answer {
    let test = Test::OneOf(values);
    Answer::If(Rule { argument, test })
}

/// Puts the filter on this process, for good, and tells whether it is there.
///
/// To be called while the process still has `SYS_ADMIN` in its user namespace: without it the kernel wants "no new
/// privileges", and then setuid programs would not work. In place there may be neither; then what the container
/// allows is what a command may do.
pub(super) fn confine(scope: Scope) -> Result<bool, SetupError> {
    let Some(abis) = abis_of(std::env::consts::ARCH) else {
        return Err(step("find", "system calls of this architecture")(
            io::Error::from_raw_os_error(libc::ENOSYS),
        ));
    };
    let installed = sys::install_filter(&program::assemble(&sections(abis)));
    let not_ours = |error: &io::Error| {
        matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
            && scope == Scope::Descendants
    };
    match installed {
        Ok(()) => Ok(true),
        Err(error) if not_ours(&error) => Ok(false),
        Err(error) => Err(step("install", "seccomp filter")(error)),
    }
}

fn abis_of(architecture: &str) -> Option<&'static Abis> {
    let machine = MACHINES.iter().find(|(name, _)| *name == architecture)?;
    Some(machine.1)
}

fn sections(abis: &Abis) -> Vec<Section> {
    let section = |(abi, numbers): &(u32, Numbers)| Section {
        abi: *abi,
        ranges: ranges(*numbers),
    };
    abis.iter().map(section).collect()
}

/// The answer to each number, as ranges.
fn ranges(column: Numbers) -> Vec<Range> {
    let answers: BTreeMap<u32, Answer> = ALLOWED
        .iter()
        .filter_map(|call| Some((call.number(column)?, answer_to(call.name))))
        .collect();
    let mut starts = vec![0, NEWEST + 1];
    starts.extend(answers.keys().flat_map(|number| [*number, number + 1]));
    starts.sort_unstable();
    starts.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for first in starts {
        let unknown = if first > NEWEST {
            Answer::Absent
        } else {
            Answer::Refuse
        };
        let answer = answers.get(&first).copied().unwrap_or(unknown);
        if ranges.last().is_none_or(|last| last.answer != answer) {
            ranges.push(Range { first, answer });
        }
    }
    ranges
}

fn answer_to(name: &str) -> Answer {
    let rule = RULES.iter().find(|(of, _)| *of == name);
    rule.map_or(Answer::Allow, |(_, answer)| *answer)
}

#[cfg(test)]
mod tests;
