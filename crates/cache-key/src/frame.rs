//! The bytes behind a key: values one after the other, each of which says where it ends.

use sha2::{Digest as _, Sha256};

/// Enough to hand bytes to SHA-256 in long runs; most values are a few bytes.
const RUN: usize = 16 * 1024;

/// A SHA-256 that is fed with framed values.
pub(crate) struct Frames {
    hash: Sha256,
    waiting: Vec<u8>,
}

impl Frames {
    /// Starts with what the bytes are for, ended by a zero byte so that no domain is the beginning of another.
    pub(crate) fn new(domain: &str) -> Self {
        let mut frames = Self {
            hash: Sha256::new(),
            waiting: Vec::with_capacity(RUN),
        };
        frames.fixed(domain.as_bytes());
        frames.tag(0);
        frames
    }

    /// One byte that says what follows.
    pub(crate) fn tag(&mut self, tag: u8) {
        self.fixed(&[tag]);
    }

    /// A number as 8 bytes, the lowest first.
    pub(crate) fn number(&mut self, number: u64) {
        self.fixed(&number.to_le_bytes());
    }

    /// How many values follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// Bytes after their number.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.fixed(bytes);
    }

    /// Bytes whose number is always the same.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > RUN {
            self.hash.update(&self.waiting);
            self.waiting.clear();
        }
        if bytes.len() > RUN {
            self.hash.update(bytes);
        } else {
            self.waiting.extend_from_slice(bytes);
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hash.update(&self.waiting);
        self.hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_not_seen_in_the_result() {
        let long = vec![7; RUN + 1];
        let rows: [&[&[u8]]; 4] = [
            &[],
            &[b"a", b"", b"bc"],
            &[b"a", &long, b"b"],
            &[&long[..RUN], b"a", &long[..RUN - 30], b"0123456789"],
        ];
        assert!(!rows.is_empty());
        for row in rows {
            let mut frames = Frames::new("test");
            let mut plain = b"test\0".to_vec();
            for bytes in row {
                frames.bytes(bytes);
                plain.extend((bytes.len() as u64).to_le_bytes());
                plain.extend(*bytes);
            }
            assert_eq!(frames.finish(), <[u8; 32]>::from(Sha256::digest(plain)));
        }
    }
}
