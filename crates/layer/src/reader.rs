//! Packed layer in, entries out.

use std::io::{self, Read};

use kiln_oci::{DiffId, LayerCompression};

use crate::attributes::Attributes;
use crate::header::{Header, RECORD};
use crate::interpret::{Meaning, interpret};
use crate::limits::{ArchiveLimits, Limit, MAX_EXTENSIONS, Spent, shown};
use crate::source::Source;
use crate::sparse::{Extent, MapText, SparseMap, gnu_start, push_gnu};
use crate::{Entry, EntryKind, LayerError, ReadAs};

/// Reads a layer packed with gzip, zstd or nothing, told apart by content (conformance: I26, G36).
///
/// The dialects of tar found in images are understood: ustar, GNU long names, PAX with global headers, base-256
/// numbers, and sparse files of all kinds. Entries for the root directory come with the empty path.
#[derive(Debug)]
pub struct LayerReader<R> {
    source: Source<R>,
    rules: ReadAs,
    globals: Attributes,
    limits: ArchiveLimits,
    spent: Spent,
    /// Raw name of the current entry, for errors.
    name: Vec<u8>,
    content: Content,
    ended: bool,
}

/// What is left of the current entry's content.
#[derive(Debug, Default)]
struct Content {
    /// Data bytes that are still in the archive, and the padding after them.
    stored: u64,
    padding: u64,
    sparse: Option<SparseContent>,
}

#[derive(Debug)]
struct SparseContent {
    extents: std::vec::IntoIter<Extent>,
    current: Option<Extent>,
    position: u64,
    size: u64,
}

impl<R: Read> LayerReader<R> {
    /// Reads `inner` as an image layer; nothing is read yet.
    pub fn new(inner: R) -> Self {
        Self {
            source: Source::new(inner),
            rules: ReadAs::Layer,
            globals: Attributes::default(),
            limits: ArchiveLimits::default(),
            spent: Spent::default(),
            name: Vec::new(),
            content: Content::default(),
            ended: false,
        }
    }

    /// Changes whose rules are followed.
    #[must_use]
    pub fn read_as(mut self, rules: ReadAs) -> Self {
        self.rules = rules;
        self
    }

