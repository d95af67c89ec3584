//! The uncompressed tar as a stream that is hashed as it goes by.

use std::io::Read;

use kiln_oci::{DiffId, LayerCompression};
use sha2::{Digest as _, Sha256};

use crate::LayerError;
use crate::decode::Decoder;
use crate::header::RECORD;

/// Small reads are served from a buffer of this many bytes.
const BUFFER: usize = 128 * 1024;

#[derive(Debug)]
pub(crate) struct Source<R> {
    decoder: Decoder<R>,
    hasher: Sha256,
    buffer: Vec<u8>,
    /// The part of the buffer that was not given out.
    start: usize,
    end: usize,
    /// Bytes of the tar given out.
    offset: u64,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            decoder: Decoder::new(inner),
            hasher: Sha256::new(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    pub(crate) fn compression(&self) -> Option<LayerCompression> {
        self.decoder.compression()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads some bytes, none at the end; large reads do not go through the buffer.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        if self.start == self.end && buf.len() >= BUFFER {
            let read = self.decoder.read(buf)?;
            self.hasher.update(&buf[..read]);
            self.offset += read as u64;
            return Ok(read);
        }
        let buffered = self.fill()?;
        let read = buffered.len().min(buf.len());
        buf[..read].copy_from_slice(&buffered[..read]);
        self.consume(read);
        Ok(read)
    }

    /// Some bytes without taking them; none at the end.
    fn fill(&mut self) -> Result<&[u8], LayerError> {
        if self.start == self.end {
            self.buffer.resize(BUFFER, 0);
            self.start = 0;
            self.end = self.decoder.read(&mut self.buffer)?;
            self.hasher.update(&self.buffer[..self.end]);
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Fills a whole record. False when the stream ends before its first byte; when it ends inside, `inside` is
    /// what the error says was being read.
    pub(crate) fn record(
        &mut self,
        record: &mut [u8; RECORD],
        inside: impl FnOnce() -> String,
    ) -> Result<bool, LayerError> {
        let mut filled = 0;
        while filled < RECORD {
            let read = self.read(&mut record[filled..])?;
            if read == 0 && filled == 0 {
                return Ok(false);
            }
            if read == 0 {
                return Err(self.truncated(inside()));
            }
            filled += read;
        }
        Ok(true)
    }

    /// Passes over `bytes`, which must exist.
    pub(crate) fn skip(
        &mut self,
        mut bytes: u64,
        inside: impl FnOnce() -> String,
    ) -> Result<(), LayerError> {
        while bytes > 0 {
            let passed = (self.fill()?.len() as u64).min(bytes);
            if passed == 0 {
                return Err(self.truncated(inside()));
            }
            self.consume(passed as usize);
            bytes -= passed;
        }
        Ok(())
    }

    /// Everything of `bytes` length, for headers; the caller has limited the length.
    pub(crate) fn bytes(
        &mut self,
        bytes: usize,
        inside: impl FnOnce() -> String,
    ) -> Result<Vec<u8>, LayerError> {
        let mut data = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            let read = self.read(&mut data[filled..])?;
            if read == 0 {
                return Err(self.truncated(inside()));
            }
            filled += read;
        }
        Ok(data)
    }

    pub(crate) fn truncated(&self, inside: String) -> LayerError {
        LayerError::Truncated {
            offset: self.offset,
            inside,
        }
    }

    /// Reads what is left, whatever it is, so that trailing checksums are verified.
    pub(crate) fn finish(mut self) -> Result<DiffId, LayerError> {
        loop {
            let passed = self.fill()?.len();
            if passed == 0 {
                return Ok(DiffId::from_bytes(self.hasher.finalize().into()));
            }
            self.consume(passed);
        }
    }
}
