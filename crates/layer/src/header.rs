//! The 512-byte tar header: fields by offset, written as ustar and read in every dialect.

/// Bytes in a tar record: headers and padding come in these.
pub(crate) const RECORD: usize = 512;

/// Largest file size the octal field holds (conformance: G5).
const MAX_SIZE: u64 = 0o777_7777_7777;
/// Largest user id, group id and device number the octal fields hold (conformance: G5).
const MAX_ID: u32 = 0o777_7777;

/// Fields of a header that is to be written; what does not fit its field is written as zero and has to be in a PAX
/// header before it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) typeflag: u8,
    pub(crate) link: &'a [u8],
    pub(crate) device: Option<(u32, u32)>,
}

/// Does `text` fit the name or link field as it is (conformance: G4, G5)?
pub(crate) fn text_fits(text: &[u8]) -> bool {
    text.len() <= 100 && text.is_ascii()
}

/// Does the size fit its field?
pub(crate) fn size_fits(size: u64) -> bool {
    size <= MAX_SIZE
}

/// Does the id or device number fit its field?
pub(crate) fn id_fits(id: u32) -> bool {
    id <= MAX_ID
}

/// Does the time fit its field?
pub(crate) fn time_fits(time: i64) -> bool {
    u64::try_from(time).is_ok_and(size_fits)
}

impl Fields<'_> {
    /// The header block, with empty user and group names (conformance: G4).
    pub(crate) fn encode(&self) -> [u8; RECORD] {
        let mut block = [0; RECORD];
        text(&mut block[0..100], self.name);
        octal(&mut block[100..108], u64::from(self.mode & 0o7777));
        octal(&mut block[108..116], u64::from(self.uid));
        octal(&mut block[116..124], u64::from(self.gid));
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], u64::try_from(self.mtime).unwrap_or(0));
        block[156] = self.typeflag;
        text(&mut block[157..257], self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let (major, minor) = self.device.unwrap_or((0, 0));
        octal(&mut block[329..337], u64::from(major));
        octal(&mut block[337..345], u64::from(minor));
        let sum = checksum(&block).0;
        // Six digits, NUL, space: the one field that differs, since the first tar.
        octal(&mut block[148..155], sum);
        block[155] = b' ';
        block
    }
}

fn text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let fits = value >> (3 * digits) == 0;
    let mut rest = if fits { value } else { 0 };
    for at in (0..digits).rev() {
        field[at] = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
}

/// The sum of all bytes with the checksum field as spaces: of unsigned bytes, and of signed ones as some old tars
/// wrote it.
fn checksum(block: &[u8; RECORD]) -> (u64, i64) {
    let mut unsigned = 0;
    let mut signed = 0;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// A header that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a>(pub(crate) &'a [u8; RECORD]);

impl<'a> Header<'a> {
    /// Is it the block of zeros that ends an archive?
    pub(crate) fn is_end(self) -> bool {
        self.0.iter().all(|&b| b == 0)
    }

    pub(crate) fn checksum_matches(self) -> bool {
        let Some(stored) = number(&self.0[148..156]) else {
            return false;
        };
        let (unsigned, signed) = checksum(self.0);
        stored == signed || u64::try_from(stored) == Ok(unsigned)
    }

    pub(crate) fn typeflag(self) -> u8 {
        self.0[156]
    }

    /// Is it the old GNU dialect, whose sparse map and times stand where ustar has the name's prefix?
    fn is_gnu(self) -> bool {
        &self.0[257..265] == b"ustar  \0"
    }

    /// The name, with ustar's prefix.
    pub(crate) fn name(self) -> Vec<u8> {
        let name = until_nul(&self.0[0..100]);
        let is_ustar = &self.0[257..263] == b"ustar\0";
        // Schily's star keeps times in the last bytes of the prefix.
        let is_star = &self.0[508..512] == b"tar\0";
        let prefix = match (is_ustar, is_star) {
            (true, true) => until_nul(&self.0[345..476]),
            (true, false) => until_nul(&self.0[345..500]),
            (false, _) => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(crate) fn link(self) -> &'a [u8] {
        until_nul(&self.0[157..257])
    }

    pub(crate) fn mode(self) -> Option<i64> {
        number(&self.0[100..108])
    }

    pub(crate) fn uid(self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn gid(self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(self) -> Option<i64> {
        number(&self.0[124..136])
    }

    pub(crate) fn mtime(self) -> Option<i64> {
        number(&self.0[136..148])
    }

    /// Major and minor number; before ustar there was no such field.
    pub(crate) fn device(self) -> Option<(i64, i64)> {
        if &self.0[257..262] != b"ustar" {
            return Some((0, 0));
        }
        Some((number(&self.0[329..337])?, number(&self.0[337..345])?))
    }

    /// The first sparse extents of an old GNU sparse file, whether a block with more follows, and the real size.
    pub(crate) fn gnu_sparse(self) -> Option<(&'a [u8], bool, i64)> {
        if !self.is_gnu() {
            return None;
        }
        Some((
            &self.0[386..482],
            self.0[482] != 0,
            number(&self.0[483..495])?,
        ))
    }
}

/// A number field: octal digits between spaces and NULs, or base 256 when the highest bit is set.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        return base256(first, rest);
    }
    let digits = field
        .iter()
        .skip_while(|&&b| b == b' ' || b == 0)
        .take_while(|&&b| b != b' ' && b != 0);
    digits.into_iter().try_fold(0_i64, |value, &b| {
        let digit = matches!(b, b'0'..=b'7').then(|| i64::from(b - b'0'))?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

fn base256(first: u8, rest: &[u8]) -> Option<i64> {
    let negative = first & 0x40 != 0;
    let top = if negative {
        i64::from((first | 0x80).cast_signed())
    } else {
        i64::from(first & 0x3f)
    };
    rest.iter().try_fold(top, |value, &b| {
        value.checked_mul(256)?.checked_add(i64::from(b))
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::{Fields, Header, number};

    #[test]
    fn a_header_reads_back() {
        let fields = Fields {
            name: b"a/b",
            mode: 0o4755,
            uid: 2_097_151,
            gid: 7,
            size: 0o777_7777_7777,
            mtime: 1,
            typeflag: b'2',
            link: b"../x",
            device: Some((8, 1)),
        };
        let block = fields.encode();
        let header = Header(&block);
        assert!(header.checksum_matches());
        assert_eq!(header.name(), b"a/b");
        assert_eq!(header.link(), b"../x");
        assert_eq!(header.mode(), Some(0o4755));
        assert_eq!(header.uid(), Some(2_097_151));
        assert_eq!(header.size(), Some(0o777_7777_7777));
        assert_eq!(header.device(), Some((8, 1)));
        assert!(!header.is_end());
        let mut damaged = block;
        damaged[0] ^= 1;
        assert!(!Header(&damaged).checksum_matches());
    }

    #[test]
    fn numbers_in_all_writings() {
        let rows: [(&[u8], Option<i64>); 9] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"12345670", Some(0o1234_5670)),
            (b"\x80\0\0\0\0\x20\0\0", Some(0x20_0000)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"0000689\0", None),
            (b"-000001\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, value) in rows {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
