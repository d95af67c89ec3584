//! One entry as tar header blocks: ustar, and a PAX header before it only where ustar cannot say it.

use crate::header::{Fields, RECORD, id_fits, size_fits, text_fits, time_fits};
use crate::pax::push_record;
use crate::{Entry, EntryKind, LayerError};

/// What whiteout names start with.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The file that makes its directory opaque.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// Writes the header blocks of entries; keeps its buffers from one entry to the next.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    blocks: Vec<u8>,
    name: Vec<u8>,
    records: Vec<u8>,
}

impl Framer {
    /// The header blocks for `entry` with `mtime` instead of its own time.
    pub(crate) fn frame(&mut self, entry: &Entry, mtime: i64) -> Result<&[u8], LayerError> {
        self.blocks.clear();
        self.tar_name(entry)?;
        let fields = if entry.kind.is_marker() {
            // conformance: G8
            Fields {
                name: &self.name,
                typeflag: b'0',
                ..Fields::default()
            }
        } else {
            fields(entry, &self.name, mtime)
        };
        self.records.clear();
        push_pax(&mut self.records, &fields, entry)?;
        if !self.records.is_empty() {
            push_pax_header(&mut self.blocks, &self.records, &fields);
        }
        self.blocks.extend_from_slice(&fields.encode());
        Ok(&self.blocks)
    }

    /// conformance: G1, G8
    fn tar_name(&mut self, entry: &Entry) -> Result<(), LayerError> {
        self.name.clear();
        let path = entry.path.as_bytes();
        let own_name = entry.path.file_name().unwrap_or_default();
        match entry.kind {
            EntryKind::Whiteout => {
                self.name
                    .extend_from_slice(&path[..path.len() - own_name.len()]);
                self.name.extend_from_slice(WHITEOUT_PREFIX);
                self.name.extend_from_slice(own_name);
                return Ok(());
            }
            EntryKind::OpaqueMarker => {
                self.name.extend_from_slice(path);
                if !path.is_empty() {
                    self.name.push(b'/');
                }
                self.name.extend_from_slice(OPAQUE_NAME);
                return Ok(());
            }
            _ => {}
        }
        if own_name.starts_with(WHITEOUT_PREFIX) {
            return Err(unpackable(
                entry,
                "names with `.wh.` in front mean deletions in a layer",
            ));
        }
        self.name.extend_from_slice(path);
        if entry.kind == EntryKind::Directory {
            self.name.push(b'/');
        }
        if self.name.contains(&0) {
            return Err(unpackable(entry, "the name holds a NUL byte"));
        }
        Ok(())
    }
}

fn fields<'a>(entry: &'a Entry, name: &'a [u8], mtime: i64) -> Fields<'a> {
    let mut fields = Fields {
        name,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime,
        ..Fields::default()
    };
    fields.typeflag = match &entry.kind {
        EntryKind::File { size } => {
            fields.size = *size;
            b'0'
        }
        EntryKind::Hardlink { target } => {
            fields.link = target.as_bytes();
            b'1'
        }
        EntryKind::Symlink { target } => {
            fields.link = target;
            b'2'
        }
        EntryKind::CharDevice { major, minor } => {
            fields.device = Some((*major, *minor));
            b'3'
        }
        EntryKind::BlockDevice { major, minor } => {
            fields.device = Some((*major, *minor));
            b'4'
        }
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        EntryKind::Whiteout | EntryKind::OpaqueMarker => b'0',
    };
    fields
}

