//! What the executor and its helper say to each other over a socket: a length, then JSON.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Network, RunRoot, RunSpec, SandboxMount, SetupError};

/// Sent by the executor after the job, when the command is to be ended.
pub(crate) const CANCEL: u8 = b'c';

/// A run as the helper sees it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// `None` means in place.
    pub(crate) root: Option<Bytes>,
    pub(crate) argv: Vec<Bytes>,
    pub(crate) env: Vec<(Bytes, Bytes)>,
    pub(crate) cwd: Bytes,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) mounts: Vec<JobMount>,
    pub(crate) own_network: bool,
    pub(crate) hosts: Option<Bytes>,
    pub(crate) resolv_conf: Option<Bytes>,
    pub(crate) hidden: Vec<Bytes>,
    pub(crate) grace: Duration,
}

/// [`SandboxMount`] with paths that survive JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JobMount {
    Bind {
        source: Bytes,
        target: Bytes,
        access: Access,
    },
    Tmpfs {
        target: Bytes,
        size: Option<u64>,
        mode: u32,
    },
}

/// What writing to a bind mount does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
    Discard,
}

/// What the helper answers, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    Failed(SetupError),
    Code(i32),
    Signal(i32),
}

/// Bytes that are mostly text: a JSON string in which each character stands for one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// For messages.
    pub(crate) fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<OsString> for Bytes {
    fn from(text: OsString) -> Self {
        Self(text.into_vec())
    }
}

impl From<PathBuf> for Bytes {
    fn from(path: PathBuf) -> Self {
        path.into_os_string().into()
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().copied().map(char::from).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text
            .chars()
            .map(|character| u8::try_from(character).map_err(serde::de::Error::custom));
        Ok(Self(bytes.collect::<Result<_, _>>()?))
    }
}

impl Job {
    /// Paths of the host become absolute, because the helper does not keep the working directory.
    pub(crate) fn new(spec: &RunSpec, grace: Duration) -> io::Result<Self> {
        let host_path = |path: &Path| std::path::absolute(path).map(Bytes::from);
        let root = match &spec.root {
            RunRoot::Directory(path) => Some(host_path(path)?),
            RunRoot::Host => None,
        };
        let mounts = spec.mounts.iter().map(|mount| match mount {
            SandboxMount::Bind {
                source,
                target,
                read_only,
                discard_writes,
            } => Ok(JobMount::Bind {
                source: host_path(source)?,
                target: target.clone().into(),
                access: match (discard_writes, read_only) {
                    (true, _) => Access::Discard,
                    (false, true) => Access::ReadOnly,
                    (false, false) => Access::ReadWrite,
                },
            }),
            SandboxMount::Tmpfs { target, size, mode } => Ok(JobMount::Tmpfs {
                target: target.clone().into(),
                size: *size,
                mode: *mode,
            }),
        });
        Ok(Self {
            root,
            argv: spec.argv.iter().cloned().map(Bytes::from).collect(),
            env: spec
                .env
                .iter()
                .map(|(name, value)| (name.clone().into(), value.clone().into()))
                .collect(),
            cwd: spec.cwd.clone().into(),
            uid: spec.user.uid,
            gid: spec.user.gid,
            groups: spec.user.groups.clone(),
            mounts: mounts.collect::<io::Result<_>>()?,
            own_network: spec.network == Network::None,
            hosts: spec.hosts.as_deref().map(host_path).transpose()?,
            resolv_conf: spec.resolv_conf.as_deref().map(host_path).transpose()?,
            hidden: spec.hidden.iter().cloned().map(Bytes::from).collect(),
            grace,
        })
    }
}

/// Sends one value.
pub(crate) fn send<T: Serialize>(socket: &OwnedFd, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    send_all(socket, &length.to_ne_bytes())?;
    send_all(socket, &json)
}

/// Sends bytes without risking SIGPIPE, whatever the embedding program did about it.
pub(crate) fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Receives one value; `None` if the other side closed the socket before it.
pub(crate) fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if !receive_exact(socket, &mut length)? {
        return Ok(None);
    }
    let mut json = vec![0; u32::from_ne_bytes(length) as usize];
    if !receive_exact(socket, &mut json)? {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&json)?))
}

fn receive_exact(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::net::recv(&socket, &mut buffer[filled..], RecvFlags::empty()) {
            // A reset means that the other side ended without reading our last word.
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(false),
            Ok((_, count)) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_value_survive() {
        let all = Bytes((0..=255).collect());
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), all);
        assert!(serde_json::from_str::<Bytes>("\"\u{100}\"").is_err());
    }
}
