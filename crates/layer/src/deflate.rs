//! Blocks of a tar as raw deflate, so that independent threads can make the parts of one gzip member.
//!
//! Every block ends on a byte boundary (a sync flush) and starts with the 32 KiB before it as dictionary, so parts
//! can simply be put one after the other. What deflate cannot shrink becomes stored blocks. The bytes are a function
//! of the block, the dictionary and the level.

use std::io;

use flate2::{Compress, FlushCompress};

use crate::incompressible::{PIECE, is_incompressible};

/// How far back deflate refers.
const WINDOW: usize = 32 * 1024;
/// Longest stored deflate block.
const STORED: usize = 65_535;

/// Ten bytes: magic, deflate, no flags, no time, no extra flags, unknown system (conformance: G45).
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block, which ends the deflate stream.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// What follows the last part.
pub(crate) fn gzip_trailer(crc: u32, length: u64) -> [u8; 10] {
    let mut trailer = [0; 10];
    trailer[..2].copy_from_slice(&LAST_BLOCK);
    trailer[2..6].copy_from_slice(&crc.to_le_bytes());
    trailer[6..].copy_from_slice(&(length as u32).to_le_bytes());
    trailer
}

/// A deflate compressor that is reused from block to block.
#[derive(Debug)]
pub(crate) struct Deflate {
    state: Compress,
    store_all: bool,
}

impl Deflate {
    pub(crate) fn new(level: u32) -> Self {
        let level = level.min(9);
        Self {
            state: Compress::new(flate2::Compression::new(level), false),
            store_all: level == 0,
        }
    }

    /// Appends `block` to `out` in compressed form; `before` is what precedes it in the stream.
    pub(crate) fn encode(
        &mut self,
        block: &[u8],
        before: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut start = 0;
        while start < block.len() {
            let (end, store) = self.run(block, start);
            if store {
                push_stored(out, &block[start..end]);
            } else {
                let dictionary = if start == 0 { before } else { &block[..start] };
                self.run_deflate(&block[start..end], tail(dictionary), out)?;
            }
            start = end;
        }
        Ok(())
    }

    /// The longest run of pieces from `start` on that are all stored, or all compressed.
    fn run(&self, block: &[u8], start: usize) -> (usize, bool) {
        if self.store_all {
            return (block.len(), true);
        }
        let mut pieces = block[start..].chunks(PIECE);
        let store = pieces.next().is_some_and(is_incompressible);
        let more = pieces
            .take_while(|piece| is_incompressible(piece) == store)
            .count();
        ((start + (more + 1) * PIECE).min(block.len()), store)
    }

    fn run_deflate(&mut self, run: &[u8], dictionary: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.state.reset();
        if !dictionary.is_empty() {
            self.state.set_dictionary(dictionary)?;
        }
        let start = out.len();
        // Enough for the worst a level can do (nine bits per byte): a call that fills the buffer would have to be
        // repeated, and the bytes would depend on the capacity.
        out.reserve(run.len() + run.len() / 8 + 4096);
        self.state.compress_vec(run, out, FlushCompress::Sync)?;
        if self.state.total_in() != run.len() as u64 || out.len() == out.capacity() {
            return Err(io::Error::other("deflate did not take a whole block"));
        }
        if out.len() - start > run.len() {
            out.truncate(start);
            push_stored(out, run);
        }
        Ok(())
    }
}

fn tail(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(WINDOW)..]
}

fn push_stored(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + bytes.len().div_ceil(STORED) * 5);
    for part in bytes.chunks(STORED) {
        let length = part.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::{Deflate, GZIP_HEADER, gzip_trailer};
    use crate::incompressible::tests::noise;

    fn gzip(parts: &[&[u8]], level: u32) -> Vec<u8> {
        let mut out = GZIP_HEADER.to_vec();
        let mut deflate = Deflate::new(level);
        let mut before: &[u8] = &[];
        for part in parts {
            deflate.encode(part, before, &mut out).unwrap();
            before = part;
        }
        let whole = parts.concat();
        let crc = crc32fast::hash(&whole);
        out.extend_from_slice(&gzip_trailer(crc, whole.len() as u64));
        out
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut whole)
            .unwrap();
        whole
    }

    // conformance: G45
    #[test]
    fn parts_make_one_member_at_every_level() {
        let text = b"all work and no play ".repeat(9000);
        let random = noise(3, 300_000);
        let mixed = [&text[..], &random, &text, &random[..1000]].concat();
        for level in 0..=9 {
            let packed = gzip(&[&mixed, &text, &random], level);
            assert!(
                gunzip(&packed) == [&mixed[..], &text, &random].concat(),
                "level {level}"
            );
        }
        let packed = gzip(&[&random], 6);
        assert!(
            packed.len() < random.len() + 64,
            "stored costs almost nothing"
        );
        let apart = gzip(&[&text], 6).len() + gzip(&[&random[..100_000]], 6).len();
        assert!(gzip(&[&text, &random[..100_000]], 6).len() < apart);
    }

    #[test]
    fn a_part_uses_what_came_before_it() {
        let phrase = noise(4, 15_000);
        let alone = gzip(&[&phrase], 6).len();
        let again = gzip(&[&phrase, &phrase], 6).len();
        assert!(again < alone + 500, "{again} {alone}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn anything_comes_back(seed in any::<u64>(), cuts in prop::collection::vec(0_usize..300_000, 1..4), level in 0_u32..=9) {
            let parts: Vec<Vec<u8>> = cuts.iter().enumerate().map(|(n, &length)| {
                let mut part = noise(seed.wrapping_add(n as u64), length);
                // Runs of small alphabets between the noise.
                for chunk in part.chunks_mut(70_000).step_by(2) {
                    for b in chunk {
                        *b &= (seed >> 8) as u8;
                    }
                }
                part
            }).collect();
            let parts: Vec<&[u8]> = parts.iter().map(|p| &p[..]).collect();
            prop_assert!(gunzip(&gzip(&parts, level)) == parts.concat());
        }
    }
}
