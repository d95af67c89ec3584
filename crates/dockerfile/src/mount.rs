//! `RUN --mount` (D24-D38).
use crate::expand::ExpandError;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountType {
    /// Files of the context, a stage or an image.
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// An empty directory in memory.
    Tmpfs,
    /// A file or variable from outside.
    Secret,
    /// An agent's socket.
    Ssh,
}

/// How a cache is shared by concurrent builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Sharing {
    /// All write at once.
    #[default]
    Shared,
    /// Each gets its own.
    Private,
    /// One waits for the other.
    Locked,
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type`
    pub kind: MountType,
    /// `target`, as written: relative ones are joined to the WORKDIR (D25).
    pub target: Option<String>,
    /// `source`
    pub source: Option<String>,
    /// `from`
    pub from: Option<String>,
    /// `id`
    pub id: Option<String>,
    /// `ro` or `rw`; absent means the type's default.
    pub read_only: Option<bool>,
    /// `sharing`
    pub sharing: Option<Sharing>,
    /// `mode`, 07777 bits.
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `size` in bytes.
    pub size: Option<u64>,
    /// `required`
    pub required: bool,
    /// `env`
    pub env: Option<String>,
}

/// A `--mount` value that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A field's variables.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl Mount {
    /// Reads one value, passing every field but `from` through `expand`.
    pub fn parse(
        _raw: &str,
        _expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, MountError> {
        todo!()
    }
}
