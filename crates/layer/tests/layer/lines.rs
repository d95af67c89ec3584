//! Layers and what becomes of them, one line for each file:
//!
//! `d path`, `f path content`, `l path -> text`, `h path = other name`, `p path` (fifo), `x path` (whiteout),
//! `o path` (opaque marker), each with ` %mode` and ` @user:group` behind it where they are not the usual ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_layer::{Compression, Entry, EntryKind, ImagePath, LayerWriter, WriterOptions};

use crate::disk::{Kind, Seen};

/// Modification time of every entry, long ago.
pub(crate) const TIME: i64 = 1_000_000_000;

/// The layer with these entries, as a plain tar.
pub(crate) fn layer(lines: &[&str]) -> Vec<u8> {
    let entries: Vec<_> = lines.iter().map(|line| entry(line)).collect();
    pack(&entries)
}

/// The layer with these entries and contents, as a plain tar.
pub(crate) fn pack(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new(), Compression::None, WriterOptions::default());
    for (entry, content) in entries {
        writer.append(entry, Some(&mut content.as_slice())).unwrap();
    }
    writer.finish().unwrap().1
}

/// One line as an entry, with the content of a file.
pub(crate) fn entry(line: &str) -> (Entry, Vec<u8>) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut content = Vec::new();
    let kind = match (words[0], &words[2..]) {
        ("d", _) => EntryKind::Directory,
        ("f", [text, ..]) => {
            content.extend_from_slice(text.as_bytes());
            let size = text.len() as u64;
            EntryKind::File { size }
        }
        ("l", ["->", target, ..]) => EntryKind::Symlink {
            target: (*target).into(),
        },
        ("h", ["=", target, ..]) => EntryKind::Hardlink {
            target: (*target).into(),
        },
        ("p", _) => EntryKind::Fifo,
        ("x", _) => EntryKind::Whiteout,
        ("o", _) => EntryKind::OpaqueMarker,
        _ => panic!("no entry: {line}"),
    };
    // What is shown as the root is its path.
    let path = ImagePath::from(words[1]);
    let mut entry = Entry::new(path, kind);
    entry.mtime = TIME;
    for word in &words[2..] {
        if let Some(mode) = word.strip_prefix('%') {
            entry.mode = u32::from_str_radix(mode, 8).unwrap();
        } else if let Some((user, group)) = word.strip_prefix('@').and_then(|w| w.split_once(':')) {
            (entry.uid, entry.gid) = (user.parse().unwrap(), group.parse().unwrap());
        }
    }
    (entry, content)
}

/// The lines for a tree; `usual` is the owner that goes without saying.
pub(crate) fn lines(tree: &BTreeMap<Vec<u8>, Seen>, usual: (u32, u32)) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = |(path, seen): (&Vec<u8>, &Seen)| {
        let name = text(path);
        let (mut line, mode) = match &seen.kind {
            Kind::File(_, names) if names[0] != *path => {
                return format!("h {name} = {}", text(&names[0]));
            }
            Kind::File(content, _) => (format!("f {name} {}", text(content)), 0o644),
            Kind::Directory => (format!("d {name}"), 0o755),
            Kind::Symlink(target) => (format!("l {name} -> {}", text(target)), 0o777),
            Kind::Fifo => (format!("p {name}"), 0o644),
            Kind::Char(major, minor) => (format!("c {name} {major},{minor}"), 0o644),
            Kind::Other => (format!("? {name}"), 0),
        };
        if seen.mode != mode {
            write!(line, " %{:o}", seen.mode).unwrap();
        }
        if seen.owner != usual {
            write!(line, " @{}:{}", seen.owner.0, seen.owner.1).unwrap();
        }
        line
    };
    tree.iter().map(line).collect()
}
