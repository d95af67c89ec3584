//! Entering a user namespace, and which ids exist in it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::CapabilitySet;

use crate::sys::{self, Fork};

/// The kernel's number for the first user namespace; no other ever has it.
const INITIAL_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

/// Which user and group ids a command can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMap {
    /// All that the process was started with.
    Full,
    /// Root and the ranges of /etc/subuid and /etc/subgid.
    SubIds,
    /// Root only, which is the user who started the process.
    Single,
}

/// Whether this process is in a user namespace other than the machine's own.
pub(crate) fn in_user_namespace() -> bool {
    fs::read_link("/proc/self/ns/user")
        .is_ok_and(|name| name.as_os_str().as_bytes() != INITIAL_USER_NAMESPACE)
}

/// Whether this process could map all ids it sees, which takes two capabilities.
pub(crate) fn can_map_all() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(needed))
}

/// Enters a new user namespace and a new mount namespace as its root, with these ids.
///
/// The maps are written by a child that stays outside, because inside one has no say over the ids of the parent.
pub(crate) fn enter_user_namespace(ids: IdMap) -> Result<(), String> {
    let plan = Plan::new(ids)?;
    let (go_reader, go_writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let (answer_reader, answer_writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let namespace_pid = rustix::process::getpid();
    match sys::fork().map_err(|error| format!("fork: {error}"))? {
        Fork::Child => {
            drop((go_writer, answer_reader));
            let mut byte = [0];
            if fs::File::from(go_reader)
                .read(&mut byte)
                .is_ok_and(|count| count == 1)
            {
                let answer = plan.write(namespace_pid).err().unwrap_or_default();
                let _ = fs::File::from(answer_writer).write_all(answer.as_bytes());
            }
            sys::exit_now(0);
        }
        Fork::Parent(mapper) => {
            drop((go_reader, answer_writer));
            let entered = nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                .map_err(|error| format!("new user namespace: {}", words(error)));
            let mut answer = String::new();
            if entered.is_ok() {
                let _ = fs::File::from(go_writer).write_all(b"g");
                let _ = fs::File::from(answer_reader).read_to_string(&mut answer);
            } else {
                drop(go_writer);
            }
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(mapper), WaitOptions::empty())
            });
            entered?;
            if !answer.is_empty() {
                return Err(answer);
            }
        }
    }
    become_root()
}

fn become_root() -> Result<(), String> {
    // Supplementary groups stay: one of them may be what opens a volume to this process.
    let (gid, uid) = (Gid::from_raw(0), Uid::from_raw(0));
    setresgid(gid, gid, gid)
        .map_err(|error| format!("group 0 in the user namespace: {}", words(error)))?;
    setresuid(uid, uid, uid)
        .map_err(|error| format!("user 0 in the user namespace: {}", words(error)))
}

/// What will be written where.
enum Plan {
    /// Both maps as text, straight into /proc.
    Direct {
        uid_map: String,
        gid_map: String,
        deny_setgroups: bool,
    },
    /// Arguments for `newuidmap` and `newgidmap`.
    Tools {
        uids: Vec<String>,
        gids: Vec<String>,
    },
}

impl Plan {
    fn new(ids: IdMap) -> Result<Self, String> {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        match ids {
            IdMap::Full => {
                let identity = |path| {
                    let text = fs::read_to_string(path)
                        .map_err(|error| format!("read {path}: {}", words(error)))?;
                    Ok::<_, String>(identity_map(&text))
                };
                let (uid_map, gid_map) = (
                    identity("/proc/self/uid_map")?,
                    identity("/proc/self/gid_map")?,
                );
                Ok(Self::Direct {
                    uid_map,
                    gid_map,
                    deny_setgroups: false,
                })
            }
            IdMap::SubIds => {
                let name = user_name(uid);
                let arguments = |path, own| {
                    let text = fs::read_to_string(path)
                        .map_err(|error| format!("read {path}: {}", words(error)))?;
                    let ranges = sub_ids(&text, uid, name.as_deref());
                    if ranges.is_empty() {
                        return Err(format!("no range for uid {uid} in {path}"));
                    }
                    Ok(tool_arguments(own, &ranges))
                };
                Ok(Self::Tools {
                    uids: arguments("/etc/subuid", uid)?,
                    gids: arguments("/etc/subgid", gid)?,
                })
            }
            IdMap::Single => Ok(Self::Direct {
                uid_map: format!("0 {uid} 1\n"),
                gid_map: format!("0 {gid} 1\n"),
                deny_setgroups: true,
            }),
        }
    }

