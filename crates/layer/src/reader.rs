//! Packed layer in, entries out.

use std::io::{self, Read};

use kiln_oci::{DiffId, LayerCompression};

use crate::{Entry, LayerError};

/// Whose rules an archive follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAs {
    /// An image layer: `.wh.` names are whiteouts, and a name or hard link with a `..` component is an error.
    #[default]
    Layer,
    /// A user's archive (ADD, tar contexts): `.wh.` names are plain files and `..` stops at the root
    /// (conformance: E41, J11).
    Archive,
}

/// Reads a layer packed with gzip, zstd or nothing, told apart by content (conformance: I26, G36).
#[derive(Debug)]
pub struct LayerReader<R> {
    inner: R,
}

impl<R: Read> LayerReader<R> {
    /// Reads `inner` as an image layer; nothing is read yet.
    pub fn new(inner: R) -> Self {
        Self { inner }
    }

    /// Changes whose rules are followed.
    #[must_use]
    pub fn read_as(self, rules: ReadAs) -> Self {
        let _ = rules;
        self
    }

    /// How the stream is packed, once something was read.
    pub fn compression(&self) -> Option<LayerCompression> {
        todo!()
    }

    /// Goes to the next entry, past what is left of the one before; `None` at the end of the tar.
    pub fn next_entry(&mut self) -> Result<Option<(Entry, EntryReader<'_, R>)>, LayerError> {
        todo!()
    }

    /// Reads to the end of the stream, so that every checksum is compared, and gives the digest of the tar.
    pub fn finish(self) -> Result<DiffId, LayerError> {
        let _ = self.inner;
        todo!()
    }
}

/// The content of one entry: the bytes of a file, nothing for other kinds.
///
/// The holes of a sparse file read as zeros (conformance: G18). Failures are [`LayerError`]s inside the
/// [`io::Error`].
#[derive(Debug)]
pub struct EntryReader<'a, R> {
    layer: &'a mut LayerReader<R>,
}

impl<R: Read> Read for EntryReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.layer.inner.read(buf)
    }
}

/// Does `block` start with a tar header, judging by its checksum? Tells an archive from any other file
/// (conformance: E37, E38).
pub fn is_tar_header(block: &[u8]) -> bool {
    let _ = block;
    todo!()
}
