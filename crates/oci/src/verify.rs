//! Readers that hash what passes through them.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::Digest;

/// Counts and hashes everything read through it.
pub struct DigestReader<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> DigestReader<R> {
    /// Wraps `inner`; nothing is read yet.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    /// How many bytes have been read so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest and the number of the bytes read so far.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_bytes(self.hasher.finalize().into()), self.size)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

impl<R> fmt::Debug for DigestReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestReader")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The bytes read are not the ones that were asked for (I25).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// The stream ended early or did not end where it should.
    #[error("expected {expected} bytes of `{digest}`, got {actual}")]
    Size {
        /// What was being read.
        digest: Digest,
        /// Bytes announced.
        expected: u64,
        /// Bytes seen; when there are too many, the count at which reading stopped.
        actual: u64,
    },
    /// Right length, wrong content.
    #[error("expected content `{expected}`, got `{actual}`")]
    Digest {
        /// The digest announced.
        expected: Digest,
        /// The digest of what was read.
        actual: Digest,
    },
}

impl Mismatch {
    /// Finds the mismatch inside an error that came out of a [`VerifyingReader`].
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// Passes bytes on and fails with a [`Mismatch`] at their end, or as soon as there are too many.
///
/// The check happens in the read that would report the end of the stream, so a caller must read up to there.
pub struct VerifyingReader<R> {
    inner: DigestReader<R>,
    expected: Digest,
    expected_size: Option<u64>,
    verdict: Option<Result<(), Mismatch>>,
}

impl<R: Read> VerifyingReader<R> {
    /// Expects `inner` to hold the content of `expected`, `size` bytes long when that is known.
    pub fn new(inner: R, expected: Digest, size: Option<u64>) -> Self {
        Self {
            inner: DigestReader::new(inner),
            expected,
            expected_size: size,
            verdict: None,
        }
    }

    /// How many bytes have been read so far.
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    fn check_end(&mut self) -> Result<(), Mismatch> {
        let actual_size = self.inner.size;
        if let Some(expected) = self.expected_size
            && expected != actual_size
        {
            return Err(Mismatch::Size {
                digest: self.expected,
                expected,
                actual: actual_size,
            });
        }
        let actual = Digest::from_bytes(self.inner.hasher.clone().finalize().into());
        if actual != self.expected {
            return Err(Mismatch::Digest {
                expected: self.expected,
                actual,
            });
        }
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(verdict) = &self.verdict {
            return verdict.clone().map(|()| 0).map_err(Mismatch::into_io);
        }
        let count = self.inner.read(buffer)?;
        let verdict = match self.expected_size {
            Some(expected) if self.inner.size > expected => Err(Mismatch::Size {
                digest: self.expected,
                expected,
                actual: self.inner.size,
            }),
            _ if count > 0 => return Ok(count),
            _ => self.check_end(),
        };
        self.verdict = Some(verdict.clone());
        verdict.map(|()| 0).map_err(Mismatch::into_io)
    }
}

impl<R> fmt::Debug for VerifyingReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingReader")
            .field("expected", &self.expected)
            .field("expected_size", &self.expected_size)
            .field("size", &self.inner.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_hashes() {
        let mut reader = DigestReader::new(&b"kiln"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), (Digest::of(b"kiln"), 4));
    }

    // conformance: I25
    #[test]
    fn wrong_bytes_fail_at_the_end() {
        let rows: [(&[u8], Option<u64>, Option<&str>); 7] = [
            (b"kiln", Some(4), None),
            (b"kiln", None, None),
            (b"kil", Some(4), Some("4 bytes")),
            (b"kilnn", Some(4), Some("4 bytes")),
            (b"kils", Some(4), Some("expected content")),
            (b"kils", None, Some("expected content")),
            (b"", Some(4), Some("got 0")),
        ];
        assert!(!rows.is_empty());
        for (bytes, size, message) in rows {
            let mut reader = VerifyingReader::new(bytes, Digest::of(b"kiln"), size);
            let result = io::copy(&mut reader, &mut io::sink());
            match message {
                None => assert_eq!(result.unwrap(), 4),
                Some(message) => {
                    let error = result.unwrap_err();
                    let mismatch = Mismatch::from_io(&error).unwrap().to_string();
                    assert!(mismatch.contains(message), "{mismatch}");
                    // Reading on must not turn the failure into an end of file.
                    assert!(reader.read(&mut [0; 8]).is_err());
                }
            }
        }
    }
}
