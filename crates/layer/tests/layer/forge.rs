//! Tar archives made by hand, with names that no writer would write.

const RECORD: usize = 512;

/// One header; what is not set is zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) typeflag: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    /// Fields that belong to a dialect, by offset; they overwrite what else is there.
    pub(crate) fields: Vec<(usize, Vec<u8>)>,
}

impl Raw {
    pub(crate) fn new(typeflag: u8, name: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            typeflag,
            mode: if typeflag == b'5' { 0o755 } else { 0o644 },
            ..Self::default()
        }
    }

    pub(crate) fn file(name: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            content: content.into(),
            ..Self::new(b'0', name)
        }
    }

    pub(crate) fn link(typeflag: u8, name: impl Into<Vec<u8>>, link: impl Into<Vec<u8>>) -> Self {
        Self {
            link: link.into(),
            ..Self::new(typeflag, name)
        }
    }

    fn push(&self, out: &mut Vec<u8>) {
        let long = |out: &mut Vec<u8>, typeflag, text: &[u8]| {
            if text.len() > 100 {
                let text = [text, b"\0"].concat();
                let header = Self {
                    content: text,
                    ..Self::new(typeflag, "././@LongLink")
                };
                header.push(out);
            }
        };
        long(out, b'L', &self.name);
        long(out, b'K', &self.link);
        let mut header = [0; RECORD];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.content.len()).as_bytes());
        put(136, b"00000000001\0");
        put(156, &[self.typeflag]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        for (at, bytes) in &self.fields {
            put(*at, bytes);
        }
        put(148, b"        ");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.content);
        out.resize(out.len().next_multiple_of(RECORD), 0);
    }
}

/// The archive without the zeros at its end.
pub(crate) fn open_ended(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        entry.push(&mut out);
    }
    out
}

/// The whole archive.
pub(crate) fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out = open_ended(entries);
    out.resize(out.len() + 2 * RECORD, 0);
    out
}

/// A PAX header with these records.
pub(crate) fn pax(typeflag: u8, records: &[(&str, &str)]) -> Raw {
    let mut content = Vec::new();
    for (key, value) in records {
        // The length counts its own digits; two of them at most here.
        let rest = key.len() + value.len() + 3;
        let length = if rest + 1 < 10 { rest + 1 } else { rest + 2 };
        assert!(length < 100, "{key}={value}");
        content.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    Raw {
        content,
        ..Raw::new(typeflag, "PaxHeaders/x")
    }
}