    fn write(&self, process: Pid) -> Result<(), String> {
        let process = process.as_raw_nonzero();
        match self {
            Self::Direct {
                uid_map,
                gid_map,
                deny_setgroups,
            } => {
                let write = |name: &str, text: &str| {
                    let path = format!("/proc/{process}/{name}");
                    fs::write(&path, text)
                        .map_err(|error| format!("write {name}: {}", words(error)))
                };
                if *deny_setgroups {
                    write("setgroups", "deny")?;
                }
                write("uid_map", uid_map)?;
                write("gid_map", gid_map)
            }
            Self::Tools { uids, gids } => {
                let run = |tool: &str, arguments: &[String]| {
                    let output = Command::new(tool)
                        .arg(process.to_string())
                        .args(arguments)
                        .stdin(Stdio::null())
                        .output()
                        .map_err(|error| format!("{tool}: {}", words(error)))?;
                    if output.status.success() {
                        return Ok(());
                    }
                    Err(format!(
                        "{tool}: {}",
                        String::from_utf8_lossy(&output.stderr).trim()
                    ))
                };
                run("newuidmap", uids)?;
                run("newgidmap", gids)
            }
        }
    }
}

/// Every id that exists here, mapped to itself; for the machine's own namespace that is `0 0 4294967295`.
fn identity_map(own: &str) -> String {
    let mut map = String::new();
    for line in own.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(first), Some(count)) = (fields.next(), fields.nth(1)) {
            let _ = writeln!(map, "{first} {first} {count}");
        }
    }
    map
}

/// The ranges of /etc/subuid that belong to a user, named or by number; malformed lines are skipped.
fn sub_ids(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let parse = |line: &str| {
        let mut fields = line.trim().splitn(3, ':');
        let owner = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (owner == number || Some(owner) == name).then_some(range)
    };
    text.lines()
        .filter_map(parse)
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Root inside is the user outside; the ranges follow from id 1.
fn tool_arguments(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut words = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for (start, count) in ranges {
        words.extend([inside, *start, *count].map(|number| number.to_string()));
        inside = inside.saturating_add(*count);
    }
    words
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read(Path::new("/etc/passwd")).ok()?;
    let passwd = String::from_utf8_lossy(&passwd);
    let number = uid.to_string();
    let mut lines = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    lines
        .find(|fields| fields.get(2) == Some(&number.as_str()))?
        .first()
        .map(|name| (*name).to_owned())
}

/// The kernel's words without the number.
pub(crate) fn words(error: impl Into<io::Error>) -> String {
    let error = error.into().to_string();
    error
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_maps() {
        let cases = [
            ("         0          0 4294967295\n", "0 0 4294967295\n"),
            ("0 1000 1\n1 100000 65536\n", "0 0 1\n1 1 65536\n"),
            ("", ""),
        ];
        assert!(!cases.is_empty());
        for (own, expected) in cases {
            assert_eq!(identity_map(own), expected);
        }
    }

    #[test]
    fn sub_id_ranges() {
        let text =
            "# comment\nbob:100000:65536\n1000:200000:10\nalice:1:2\nbob:bad:1\nbob:5\nbob:7:0\n";
        assert_eq!(
            sub_ids(text, 1000, Some("bob")),
            [(100_000, 65536), (200_000, 10)]
        );
        assert_eq!(sub_ids(text, 1001, None), []);
        assert_eq!(
            tool_arguments(1000, &[(100_000, 65536), (200_000, 10)]).join(" "),
            "0 1000 1 1 100000 65536 65537 200000 10"
        );
    }
}
