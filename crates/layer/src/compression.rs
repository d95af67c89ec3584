//! How a layer is packed.

use kiln_oci::LayerCompression;

/// The gzip level used when none is asked for.
///
/// Measured with zlib-rs 0.6 on one core, source code and binaries mixed: level 3 packs 150 to 170 MB/s, 4 about
/// 10 % less for 3 % smaller layers, 5 and 6 (100 MB/s) win 2 to 3 % more. Level 1 does 300 MB/s, but its
/// layers are 40 % larger, which every pull pays for. `examples/throughput.rs` repeats the measurement.
pub const DEFAULT_GZIP_LEVEL: u32 = 4;

/// The zstd level used when none is asked for, which is zstd's own default.
pub const DEFAULT_ZSTD_LEVEL: i32 = 3;

/// What a [`LayerWriter`](crate::LayerWriter) compresses with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip.
    Gzip {
        /// 0 (stored) to 9; larger values mean 9. [`DEFAULT_GZIP_LEVEL`] when `None`.
        level: Option<u32>,
    },
    /// zstd.
    Zstd {
        /// -7 to 22, other values are brought into that range. [`DEFAULT_ZSTD_LEVEL`] when `None`.
        level: Option<i32>,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: None }
    }
}

impl Compression {
    /// The format without the level.
    pub fn format(self) -> LayerCompression {
        match self {
            Self::None => LayerCompression::None,
            Self::Gzip { .. } => LayerCompression::Gzip,
            Self::Zstd { .. } => LayerCompression::Zstd,
        }
    }
}

impl From<LayerCompression> for Compression {
    fn from(format: LayerCompression) -> Self {
        match format {
            LayerCompression::None => Self::None,
            LayerCompression::Gzip => Self::Gzip { level: None },
            LayerCompression::Zstd => Self::Zstd { level: None },
        }
    }
}
