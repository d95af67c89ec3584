//! What a build is told: plain values, resolved by whoever calls.

pub use kiln_options::{
    BuildContext, BuildContextSource, BuildSettings, CachePlace, CacheSettings, CompressionKind,
    DigestFiles, DockerfileSource, FileTarget, ImageOutput, Isolation, LayerCacheSettings,
    ListFormat, ListSettings, PruneSettings, PushImageSettings, SecretSource, SecretSpec,
    SnapshotMode, SourceDateEpoch, SshSpec, WarmSettings, WorkDir,
};