/// The records this entry needs, sorted by key (conformance: G4, G5, G19).
fn push_pax(out: &mut Vec<u8>, fields: &Fields<'_>, entry: &Entry) -> Result<(), LayerError> {
    let number = |out: &mut Vec<u8>, key: &str, fits: bool, value: i128| {
        if !fits {
            push_record(out, key.as_bytes(), value.to_string().as_bytes());
        }
    };
    let (major, minor) = fields.device.unwrap_or((0, 0));
    number(out, "SCHILY.devmajor", id_fits(major), major.into());
    number(out, "SCHILY.devminor", id_fits(minor), minor.into());
    if !entry.kind.is_marker() {
        for (name, value) in &entry.xattrs {
            if name.contains(&b'=') || name.contains(&0) {
                return Err(unpackable(
                    entry,
                    "an extended attribute has `=` or NUL in its name",
                ));
            }
            push_record(out, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
    }
    number(out, "gid", id_fits(fields.gid), fields.gid.into());
    // PAX texts are UTF-8 unless they say otherwise; libarchive drops names that break this.
    let binary = [fields.name, fields.link]
        .iter()
        .any(|text| !text_fits(text) && std::str::from_utf8(text).is_err());
    if binary {
        push_record(out, b"hdrcharset", b"BINARY");
    }
    if !text_fits(fields.link) {
        push_record(out, b"linkpath", fields.link);
    }
    number(out, "mtime", time_fits(fields.mtime), fields.mtime.into());
    if !text_fits(fields.name) {
        push_record(out, b"path", fields.name);
    }
    number(out, "size", size_fits(fields.size), fields.size.into());
    number(out, "uid", id_fits(fields.uid), fields.uid.into());
    Ok(())
}

fn push_pax_header(blocks: &mut Vec<u8>, records: &[u8], fields: &Fields<'_>) {
    let path = fields.name.strip_suffix(b"/").unwrap_or(fields.name);
    let own_name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    // Never looked at by readers that understand PAX; those that do not see a file of this name.
    let mut name = [b"PaxHeaders/", own_name].concat();
    name.retain(u8::is_ascii);
    name.truncate(100);
    let header = Fields {
        name: &name,
        size: records.len() as u64,
        typeflag: b'x',
        ..Fields::default()
    };
    debug_assert!(size_fits(header.size));
    blocks.extend_from_slice(&header.encode());
    blocks.extend_from_slice(records);
    blocks.resize(blocks.len().next_multiple_of(RECORD), 0);
}

fn unpackable(entry: &Entry, reason: &'static str) -> LayerError {
    LayerError::Unpackable {
        path: entry.path.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImagePath;

    /// What a PAX header says, and the header after it.
    fn framed(entry: &Entry) -> (String, Vec<u8>) {
        let mut framer = Framer::default();
        let blocks = framer.frame(entry, entry.mtime).unwrap();
        let (pax, header) = blocks.split_at(blocks.len() - RECORD);
        if pax.is_empty() {
            return (String::new(), header.to_vec());
        }
        assert_eq!(pax[156], b'x', "{}", entry.path);
        let records = crate::pax::records(&pax[RECORD..]).unwrap();
        let keys: Vec<_> = records
            .into_iter()
            .map(|(key, _)| String::from_utf8_lossy(key))
            .collect();
        (keys.join(" "), header.to_vec())
    }

    fn with(change: impl FnOnce(&mut Entry)) -> Entry {
        let mut entry = Entry::file("f", 1);
        change(&mut entry);
        entry
    }

    // conformance: G4 G5 G19
    #[test]
    fn pax_records_are_where_ustar_cannot_say_it() {
        let name = |length: usize| Entry::file("n".repeat(length).as_str(), 1);
        let link = |length: usize| Entry::symlink("l", "t".repeat(length).as_str());
        let device = |major| Entry::new("d", EntryKind::CharDevice { major, minor: 1 });
        let rows = [
            (name(100), ""),
            (name(101), "path"),
            (Entry::file("ü", 1), "path"),
            (
                Entry::file(ImagePath::from_bytes_cleaned(b"\xff"), 1),
                "hdrcharset path",
            ),
            (link(100), ""),
            (link(101), "linkpath"),
            (Entry::file("f", (8 << 30) - 1), ""),
            (Entry::file("f", 8 << 30), "size"),
            (with(|entry| entry.uid = 2_097_151), ""),
            (with(|entry| entry.uid = 2_097_152), "uid"),
            (with(|entry| entry.gid = 2_097_151), ""),
            (with(|entry| entry.gid = 2_097_152), "gid"),
            (with(|entry| entry.mtime = 0), ""),
            (with(|entry| entry.mtime = -1), "mtime"),
            (device(2_097_152), "SCHILY.devmajor"),
            (
                with(|entry| {
                    let value = b"value".to_vec();
                    entry.xattrs.insert(b"security.capability".to_vec(), value);
                }),
                "SCHILY.xattr.security.capability",
            ),
        ];
        assert!(!rows.is_empty());
        for (entry, expected) in rows {
            let (keys, header) = framed(&entry);
            assert_eq!(keys, expected, "{entry}");
            assert_eq!(header[265..329], [0; 64], "names of owners: {entry}");
            assert_eq!(header[345..], [0; 167], "nothing behind ustar's numbers");
        }
    }

    // conformance: G1 G8
    #[test]
    fn names_and_whiteouts() {
        let whiteout = Entry {
            mode: 0o755,
            uid: 5,
            mtime: 7,
            ..Entry::whiteout("d/f")
        };
        let rows = [
            (Entry::file("d/f", 1), "d/f", b'0'),
            (Entry::directory("d"), "d/", b'5'),
            (Entry::symlink("d/l", "/t"), "d/l", b'2'),
            (whiteout.clone(), "d/.wh.f", b'0'),
            (Entry::whiteout("f"), ".wh.f", b'0'),
        ];
        assert!(!rows.is_empty());
        for (entry, name, kind) in rows {
            let (_, header) = framed(&entry);
            let header = crate::header::Header(header.as_slice().try_into().unwrap());
            let found = (header.name(), header.typeflag());
            assert_eq!(found, (name.as_bytes().to_vec(), kind), "{entry}");
        }
        let (_, header) = framed(&whiteout);
        let header = crate::header::Header(header.as_slice().try_into().unwrap());
        let numbers = [header.mode(), header.uid(), header.size(), header.mtime()];
        assert_eq!(numbers, [Some(0); 4], "an empty file of mode and time 0");
    }
}
