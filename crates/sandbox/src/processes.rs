//! The table of processes, as far as it says who is below whom.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Of what is outside of this pid namespace, the kernel says 0.
    pub(crate) parent: Option<Pid>,
    pub(crate) group: Option<Pid>,
    pub(crate) session: Option<Pid>,
    /// In ticks since the machine was started: a number that is used again has another.
    pub(crate) started: u64,
}

/// Every process below `ancestor`, from one look at `/proc`; none where that cannot be read.
pub(crate) fn descendants(ancestor: Pid) -> Vec<Process> {
    let mut children: HashMap<Pid, Vec<Process>> = HashMap::new();
    let numbers = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for process in numbers.filter_map(process) {
        if let Some(parent) = process.parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = children.remove(&ancestor).unwrap_or_default();
    let mut next = 0;
    while let Some(current) = found.get(next).copied() {
        found.extend(children.remove(&current.pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// The process of that number, if there is one.
pub(crate) fn process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    // The name in parentheses may hold anything, spaces and parentheses too, so the fields count from its end.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(end + 2..)?)
        .ok()?
        .split(' ')
        .collect();
    // proc_pid_stat(5) counts from 1, and the field after the name is its third.
    let field = |number: usize| fields.get(number - 3).copied();
    let process = |number| Pid::from_raw(field(number)?.parse().ok()?);
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: process(4),
        group: process(5),
        session: process(6),
        started: field(22)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let line = b"7 (a) S 1 2) S 5 6 8 0 -1 4194304 91 0 0 0 0 0 0 0 20 0 1 0 123456 2\n";
        let pid = |number| Pid::from_raw(number).unwrap();
        assert_eq!(
            parse(7, line),
            Some(Process {
                pid: pid(7),
                parent: Some(pid(5)),
                group: Some(pid(6)),
                session: Some(pid(8)),
                started: 123_456,
            })
        );
        let outside = b"7 (a) S 0 0 0 0 -1 4194304 91 0 0 0 0 0 0 0 20 0 1 0 123456 2\n";
        let outside = parse(7, outside).unwrap();
        assert_eq!((outside.parent, outside.session), (None, None));
        assert_eq!(parse(7, b"7 (a) S 5"), None);
        assert_eq!(parse(7, b"7 (a)"), None);
    }
}
