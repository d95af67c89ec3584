//! File trees as text, and tar archives of them.
//!
//! One entry a line; empty lines and lines that start with `#` are skipped:
//!
//! ```text
//! etc/                                   a directory
//! etc/passwd = root:x:0:0::/root:/bin/sh\n   a file; \n, \t, \0 and \\ are escapes
//! etc/empty                              an empty file
//! bin/sh -> busybox                      a symbolic link
//! bin/ls => bin/busybox                  a hard link
//! [0755 uid=1 gid=2 mtime=99] bin/x = .. mode, owner and time
//! [size=1000000] big                     a file of that many pseudo-random bytes
//! etc/.wh.old                            a whiteout is a file like any other
//! ```
//!
//! Names go into the archive exactly as written, so hostile ones (`../x`, `/etc/x`) can be made.

use tar::{Builder, EntryType, Header};

#[derive(Debug)]
struct Line<'a> {
    name: &'a str,
    kind: Kind<'a>,
    mode: Option<u32>,
    uid: u64,
    gid: u64,
    mtime: u64,
}

#[derive(Debug)]
enum Kind<'a> {
    Directory,
    File(Vec<u8>),
    Symlink(&'a str),
    Hardlink(&'a str),
}

/// A tar archive with the entries of `tree`, in that order.
pub fn tar_of(tree: &str) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for line in tree
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        append(&mut builder, &parse(line));
    }
    builder.into_inner().expect("writing to memory")
}

fn parse(line: &str) -> Line<'_> {
    let (attributes, rest) = match line.strip_prefix('[').and_then(|line| line.split_once(']')) {
        Some((attributes, rest)) => (attributes, rest.trim_start()),
        None => ("", line),
    };
    let mut size = 0;
    let mut parsed = Line {
        name: rest,
        kind: Kind::File(Vec::new()),
        mode: None,
        uid: 0,
        gid: 0,
        mtime: 0,
    };
    for word in attributes.split_whitespace() {
        let number = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("`{word}` in `{line}` is not a number"))
        };
        match word.split_once('=') {
            None => parsed.mode = Some(u32::from_str_radix(word, 8).expect("an octal mode")),
            Some(("uid", value)) => parsed.uid = number(value),
            Some(("gid", value)) => parsed.gid = number(value),
            Some(("mtime", value)) => parsed.mtime = number(value),
            Some(("size", value)) => size = number(value),
            Some(_) => panic!("unknown attribute `{word}` in `{line}`"),
        }
    }
    if let Some((name, text)) = rest.split_once(" = ") {
        (parsed.name, parsed.kind) = (name, Kind::File(unescape(text)));
    } else if let Some((name, target)) = rest.split_once(" -> ") {
        (parsed.name, parsed.kind) = (name, Kind::Symlink(target));
    } else if let Some((name, target)) = rest.split_once(" => ") {
        (parsed.name, parsed.kind) = (name, Kind::Hardlink(target));
    } else if rest.ends_with('/') {
        parsed.kind = Kind::Directory;
    } else if size > 0 {
        parsed.kind = Kind::File(noise(size as usize));
    }
    parsed
}

fn append(builder: &mut Builder<Vec<u8>>, line: &Line<'_>) {
    let mut header = Header::new_gnu();
    header.set_uid(line.uid);
    header.set_gid(line.gid);
    header.set_mtime(line.mtime);
    let (kind, mode, content): (_, _, &[u8]) = match &line.kind {
        Kind::Directory => (EntryType::Directory, 0o755, &[]),
        Kind::File(content) => (EntryType::Regular, 0o644, content),
        Kind::Symlink(_) => (EntryType::Symlink, 0o777, &[]),
        Kind::Hardlink(_) => (EntryType::Link, 0o644, &[]),
    };
    header.set_entry_type(kind);
    header.set_mode(line.mode.unwrap_or(mode));
    header.set_size(content.len() as u64);
    set_text(&mut header.as_old_mut().name, line.name);
    if let Kind::Symlink(target) | Kind::Hardlink(target) = line.kind {
        set_text(&mut header.as_old_mut().linkname, target);
    }
    header.set_cksum();
    builder.append(&header, content).expect("writing to memory");
}

/// Past the tar crate's own checks, which refuse the names some tests need.
fn set_text(field: &mut [u8; 100], text: &str) {
    assert!(
        text.len() < field.len(),
        "`{text}` is too long for the simple tar writer of the test kit"
    );
    field[..text.len()].copy_from_slice(text.as_bytes());
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(other) => other,
                None => b'\\',
            },
        });
    }
    out
}

/// Bytes no compressor likes, the same every time (xorshift).
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next)
        .take(size.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn text_becomes_entries() {
        let tar = tar_of(
            "# c\netc/\n\n[4755 uid=7 gid=8 mtime=9] etc/x = a\\nb = c\nl -> ../t\nh => etc/x\n../up = 1\n[size=1001] big",
        );
        let mut archive = tar::Archive::new(&tar[..]);
        let seen: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let header = entry.header().clone();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let link = header
                    .link_name_bytes()
                    .map(|l| String::from_utf8_lossy(&l).into_owned());
                format!(
                    "{} {:?} {:o} {}:{} {} {:?} {}",
                    String::from_utf8_lossy(&header.path_bytes()),
                    header.entry_type(),
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mtime().unwrap(),
                    link,
                    if content.len() < 10 {
                        String::from_utf8_lossy(&content).into_owned()
                    } else {
                        content.len().to_string()
                    },
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                "etc/ Directory 755 0:0 0 None ",
                "etc/x Regular 4755 7:8 9 None a\nb = c",
                "l Symlink 777 0:0 0 Some(\"../t\") ",
                "h Link 644 0:0 0 Some(\"etc/x\") ",
                "../up Regular 644 0:0 0 None 1",
                "big Regular 644 0:0 0 None 1001",
            ]
        );
    }
}
