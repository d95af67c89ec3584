//! Files that the caller names, held from the start: a command in place can remove them before they are used, as
//! `RUN rm -rf /tmp/*` does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use kiln_oci::SmallFile;

use crate::settings::{BuildSettings, SecretSource};

/// The size of a secret, as in BuildKit.
const SECRET: SmallFile = SmallFile::new("a secret", 500 << 10);

/// A secret's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read secret {id} from `{path}`")]
pub struct SecretError {
    /// The secret's id.
    pub id: String,
    /// The file given.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Secrets by id, and agents.
#[derive(Default)]
pub(crate) struct Held {
    secrets: BTreeMap<String, Secret>,
    agents: Vec<Agent>,
}

/// A secret's value, or why it has none.
enum Secret {
    /// From the environment, where it may be missing.
    Variable(Option<OsString>),
    File {
        path: PathBuf,
        content: io::Result<Vec<u8>>,
    },
}

/// An SSH agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    socket: PathBuf,
    /// Leads to the socket even if it has no name any more.
    open: Option<OwnedFd>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("secrets", &self.secrets.keys())
            .field("agents", &self.agents)
            .finish()
    }
}

impl Held {
    /// Reads and opens everything. What cannot be had is an error for whoever uses it.
    pub(crate) fn now(settings: &BuildSettings) -> Held {
        let secrets = settings.secrets.iter().map(|spec| {
            let secret = match &spec.source {
                SecretSource::Env(name) => Secret::Variable(std::env::var_os(name)),
                SecretSource::File(path) => Secret::File {
                    path: path.clone(),
                    content: SECRET.read(path),
                },
            };
            (spec.id.clone(), secret)
        });
        let agents = settings.ssh.iter().map(|spec| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            Agent {
                id: spec.id.clone(),
                socket: spec.socket.clone(),
                open: rustix::fs::open(&spec.socket, flags, Mode::empty()).ok(),
            }
        });
        Held {
            secrets: secrets.collect(),
            agents: agents.collect(),
        }
    }

    /// The value of a secret; `None` if there is none of this id, or if its variable is not set (D35).
    pub(crate) fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, SecretError> {
        match self.secrets.get(id) {
            None => Ok(None),
            Some(Secret::Variable(value)) => Ok(value.clone().map(OsStringExt::into_vec)),
            Some(Secret::File { path, content }) => match content {
                Ok(content) => Ok(Some(content.clone())),
                Err(error) => Err(SecretError {
                    id: id.to_owned(),
                    path: path.clone(),
                    source: again(error),
                }),
            },
        }
    }

    /// The agent of this id.
    pub(crate) fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id == id)
    }
}

impl Agent {
    /// A path of its socket for this process.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.open {
            Some(socket) => PathBuf::from(format!("/proc/self/fd/{}", socket.as_raw_fd())),
            None => self.socket.clone(),
        }
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
