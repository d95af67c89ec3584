//! What a build is told: plain values, resolved by whoever calls.

pub use kiln_options::{
    BuildSettings, CacheSettings, CompressionKind, DockerfileSource, FileTarget, Isolation,
    SecretSource, SecretSpec, SnapshotMode, WarmSettings, WorkDir,
};