    /// Changes how much the archive may ask for.
    #[must_use]
    pub fn limited_to(mut self, limits: ArchiveLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How the stream is packed, once something was read.
    pub fn compression(&self) -> Option<LayerCompression> {
        self.source.compression()
    }

    /// Goes to the next entry, past what is left of the one before; `None` at the end of the tar.
    pub fn next_entry(&mut self) -> Result<Option<(Entry, EntryReader<'_, R>)>, LayerError> {
        let mut attributes = None;
        let mut extensions = 0;
        while !self.ended {
            self.skip_content()?;
            let at = self.source.offset();
            let mut record = [0; RECORD];
            let inside = || "a header".to_owned();
            let more = self.source.record(&mut record, inside)?;
            if !more && attributes.is_some() {
                return Err(self
                    .source
                    .truncated("an extended header's entry".to_owned()));
            }
            if !more || Header(&record).is_end() {
                self.ended = true;
                break;
            }
            let header = Header(&record);
            if !header.checksum_matches() {
                return Err(LayerError::Header {
                    offset: at,
                    reason: if at == 0 {
                        "this is not a tar archive"
                    } else {
                        "wrong checksum"
                    },
                });
            }
            let bad = |reason| LayerError::Header { offset: at, reason };
            if self.extension(header, at, &mut attributes, &mut extensions)? {
                continue;
            }
            let attributes = attributes.take().unwrap_or_else(|| self.globals.clone());
            extensions = 0;
            let stored = self.start_content(header, &attributes).map_err(bad)?;
            self.name.clear();
            match &attributes.sparse.name {
                Some(name) if attributes.sparse.is_some() => self.name.extend_from_slice(name),
                _ => match &attributes.name {
                    Some(name) => self.name.extend_from_slice(name),
                    None => self.name = header.name(),
                },
            }
            let size = self
                .sparse_size(header, &attributes, stored, at)?
                .unwrap_or(stored);
            match interpret(header, attributes, &self.name, size, self.rules, at)? {
                Meaning::Entry(entry) => {
                    self.charge(&entry)?;
                    if !matches!(entry.kind, EntryKind::File { .. }) {
                        self.skip_content()?;
                    }
                    return Ok(Some((entry, EntryReader { layer: self })));
                }
                Meaning::Nothing => {}
            }
        }
        Ok(None)
    }

    /// Takes in a header that is about others; false if it is an entry's own.
    fn extension(
        &mut self,
        header: Header<'_>,
        at: u64,
        attributes: &mut Option<Attributes>,
        extensions: &mut u64,
    ) -> Result<bool, LayerError> {
        let bad = |reason| LayerError::Header { offset: at, reason };
        let typeflag = header.typeflag();
        if !matches!(typeflag, b'x' | b'X' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        let size = header.size().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| bad("size that is no number"))?;
        // Those before one entry count together. Global ones are gone but for what they set, which has its own limit.
        let together = if typeflag == b'g' { 0 } else { *extensions };
        Limit::EXTENSIONS.check(together.saturating_add(size))?;
        debug_assert!(size <= MAX_EXTENSIONS);
        if typeflag != b'g' {
            *extensions += size;
        }
        let inside = || "an extended header".to_owned();
        let data = self.source.bytes(size as usize, inside)?;
        self.source
            .skip(size.next_multiple_of(RECORD as u64) - size, inside)?;
        if typeflag == b'g' {
            self.globals.apply(&data).map_err(bad)?;
            Limit::GLOBALS.check(self.globals.cost())?;
            return Ok(true);
        }
        let attributes = attributes.get_or_insert_with(|| self.globals.clone());
        let text = || data.split(|&b| b == 0).next().unwrap_or_default().to_vec();
        match typeflag {
            b'L' => attributes.name = Some(text()),
            b'K' => attributes.link = Some(text()),
            _ => attributes.apply(&data).map_err(bad)?,
        }
        Ok(true)
    }

    /// Adds what an entry makes its reader hold.
    fn charge(&mut self, entry: &Entry) -> Result<(), LayerError> {
        let mut text = entry.text();
        if !entry.xattrs.shares_with(&self.globals.xattrs) {
            text += entry.xattrs.cost();
        }
        self.spent.entries += 1;
        self.spent.text += text;
        if let EntryKind::File { size } = entry.kind {
            Limit::FILE.check(size)?;
        }
        self.spent.check(self.limits)
    }

    /// Notes how much content follows; links, directories and devices have none, whatever their size field says.
    fn start_content(
        &mut self,
        header: Header<'_>,
        attributes: &Attributes,
    ) -> Result<u64, &'static str> {
        let stored = match (header.typeflag(), attributes.size) {
            (b'1'..=b'6', _) => 0,
            (_, Some(size)) => size,
            _ => header
                .size()
                .and_then(|size| u64::try_from(size).ok())
                .ok_or("size that is no number")?,
        };
        let padded = stored
            .checked_next_multiple_of(RECORD as u64)
            .ok_or("size that no file has")?;
        self.content = Content {
            stored,
            padding: padded - stored,
            sparse: None,
        };
        Ok(stored)
    }

    /// Reads the map if this is a sparse file, and gives the size the file has.
    fn sparse_size(
        &mut self,
        header: Header<'_>,
        attributes: &Attributes,
        mut stored: u64,
        at: u64,
    ) -> Result<Option<u64>, LayerError> {
        let bad = |reason| LayerError::Header { offset: at, reason };
        let sparse = &attributes.sparse;
        let (extents, size) = if header.typeflag() == b'S' {
            let (mut extents, mut continues, size) = gnu_start(header).map_err(bad)?;
            while continues {
                let mut record = [0; RECORD];
                if !self
                    .source
                    .record(&mut record, || "a sparse map".to_owned())?
                {
                    return Err(self.source.truncated("a sparse map".to_owned()));
                }
                push_gnu(&mut extents, &record[..504]).map_err(bad)?;
                continues = record[504] != 0;
            }
            (extents, size)
        } else if sparse.map_in_data {
            let extents = self.map_in_data(at)?;
            stored = self.content.stored;
            (extents, sparse.size.unwrap_or(stored))
        } else if let Some(extents) = &sparse.extents {
            (extents.clone(), sparse.size.unwrap_or(stored))
        } else {
            return Ok(None);
        };
        let map = SparseMap::new(extents, size, stored).map_err(bad)?;
        self.spent.holes = self.spent.holes.saturating_add(map.size - stored);
        self.spent.check(self.limits)?;
        self.content.sparse = Some(SparseContent {
            extents: map.extents.into_iter(),
            current: None,
            position: 0,
            size: map.size,
        });
        Ok(Some(map.size))
    }

