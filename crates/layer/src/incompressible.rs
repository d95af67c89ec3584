//! A cheap guess whether deflate could shrink some bytes.
//!
//! Deflate spends most time on what it cannot shrink: media, archives, keys. The guess looks at an eighth of the
//! bytes, depends on nothing but them, and errs towards compressing; a wrong guess costs size or time, never content.

/// Pieces that are judged one by one.
pub(crate) const PIECE: usize = 128 * 1024;

/// Pieces below this are not worth the question.
const MIN: usize = 16 * 1024;
/// Bytes sampled at the start of every [`STRIDE`].
const LINE: usize = 64;
const STRIDE: usize = 512;
/// How far back deflate finds repetitions.
const WINDOW: usize = 32 * 1024;
/// Distance of the remembered positions, and positions compared with them at the end of each window.
const ANCHOR: usize = 64;
const PROBES: usize = 512;
const TABLE_BITS: u32 = 11;

/// Would deflate gain less than about one per cent on `piece`?
pub(crate) fn is_incompressible(piece: &[u8]) -> bool {
    piece.len() >= MIN && looks_uniform(piece) && !repeats(piece)
}

/// Are all byte values about equally frequent? Pearson's statistic over the sample; per byte, Huffman coding saves
/// about `statistic / (2 n ln 2)` bits.
fn looks_uniform(piece: &[u8]) -> bool {
    // Four tables: one would make each addition wait for the one before when neighbours are equal.
    let mut counts = [[0_u32; 256]; 4];
    let mut total = 0;
    for line in piece.chunks(STRIDE) {
        let line = &line[..line.len().min(LINE)];
        total += line.len() as u64;
        for four in line.chunks(4) {
            for (table, &byte) in counts.iter_mut().zip(four) {
                table[usize::from(byte)] += 1;
            }
        }
    }
    let squares: u64 = (0..256)
        .map(|value| {
            let count: u64 = counts.iter().map(|table| u64::from(table[value])).sum();
            count * count
        })
        .sum();
    // statistic = squares * 256 / total - total; random bytes give 255 ± 23, and 1 % is 0.11 * total.
    squares * 256 / total - total < 255 + total / 12
}

/// Do sequences of eight bytes come again within deflate's window?
fn repeats(piece: &[u8]) -> bool {
    let mut table = [u32::MAX; 1 << TABLE_BITS];
    let mut hits = 0;
    let mut window = 0;
    while window + MIN <= piece.len() {
        let end = (window + WINDOW).min(piece.len());
        let probes = end - PROBES;
        for at in (window..probes - 8).step_by(ANCHOR) {
            table[slot(word(piece, at))] = at as u32;
        }
        for at in probes..end - 8 {
            let word_here = word(piece, at);
            let seen = table[slot(word_here)];
            if seen != u32::MAX && word(piece, seen as usize) == word_here {
                hits += 1;
            }
        }
        window = end;
    }
    // A window that is all repetition gives PROBES / ANCHOR = 8 hits; unrelated bytes none.
    hits >= 2
}

fn word(piece: &[u8], at: usize) -> u64 {
    piece[at..at + 8]
        .iter()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn slot(word: u64) -> usize {
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - TABLE_BITS)) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{PIECE, is_incompressible};

    /// Bytes that look random and are always the same (xorshift).
    pub(crate) fn noise(mut seed: u64, length: usize) -> Vec<u8> {
        seed = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.extend_from_slice(&seed.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn only_what_cannot_shrink_is_refused() {
        let random = noise(1, PIECE);
        let text: Vec<u8> = (0..400_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let hex: Vec<u8> = random
            .iter()
            .flat_map(|b| format!("{b:02x}").into_bytes())
            .take(PIECE)
            .collect();
        let half: Vec<u8> = random.iter().map(|b| b & 0x7f).collect();
        let repeated = noise(2, 20_000).repeat(7)[..PIECE].to_vec();
        let rows: [(&str, &[u8], bool); 7] = [
            ("random", &random, true),
            ("short random", &random[..1000], false),
            ("zeros", &vec![0; PIECE], false),
            ("text", &text[..PIECE], false),
            ("hex", &hex, false),
            ("seven bits", &half, false),
            ("random, repeated", &repeated, false),
        ];
        for (name, piece, expected) in rows {
            assert_eq!(is_incompressible(piece), expected, "{name}");
        }
    }
}
