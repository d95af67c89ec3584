//! Choosing between namespaces and in place, and entering the namespaces.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rustix::process::DumpableBehavior;

use crate::probe::{self, Allowed, Way};
use crate::{IdMap, SandboxError, container};

/// Which isolation was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces if they work, else in place if this is a throw-away container, else no RUN.
    #[default]
    Auto,
    /// Namespaces, or an error.
    Namespace,
    /// In place, or an error.
    InPlace,
}

/// Which isolation there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Commands run in namespaces; this process is in a mount namespace of its own.
    Namespace {
        /// Whether this process had to enter a user namespace as well.
        userns: bool,
        /// Which ids exist in it.
        ids: IdMap,
        /// Whether an overlay with its upper directory in the work directory can be mounted.
        overlay_ok: bool,
    },
    /// Commands run in `/` of this container.
    InPlace,
    /// No command can be run; builds without RUN work.
    None {
        /// Why neither way works.
        reason: String,
    },
}

/// The outcome of [`enter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// What commands will run in.
    pub mode: Mode,
    /// One line for the log: what was chosen, and why.
    pub reason: String,
}

/// Chooses the isolation by really trying in a child process, and enters it.
///
/// To be called before any thread exists. In namespace mode this process is in a new mount namespace afterwards
/// (and in a new user namespace unless it has the capability `SYS_ADMIN`), so all later mounts are private and
/// vanish with it. `work_dir` is where upper directories of overlays will be; `force` allows in place anywhere.
pub fn enter(asked: Isolation, work_dir: &Path, force: bool) -> Result<Entered, SandboxError> {
    match asked {
        Isolation::Namespace => {
            namespace(work_dir)?.map_err(|why| SandboxError::NoNamespaces { why })
        }
        Isolation::InPlace => in_place(force),
        Isolation::Auto => {
            let no_namespaces = match namespace(work_dir)? {
                Ok(entered) => return Ok(entered),
                Err(why) => why,
            };
            match in_place(force) {
                Ok(entered) => {
                    let reason = format!(
                        "{}; namespaces are not available: {no_namespaces}",
                        entered.reason
                    );
                    Ok(Entered { reason, ..entered })
                }
                Err(error) => {
                    let reason = format!("namespaces are not available: {no_namespaces}; {error}");
                    let line = format!("RUN is not possible here: {reason}");
                    Ok(Entered {
                        mode: Mode::None { reason },
                        reason: line,
                    })
                }
            }
        }
    }
}

/// Enters namespaces, or says why each way into them is closed.
fn namespace(work_dir: &Path) -> Result<Result<Entered, String>, SandboxError> {
    check_single_threaded()?;
    let mut refusals = Vec::new();
    for way in probe::ways() {
        match probe::try_way(way, work_dir) {
            Ok(allowed) => {
                // The trial worked, so this is not expected to fail; if it does, this process may be half way in
                // and must not try another.
                probe::take(way).map_err(|why| SandboxError::NoNamespaces { why })?;
                if !allowed.fresh_proc {
                    hide_memory()?;
                }
                return Ok(Ok(entered(way, allowed, &refusals, work_dir)));
            }
            Err(why) if refusals.contains(&why) => {}
            Err(why) => refusals.push(why),
        }
    }
    Ok(Err(format!("{}{}", refusals.join(", "), known_obstacles())))
}

fn entered(way: Way, allowed: Allowed, refusals: &[String], work_dir: &Path) -> Entered {
    let (userns, ids, how) = match way {
        Way::Privileged => (
            false,
            IdMap::Full,
            "mount namespace, having the capability SYS_ADMIN",
        ),
        Way::User(IdMap::Full) => (true, IdMap::Full, "user namespace with all ids"),
        Way::User(IdMap::SubIds) => (
            true,
            IdMap::SubIds,
            "user namespace with the ids of /etc/subuid",
        ),
        Way::User(IdMap::Single) => (true, IdMap::Single, "user namespace with a single id"),
    };
    let mut reason = format!("isolation: {how}");
    if !refusals.is_empty() {
        let _ = write!(reason, " ({})", refusals.join(", "));
    }
    reason += if allowed.overlay {
        ", overlay roots"
    } else {
        ", plain directories as roots"
    };
    if !allowed.overlay {
        let _ = write!(reason, " (no overlay possible in `{}`)", work_dir.display());
    }
    if !allowed.fresh_proc {
        reason += ", /proc of the container (a new one is refused)";
    }
    Entered {
        mode: Mode::Namespace {
            userns,
            ids,
            overlay_ok: allowed.overlay,
        },
        reason,
    }
}

fn in_place(force: bool) -> Result<Entered, SandboxError> {
    let evidence = match container::evidence() {
        Some(evidence) => evidence,
        None if force => "forced".to_owned(),
        None => {
            let why = "nothing says that this is a throw-away container".to_owned();
            return Err(SandboxError::NotInContainer { why });
        }
    };
    if let Some(why) = container::missing_rights() {
        return Err(SandboxError::CannotRunInPlace { why });
    }
    hide_memory()?;
    Ok(Entered {
        mode: Mode::InPlace,
        reason: format!("isolation: in place ({evidence})"),
    })
}

/// Where commands can see this process in /proc, its environment and memory must stay closed to them: both hold
/// registry credentials (D41).
fn hide_memory() -> Result<(), SandboxError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| SandboxError::io("protect memory of", "/proc/self", errno))
}

/// A process with threads cannot enter a user namespace, and a fork of it could deadlock.
fn check_single_threaded() -> Result<(), SandboxError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(SandboxError::Threads { count: threads });
    }
    Ok(())
}

/// Settings that forbid user namespaces whatever the seccomp profile says.
fn known_obstacles() -> String {
    let settings = [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "user.max_user_namespaces is 0",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone is 0",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns is 1",
        ),
    ];
    let set = settings
        .iter()
        .filter(|(path, bad, _)| fs::read_to_string(path).is_ok_and(|value| value.trim() == *bad));
    let texts: Vec<&str> = set.map(|(_, _, text)| *text).collect();
    if texts.is_empty() {
        String::new()
    } else {
        format!(" ({})", texts.join(", "))
    }
}
