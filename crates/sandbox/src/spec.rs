//! What to run, and what came of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One command and everything it can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpec {
    /// The root filesystem of the command; a directory means namespaces, the host's root means in place.
    pub root: RunRoot,
    /// The command; a first word without a slash is looked up in `PATH` of [`RunSpec::env`] (D1).
    pub argv: Vec<OsString>,
    /// The whole environment (D2); only `PWD` is added when it is missing (D4).
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the root; made with mode 0755, owner root, when it is missing (D5).
    pub cwd: PathBuf,
    /// Who runs the command.
    pub user: User,
    /// Further mounts, made in this order, so that one can lie inside another (D26).
    pub mounts: Vec<SandboxMount>,
    /// Which network the command sees (D39).
    pub network: Network,
    /// File shown read-only as `/etc/hosts` (D17); ignored in place.
    pub hosts: Option<PathBuf>,
    /// File shown read-only as `/etc/resolv.conf` (D17); ignored in place.
    pub resolv_conf: Option<PathBuf>,
    /// Paths inside the root covered by something empty if they exist (D41); ignored in place.
    pub hidden: Vec<PathBuf>,
}

impl RunSpec {
    /// A spec for `argv` as root in `/` with an empty environment, the host's network and no further mounts.
    pub fn new(root: RunRoot, argv: Vec<OsString>) -> Self {
        Self {
            root,
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            mounts: Vec::new(),
            network: Network::Host,
            hosts: None,
            resolv_conf: None,
            hidden: Vec::new(),
        }
    }
}

/// The root filesystem a command runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunRoot {
    /// This directory becomes `/` in namespaces of its own.
    Directory(PathBuf),
    /// The root of this process, without any namespace.
    Host,
}

/// Ids of a command; the default is root with the single supplementary group 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id, real, effective and saved.
    pub uid: u32,
    /// Group id, real, effective and saved.
    pub gid: u32,
    /// Supplementary groups, set exactly as given.
    pub groups: Vec<u32>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: vec![0],
        }
    }
}

/// Which network a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The network of this process.
    #[default]
    Host,
    /// A new network namespace in which only the loopback device exists, and is up.
    None,
}

/// A mount made for one command; its target is resolved inside the root and made if missing, for that time only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxMount {
    /// Shows a file or directory of the host.
    Bind {
        /// File or directory on the host.
        source: PathBuf,
        /// Absolute path inside the root.
        target: PathBuf,
        /// Whether writing is refused.
        read_only: bool,
        /// Whether writing works but never reaches `source` (D28); wins over `read_only`.
        discard_writes: bool,
    },
    /// An empty filesystem in memory (D33).
    Tmpfs {
        /// Absolute path inside the root.
        target: PathBuf,
        /// Limit in bytes; without it half of the memory.
        size: Option<u64>,
        /// Mode of its root directory, such as 0o1777.
        mode: u32,
    },
}

impl SandboxMount {
    /// Where inside the root it is mounted.
    pub fn target(&self) -> &Path {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// Which of its two outputs a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// It was killed by the signal with this number.
    Signal(i32),
}

impl Exit {
    /// Whether the command returned 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code a shell would report: 128 and the signal's number after a death by signal (D6).
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}