    fn map_in_data(&mut self, at: u64) -> Result<Vec<Extent>, LayerError> {
        let bad = |reason| LayerError::Header { offset: at, reason };
        let mut map = MapText::default();
        loop {
            let mut record = [0; RECORD];
            let left = self.content.stored.checked_sub(RECORD as u64);
            self.content.stored = left.ok_or_else(|| bad("sparse map longer than its file"))?;
            if !self
                .source
                .record(&mut record, || "a sparse map".to_owned())?
            {
                return Err(self.source.truncated("a sparse map".to_owned()));
            }
            if map.push(&record).map_err(bad)? {
                return Ok(map.into_extents());
            }
        }
    }

    fn skip_content(&mut self) -> Result<(), LayerError> {
        let content = std::mem::take(&mut self.content);
        let inside = || inside_content(&self.name);
        self.source.skip(content.stored, inside)?;
        self.source.skip(content.padding, inside)
    }

    pub(crate) fn read_content(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        let Some(sparse) = &mut self.content.sparse else {
            return self.read_stored(buf);
        };
        let left = sparse.size - sparse.position;
        if left == 0 || buf.is_empty() {
            return Ok(0);
        }
        if sparse.current.is_none() {
            sparse.current = sparse.extents.next();
        }
        let until = match sparse.current {
            Some(extent) if extent.offset <= sparse.position => {
                let data = extent.offset + extent.length - sparse.position;
                return self.read_extent(buf, data);
            }
            Some(extent) => extent.offset - sparse.position,
            None => left,
        };
        let zeros = usize::try_from(until).unwrap_or(usize::MAX).min(buf.len());
        buf[..zeros].fill(0);
        sparse.position += zeros as u64;
        Ok(zeros)
    }

    fn read_extent(&mut self, buf: &mut [u8], data: u64) -> Result<usize, LayerError> {
        let wanted = usize::try_from(data).unwrap_or(usize::MAX).min(buf.len());
        let read = self.read_stored(&mut buf[..wanted])?;
        if let Some(sparse) = &mut self.content.sparse {
            sparse.position += read as u64;
            if read as u64 == data {
                sparse.current = None;
            }
        }
        Ok(read)
    }

    fn read_stored(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        let stored = usize::try_from(self.content.stored).unwrap_or(usize::MAX);
        let wanted = stored.min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buf[..wanted])?;
        if read == 0 {
            return Err(self.source.truncated(inside_content(&self.name)));
        }
        self.content.stored -= read as u64;
        Ok(read)
    }

    /// Reads to the end of the stream, so that every checksum is compared, and gives the digest of the tar.
    pub fn finish(mut self) -> Result<DiffId, LayerError> {
        while self.next_entry()?.is_some() {}
        self.source.finish()
    }
}

fn inside_content(name: &[u8]) -> String {
    format!("the content of `{}`", shown(name))
}

/// The content of one entry: the bytes of a file, nothing for other kinds.
///
/// The holes of a sparse file read as zeros (conformance: G18). Failures are [`LayerError`]s inside the
/// [`io::Error`].
#[derive(Debug)]
pub struct EntryReader<'a, R> {
    layer: &'a mut LayerReader<R>,
}

impl<R: Read> EntryReader<'_, R> {
    /// [`Read::read`] with an error that need not be taken out of an [`io::Error`].
    pub(crate) fn read_content(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        self.layer.read_content(buf)
    }
}

impl<R: Read> Read for EntryReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_content(buf).map_err(io::Error::other)
    }
}

/// Does `block` start with a tar header, judging by its checksum? Tells an archive from any other file
/// (conformance: E37, E38).
pub fn is_tar_header(block: &[u8]) -> bool {
    block.first_chunk::<RECORD>().is_some_and(|record| {
        let header = Header(record);
        !header.is_end() && header.checksum_matches()
    })
}
