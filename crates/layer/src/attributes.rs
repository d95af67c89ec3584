//! What extended headers say about the entry that follows them.

use crate::Xattrs;
use crate::limits::MAX_XATTR;
use crate::pax::{decimal, records, seconds};
use crate::sparse::{Extent, pax_list, push_pax_number};

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// The kernel's own limit.
const LONGEST_XATTR_NAME: usize = 255;

/// The values of PAX and GNU long-name headers; what is `None` stands in the entry's own header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<i64>,
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: Sparse,
}

/// The `GNU.sparse.` records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    /// 1.0: the map stands before the data.
    pub(crate) map_in_data: bool,
    /// 0.0 and 0.1: the map itself.
    pub(crate) extents: Option<Vec<Extent>>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pending: Option<u64>,
}

impl Attributes {
    /// Takes in the records of one extended header; later ones win.
    pub(crate) fn apply(&mut self, data: &[u8]) -> Result<(), &'static str> {
        for (key, value) in records(data)? {
            self.record(key, value)?;
        }
        if self.sparse.pending.is_some() {
            return Err("sparse offsets and lengths do not alternate");
        }
        Ok(())
    }

    /// Bytes that every entry is given when these are the global ones.
    pub(crate) fn cost(&self) -> u64 {
        let texts = [&self.name, &self.link, &self.sparse.name];
        let texts: usize = texts
            .iter()
            .filter_map(|text| Some(text.as_ref()?.len()))
            .sum();
        let extents = self.sparse.extents.as_ref().map_or(0, Vec::len);
        (texts + extents * size_of::<Extent>()) as u64 + self.xattrs.cost()
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            if name.is_empty() || name.contains(&0) {
                return Err("extended attribute without a proper name");
            }
            // Longer names and values are none that a file system takes.
            if name.len() > LONGEST_XATTR_NAME {
                return Err("extended attribute with a name of more than 255 bytes");
            }
            if value.len() as u64 > MAX_XATTR {
                return Err("extended attribute of more than 64 KiB (MAX_XATTR)");
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.record(key, value);
        }
        // An empty value takes back what an earlier header said.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.name = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"SCHILY.devmajor" => self.major = number(value)?,
            b"SCHILY.devminor" => self.minor = number(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => {
                let time = seconds(value).ok_or("PAX time that is no number")?;
                self.mtime = Some(time);
            }
            // Times that layers do not keep, names of owners, comments, vendors' own.
            _ => {}
        }
        Ok(())
    }
}

impl Sparse {
    /// Is the entry a sparse file in one of the PAX dialects?
    pub(crate) fn is_some(&self) -> bool {
        self.map_in_data || self.extents.is_some()
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"major" if value == b"1" => self.map_in_data = true,
            b"major" if value != b"0" => return Err("sparse file of an unknown version"),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = number(value)?,
            b"map" => self.extents = Some(pax_list(value)?),
            b"numblocks" => {
                self.extents.get_or_insert_default();
            }
            b"offset" | b"numbytes" => {
                let extents = self.extents.get_or_insert_default();
                push_pax_number(extents, &mut self.pending, key == b"offset", value)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn number(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value)
        .map(Some)
        .ok_or("PAX number with other characters")
}
