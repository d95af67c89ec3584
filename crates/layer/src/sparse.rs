//! Sparse files in tar's dialects: old GNU headers and PAX 0.0, 0.1 and 1.0 (conformance: G18).
//!
//! The archive holds the data extents one after the other; a map says where each belongs, the rest is zeros.

use crate::header::{Header, RECORD, number};
use crate::pax::decimal;

/// Extents a map may have. A file with more is not an honest one: the map is held in memory.
const MAX_EXTENTS: usize = 1 << 20;

/// A piece of data in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Where the data in the archive belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// In order, apart from each other, none empty.
    pub(crate) extents: Vec<Extent>,
    /// Size of the whole file.
    pub(crate) size: u64,
}

impl SparseMap {
    /// Checks that the extents are in order and inside the file, and hold just the `stored` bytes of the archive.
    pub(crate) fn new(
        mut extents: Vec<Extent>,
        size: u64,
        stored: u64,
    ) -> Result<Self, &'static str> {
        let mut end = 0;
        let mut total = 0_u64;
        for extent in &extents {
            if extent.offset < end {
                return Err("sparse extents overlap or are out of order");
            }
            end = extent
                .offset
                .checked_add(extent.length)
                .filter(|&end| end <= size)
                .ok_or("a sparse extent reaches beyond the end of its file")?;
            total += extent.length;
        }
        if total != stored {
            return Err("the sparse map does not fit the stored data");
        }
        extents.retain(|extent| extent.length > 0);
        Ok(Self { extents, size })
    }
}

/// Reads the extents of an old GNU header or of one of the blocks that continue it.
pub(crate) fn push_gnu(extents: &mut Vec<Extent>, fields: &[u8]) -> Result<(), &'static str> {
    for field in fields.chunks_exact(24) {
        // An empty field ends the list; GNU tar itself writes a last extent of no length before it.
        if field[0] == 0 {
            break;
        }
        let read = |field| number(field).and_then(|number| u64::try_from(number).ok());
        push(extents, read(&field[..12]), read(&field[12..]))?;
    }
    Ok(())
}

/// The map, the continuation flag and the real size of an old GNU sparse header.
pub(crate) fn gnu_start(header: Header<'_>) -> Result<(Vec<Extent>, bool, u64), &'static str> {
    let (fields, continues, size) = header
        .gnu_sparse()
        .ok_or("sparse file without a GNU header")?;
    let mut extents = Vec::new();
    push_gnu(&mut extents, fields)?;
    let size = u64::try_from(size).map_err(|_| "sparse file of negative size")?;
    Ok((extents, continues, size))
}

/// `GNU.sparse.map` of PAX 0.1: numbers with commas between them.
pub(crate) fn pax_list(text: &[u8]) -> Result<Vec<Extent>, &'static str> {
    let mut extents = Vec::new();
    if text.is_empty() {
        return Ok(extents);
    }
    let mut numbers = text.split(|&b| b == b',').map(decimal);
    while let Some(offset) = numbers.next() {
        push(&mut extents, offset, numbers.next().flatten())?;
    }
    Ok(extents)
}

/// The records of PAX 0.0, one offset and one length in turn.
pub(crate) fn push_pax_number(
    extents: &mut Vec<Extent>,
    pending: &mut Option<u64>,
    is_offset: bool,
    value: &[u8],
) -> Result<(), &'static str> {
    match (is_offset, pending.take()) {
        (true, None) => *pending = decimal(value),
        (false, offset @ Some(_)) => return push(extents, offset, decimal(value)),
        _ => return Err("sparse offsets and lengths do not alternate"),
    }
    Ok(())
}

fn push(
    extents: &mut Vec<Extent>,
    offset: Option<u64>,
    length: Option<u64>,
) -> Result<(), &'static str> {
    let (Some(offset), Some(length)) = (offset, length) else {
        return Err("sparse map with something that is no number");
    };
    if extents.len() == MAX_EXTENTS {
        return Err("sparse map with too many extents");
    }
    extents.push(Extent { offset, length });
    Ok(())
}

/// Reads the map of PAX 1.0, which stands before the data: a count, then offsets and lengths, each number on a line
/// of its own, padded to a record.
#[derive(Debug, Default)]
pub(crate) struct MapText {
    numbers: Vec<u64>,
    wanted: Option<usize>,
    line: Vec<u8>,
}

impl MapText {
    /// Takes in the next record; true when the map is complete.
    pub(crate) fn push(&mut self, record: &[u8; RECORD]) -> Result<bool, &'static str> {
        for &byte in record {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err("sparse map with something that is no number");
                }
                continue;
            }
            let number =
                decimal(&self.line).ok_or("sparse map with something that is no number")?;
            self.line.clear();
            match self.wanted {
                None => {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    if count > MAX_EXTENTS {
                        return Err("sparse map with too many extents");
                    }
                    self.wanted = Some(2 * count);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.wanted == Some(self.numbers.len()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn into_extents(self) -> Vec<Extent> {
        self.numbers
            .chunks_exact(2)
            .map(|pair| Extent {
                offset: pair[0],
                length: pair[1],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, MapText, SparseMap, pax_list};

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn maps_must_fit_their_file() {
        let rows = [
            (vec![], 10, 0, true),
            (vec![extent(0, 4), extent(8, 2), extent(10, 0)], 10, 6, true),
            (vec![extent(8, 2), extent(0, 4)], 10, 6, false),
            (vec![extent(0, 4), extent(3, 2)], 10, 6, false),
            (vec![extent(8, 3)], 10, 3, false),
            (vec![extent(u64::MAX, 3)], 10, 3, false),
            (vec![extent(0, 4)], 10, 5, false),
        ];
        for (extents, size, stored, fits) in rows {
            let map = SparseMap::new(extents.clone(), size, stored);
            assert_eq!(map.is_ok(), fits, "{extents:?}");
        }
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(pax_list(b""), Ok(vec![]));
        assert_eq!(pax_list(b"0,1,4,2"), Ok(vec![extent(0, 1), extent(4, 2)]));
        for text in [&b"0"[..], b"0,", b"a,1", b"0,1,,2", b"-1,2"] {
            assert!(pax_list(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_map_before_the_data() {
        let mut record = [0; 512];
        record[..10].copy_from_slice(b"2\n0\n1\n4\n2\n");
        let mut text = MapText::default();
        assert_eq!(text.push(&record), Ok(true));
        assert_eq!(text.into_extents(), [extent(0, 1), extent(4, 2)]);
        record[1] = b'x';
        assert!(MapText::default().push(&record).is_err());
        assert!(MapText::default().push(&[b'1'; 512]).is_err());
    }
}
