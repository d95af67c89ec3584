//! The three things that happen to each block, in order or side by side: hash the tar, compress, hash and write.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use kiln_oci::{DiffId, Digest, LayerCompression};
use sha2::{Digest as _, Sha256};

use crate::block::Block;
use crate::deflate::{Deflate, GZIP_HEADER, gzip_trailer};
use crate::{Compression, DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, LayerError, LayerInfo};

/// Blocks are cut at multiples of this in the tar, whatever the sizes of reads; it shapes the packed bytes, so
/// changing it changes every digest (conformance: G45).
const GZIP_BLOCK: usize = 1 << 20;
/// Each zstd block is a frame of its own, so nothing is found again across blocks: they are larger.
const ZSTD_BLOCK: usize = 2 << 20;

pub(crate) fn block_size(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip { .. } => GZIP_BLOCK,
        Compression::Zstd { .. } => ZSTD_BLOCK,
    }
}

/// Sees the tar in order: diff-id, size and the copy.
pub(crate) struct TarSide {
    hasher: Sha256,
    size: u64,
    tee: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for TarSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarSide")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl TarSide {
    pub(crate) fn new(tee: Option<Box<dyn Write + Send>>) -> Self {
        Self {
            hasher: Sha256::new(),
            size: 0,
            tee,
        }
    }

    pub(crate) fn take(&mut self, block: &[u8]) -> Result<(), LayerError> {
        self.hasher.update(block);
        if let Some(tee) = &mut self.tee {
            tee.write_all(block).map_err(|source| LayerError::Tee {
                offset: self.size,
                source,
            })?;
        }
        self.size += block.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<(DiffId, u64), LayerError> {
        if let Some(tee) = &mut self.tee {
            tee.flush().map_err(|source| LayerError::Tee {
                offset: self.size,
                source,
            })?;
        }
        Ok((DiffId::from_bytes(self.hasher.finalize().into()), self.size))
    }
}

/// A block ready to be written.
#[derive(Debug)]
pub(crate) enum Packed {
    /// As it is.
    Plain(Arc<Block>),
    /// Compressed; for gzip with the checksum and length of what went in.
    Compressed {
        bytes: Vec<u8>,
        crc: u32,
        length: u64,
    },
}

/// Compresses blocks, in any order, each with what came before it.
pub(crate) enum Encoder {
    Plain,
    Gzip(Deflate),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Result<Self, LayerError> {
        Ok(match compression {
            Compression::None => Self::Plain,
            Compression::Gzip { level } => {
                Self::Gzip(Deflate::new(level.unwrap_or(DEFAULT_GZIP_LEVEL)))
            }
            Compression::Zstd { level } => {
                let level = level.unwrap_or(DEFAULT_ZSTD_LEVEL).clamp(-7, 22);
                let compressor = zstd::bulk::Compressor::new(level);
                Self::Zstd(compressor.map_err(|source| LayerError::Compress {
                    compression: LayerCompression::Zstd,
                    source,
                })?)
            }
        })
    }

    /// Packs `block`; `spare` is a buffer to use, whose content does not matter.
    pub(crate) fn encode(
        &mut self,
        block: Arc<Block>,
        before: Option<&Block>,
        mut spare: Vec<u8>,
    ) -> Result<Packed, LayerError> {
        spare.clear();
        let (compression, result) = match self {
            Self::Plain => return Ok(Packed::Plain(block)),
            Self::Gzip(deflate) => {
                let before = before.map_or(&[][..], |before| before);
                let result = deflate.encode(&block, before, &mut spare);
                (LayerCompression::Gzip, result)
            }
            Self::Zstd(compressor) => {
                spare.reserve(zstd::zstd_safe::compress_bound(block.len()));
                let result = compressor.compress_to_buffer(&block, &mut spare);
                (LayerCompression::Zstd, result.map(drop))
            }
        };
        result.map_err(|source| LayerError::Compress {
            compression,
            source,
        })?;
        Ok(Packed::Compressed {
            bytes: spare,
            crc: match compression {
                LayerCompression::Gzip => crc32fast::hash(&block),
                _ => 0,
            },
            length: block.len() as u64,
        })
    }
}

/// Sees the packed layer in order: digest, size and where it goes.
pub(crate) struct OutSide<W> {
    out: W,
    format: LayerCompression,
    hasher: Sha256,
    size: u64,
    crc: crc32fast::Hasher,
    length: u64,
}

impl<W> fmt::Debug for OutSide<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutSide")
            .field("format", &self.format)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<W: Write> OutSide<W> {
    pub(crate) fn new(out: W, format: LayerCompression) -> Self {
        Self {
            out,
            format,
            hasher: Sha256::new(),
            size: 0,
            crc: crc32fast::Hasher::new(),
            length: 0,
        }
    }

    /// Writes a block and gives back its buffer, if it has one to spare.
    pub(crate) fn take(&mut self, packed: Packed) -> Result<Option<Vec<u8>>, LayerError> {
        match packed {
            // The tar side hashes these bytes already.
            Packed::Plain(block) => {
                self.write(&block)?;
                Ok(None)
            }
            Packed::Compressed { bytes, crc, length } => {
                if self.format == LayerCompression::Gzip {
                    if self.size == 0 {
                        self.hash_and_write(&GZIP_HEADER)?;
                    }
                    let part = crc32fast::Hasher::new_with_initial_len(crc, length);
                    self.crc.combine(&part);
                    self.length += length;
                }
                self.hash_and_write(&bytes)?;
                Ok(Some(bytes))
            }
        }
    }

    fn hash_and_write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.hasher.update(bytes);
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let result = self.out.write_all(bytes);
        self.checked(result)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn checked(&self, result: io::Result<()>) -> Result<(), LayerError> {
        result.map_err(|source| LayerError::Write {
            offset: self.size,
            source,
        })
    }

    /// Ends the packed stream; `tar` has seen all blocks.
    pub(crate) fn finish(mut self, tar: TarSide) -> Result<(LayerInfo, W), LayerError> {
        let (diff_id, uncompressed_size) = tar.finish()?;
        if self.format == LayerCompression::Gzip {
            let crc = self.crc.clone().finalize();
            self.hash_and_write(&gzip_trailer(crc, self.length))?;
        }
        let result = self.out.flush();
        self.checked(result)?;
        let info = LayerInfo {
            diff_id,
            digest: match self.format {
                LayerCompression::None => diff_id.0,
                _ => Digest::from_bytes(self.hasher.finalize().into()),
            },
            size: self.size,
            uncompressed_size,
            compression: self.format,
        };
        Ok((info, self.out))
    }
}
