//! What a build is told: plain values, resolved by whoever calls.

pub use kiln_options::{
    BuildSettings, CachePlace, CacheSettings, CompressionKind, DockerfileSource, FileTarget,
    Isolation, LayerCacheSettings, SecretSource, SecretSpec, SnapshotMode, WarmSettings, WorkDir,
};
