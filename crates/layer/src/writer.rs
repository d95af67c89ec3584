//! Entries in, packed layer out.

use std::fmt;
use std::io::{Read, Write};

use kiln_oci::{DiffId, Digest, LayerCompression};

use crate::{Compression, Entry, LayerError};

/// What a finished layer is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Digest of the packed bytes.
    pub digest: Digest,
    /// Packed bytes.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub uncompressed_size: u64,
    /// How it is packed.
    pub compression: LayerCompression,
}

/// How a [`LayerWriter`] works; no field but the two about times changes a byte of the layer.
#[derive(Default)]
pub struct WriterOptions {
    /// Compressing threads; 0 means one per available core, 1 does everything on the caller's thread.
    pub threads: usize,
    /// Every entry gets this time, in seconds since 1970.
    pub mtime_override: Option<i64>,
    /// Entries that are newer get this time, in seconds since 1970 (conformance: G43).
    pub mtime_clamp: Option<i64>,
    /// Receives the uncompressed tar as well.
    pub tee: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterOptions")
            .field("threads", &self.threads)
            .field("mtime_override", &self.mtime_override)
            .field("mtime_clamp", &self.mtime_clamp)
            .field("tee", &self.tee.is_some())
            .finish()
    }
}

/// Packs entries into a layer and writes it to `W` as it grows.
pub struct LayerWriter<W> {
    out: W,
}

impl<W> fmt::Debug for LayerWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerWriter").finish_non_exhaustive()
    }
}

impl<W: Write + Send + 'static> LayerWriter<W> {
    /// Starts a layer; nothing is written and no thread is started before the first MiB is full.
    pub fn new(out: W, compression: Compression, options: WriterOptions) -> Self {
        let _ = (compression, options);
        Self { out }
    }

    /// Adds one entry; `content` must give exactly the size of a file and is not looked at for other kinds.
    ///
    /// Entries are written in the order they come; the root directory is left out (conformance: G1, G3). After an
    /// error the layer is lost and every further call fails.
    pub fn append(
        &mut self,
        entry: &Entry,
        content: Option<&mut dyn Read>,
    ) -> Result<(), LayerError> {
        let _ = (entry, content);
        todo!()
    }

    /// Ends the tar, waits for all threads, and gives back the flushed `W`.
    pub fn finish(self) -> Result<(LayerInfo, W), LayerError> {
        let _ = self.out;
        todo!()
    }
}
