//! What the command is as a process, and what it sees of others.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::sys::resource::{Resource, getrlimit};

use crate::{outcome, point};

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

pub(crate) fn points() {
    point("ids and capabilities", ids_and_capabilities());
    for name in [
        "CapInh",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "SigBlk",
    ] {
        point(name, status(name));
    }
    point("umask", status("Umask"));
    for name in NAMESPACES {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        point(
            &format!("namespace {name}"),
            link.map_or_else(|_| "none".to_owned(), |link| link.display().to_string()),
        );
    }
    let session =
        rustix::process::getsid(None).is_ok_and(|session| session == rustix::process::getpid());
    point("session of its own", if session { "yes" } else { "no" });
    point("descriptors", descriptors());
    point("environment", environment());
    point(
        "host name",
        text(rustix::system::uname().nodename().to_bytes()),
    );
    point(
        "domain name",
        text(rustix::system::uname().domainname().to_bytes()),
    );
    point("visible processes", processes());
    for name in ["environ", "mem", "maps", "root", "cwd", "exe", "fd"] {
        point(&format!("/proc/1/{name}"), look_into_first(name));
    }
    let now = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    point(
        "lower oom_score_adj",
        outcome(fs::write("/proc/self/oom_score_adj", "-1000")),
    );
    let _ = fs::write("/proc/self/oom_score_adj", now);
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, soft, hard + 1)
    });
    point(
        "raise a limit",
        outcome(raised.map_err(std::io::Error::from)),
    );
}

/// `uid gid effective-uid effective-capabilities`.
pub(crate) fn ids_and_capabilities() -> String {
    use rustix::process::{geteuid, getgid, getuid};
    format!(
        "{} {} {} {}",
        getuid().as_raw(),
        getgid().as_raw(),
        geteuid().as_raw(),
        status("CapEff")
    )
}

fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or("none").trim().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Those open here, without the one that lists them, and what each is.
fn descriptors() -> String {
    let mut out = String::new();
    for number in 0..64 {
        if let Ok(link) = fs::read_link(format!("/proc/self/fd/{number}")) {
            let bytes = link.as_os_str().as_bytes();
            let kind = bytes.split(|byte| *byte == b':').next().unwrap_or_default();
            let _ = write!(out, "{number}={} ", text(kind));
        }
    }
    out.trim_end().to_owned()
}

fn environment() -> String {
    let mut names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| text(name.as_bytes()))
        .collect();
    names.sort();
    names.join(" ")
}

/// How many there are: the init of the namespace, and this one.
fn processes() -> String {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let count = entries
        .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
        .count();
    count.to_string()
}

/// `nothing` when it could be read and is empty.
fn look_into_first(name: &str) -> String {
    if rustix::process::getpid().is_init() {
        return "itself".to_owned();
    }
    let path = format!("/proc/1/{name}");
    match name {
        "root" | "cwd" | "exe" => outcome(fs::read_link(path)),
        "fd" => outcome(fs::read_link(format!("{path}/1"))),
        "mem" => outcome(fs::File::open(path)),
        _ => match fs::read(path) {
            Ok(content) if content.is_empty() => "nothing".to_owned(),
            other => outcome(other),
        },
    }
}
