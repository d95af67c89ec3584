//! Failures between the helper's start and the command's first instruction; they cross a socket, so they are data.

use std::io;

use serde::{Deserialize, Serialize};

/// Why a command could not be started in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SetupError {
    /// A step of the preparation was refused by the kernel.
    #[error("cannot {operation} `{target}`: {}", reason(*.errno))]
    Step {
        /// What was tried, as a verb.
        operation: String,
        /// On what.
        target: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The source of a mount cannot be opened.
    #[error("cannot open mount source `{source_path}`: {}", reason(*.errno))]
    MountSource {
        /// Path on the host.
        source_path: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The target of a mount cannot be found or made inside the root.
    #[error("cannot make mount target `{target}` in the root filesystem: {}", reason(*.errno))]
    MountTarget {
        /// Path inside the root.
        target: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The working directory cannot be made or entered.
    #[error("cannot use working directory `{path}`: {}", reason(*.errno))]
    WorkingDirectory {
        /// Path inside the root.
        path: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// A user or group id that the user namespace cannot represent.
    #[error("cannot run as {id}: the id is not mapped in this user namespace")]
    IdNotMapped {
        /// Such as "uid 1000" or "groups 5, 20".
        id: String,
    },
    /// No file of that name in any directory of `PATH`.
    #[error("command `{command}` not found in PATH `{search_path}`")]
    CommandNotFound {
        /// The first word of the command.
        command: String,
        /// The directories searched, separated by colons.
        search_path: String,
    },
    /// The path given as command does not exist.
    #[error("command `{path}`: no such file")]
    NoSuchFile {
        /// Path inside the root.
        path: String,
    },
    /// The file exists, but the interpreter or loader it names does not.
    #[error("command `{path}` exists, but its {} `{interpreter}` does not", if *.script { "interpreter" } else { "loader" })]
    MissingInterpreter {
        /// The file that was found.
        path: String,
        /// What its first line or its ELF header asks for.
        interpreter: String,
        /// Whether a `#!` line names it.
        script: bool,
    },
    /// The file exists and may not be executed, or is no file.
    #[error("command `{path}` cannot be executed: {}", reason(*.errno))]
    NotExecutable {
        /// The file that was found.
        path: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The file is neither a program for this machine nor a script with a `#!` line.
    #[error("command `{path}` is not a program this machine can execute")]
    ExecFormat {
        /// The file that was found.
        path: String,
    },
}

impl SetupError {
    /// The exit code a shell gives such a command: 127 if it is not found, 126 if it cannot be executed.
    pub fn shell_code(&self) -> Option<i32> {
        match self {
            Self::CommandNotFound { .. }
            | Self::NoSuchFile { .. }
            | Self::MissingInterpreter { .. } => Some(127),
            Self::NotExecutable { .. } | Self::ExecFormat { .. } => Some(126),
            _ => None,
        }
    }

    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::IdNotMapped { .. } => {
                "install `newuidmap` and `newgidmap` (package uidmap) and give this user ranges in /etc/subuid and \
                 /etc/subgid, or run the executor as root"
            }
            Self::MissingInterpreter { script: false, .. } => {
                "the program was built for another C library or another base image"
            }
            Self::MissingInterpreter {
                script: true,
                interpreter,
                ..
            } if interpreter.ends_with('\r') => "the script has Windows line ends",
            Self::MissingInterpreter { script: true, .. } => "install the interpreter in the image",
            Self::ExecFormat { .. } => {
                "a script needs a first line such as `#!/bin/sh`; a program must be for this machine's architecture"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn reason(errno: i32) -> String {
    // The standard library appends "(os error 2)", which helps nobody who reads a build log.
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
