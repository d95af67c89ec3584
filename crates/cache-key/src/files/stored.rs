//! How files are stored: one short array each.
//!
//! ```json
//! ["-0644","src/main.rs",12,"<64 hex digits>"]
//! ["-4755 0:5","bin/ping",9,"<64 hex digits>",{"security.capability":"%01%00%00%02"}]
//! ["d0755","src"]   ["l0777","a","b"]   ["h0644","c","bin/ping"]   ["c0600","null",1,3]   ["p0644","pipe"]
//! ```
//!
//! First the letter of the kind and the octal mode, with user and group id unless both are 0; then the path; then size
//! and digest of the content, or the target, or the numbers of the device; last the extended attributes if there are
//! any. Paths, targets, names and values are escaped as described in `escape.rs`. A set is an array of files, or
//! `{"count":60000,"digest":"sha256:..."}` without them.

use std::collections::BTreeMap;
use std::fmt;

use kiln_oci::Digest;
use serde::de::{
    DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FileId, FileKind, FileSet, Xattrs};
use crate::escape::{escape, unescape};

impl Serialize for FileSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(files) = &self.files {
            return serializer.collect_seq(files);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("digest", &self.digest)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for FileSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Set;
        impl<'de> Visitor<'de> for Set {
            type Value = FileSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of files, or their count and digest")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FileSet, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = seq.next_element()? {
                    files.push(file);
                }
                Ok(FileSet::new(files))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileSet, A::Error> {
                let (mut count, mut digest) = (None, None);
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "count" => count = Some(map.next_value()?),
                        "digest" => digest = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(FileSet {
                    digest: digest.ok_or_else(|| A::Error::missing_field("digest"))?,
                    count: count.ok_or_else(|| A::Error::missing_field("count"))?,
                    files: None,
                })
            }
        }
        deserializer.deserialize_any(Set)
    }
}

impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let particular = match self.kind {
            FileKind::Directory | FileKind::Fifo => 0,
            FileKind::Symlink { .. } | FileKind::Hardlink { .. } => 1,
            _ => 2,
        };
        let length = 2 + particular + usize::from(!self.xattrs.is_empty());
        let mut seq = serializer.serialize_seq(Some(length))?;
        seq.serialize_element(&self.head())?;
        seq.serialize_element(&escape(&self.path))?;
        match &self.kind {
            FileKind::File { size, content } => {
                seq.serialize_element(size)?;
                seq.serialize_element(&content.hex())?;
            }
            FileKind::Symlink { target } | FileKind::Hardlink { target } => {
                seq.serialize_element(&escape(target))?;
            }
            FileKind::CharDevice { major, minor } | FileKind::BlockDevice { major, minor } => {
                seq.serialize_element(major)?;
                seq.serialize_element(minor)?;
            }
            FileKind::Directory | FileKind::Fifo => {}
        }
        if !self.xattrs.is_empty() {
            let escaped = |(name, value): (&'_ Vec<u8>, &'_ Vec<u8>)| {
                (escape(name).into_owned(), escape(value).into_owned())
            };
            let xattrs: BTreeMap<String, String> = self.xattrs.iter().map(escaped).collect();
            seq.serialize_element(&xattrs)?;
        }
        seq.end()
    }
}

impl FileId {
    fn head(&self) -> String {
        let letter = char::from(self.kind.letter());
        let mode = self.mode;
        if (self.uid, self.gid) == (0, 0) {
            format!("{letter}{mode:04o}")
        } else {
            format!("{letter}{mode:04o} {}:{}", self.uid, self.gid)
        }
    }
}

/// Letter, mode, user and group id of a head.
fn read_head(head: &str) -> Option<(char, u32, u32, u32)> {
    let mut rest = head.chars();
    let letter = rest.next()?;
    let rest = rest.as_str();
    let (mode, owner) = rest.split_once(' ').unwrap_or((rest, "0:0"));
    let (uid, gid) = owner.split_once(':')?;
    Some((
        letter,
        u32::from_str_radix(mode, 8).ok()?,
        uid.parse().ok()?,
        gid.parse().ok()?,
    ))
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct File;
        impl<'de> Visitor<'de> for File {
            type Value = FileId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that describes a file")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FileId, A::Error> {
                let head: String = next(&mut seq)?;
                let wrong = || {
                    A::Error::invalid_value(
                        Unexpected::Str(&head),
                        &"the letter of a kind, an octal mode, and maybe an owner",
                    )
                };
                let (letter, mode, uid, gid) = read_head(&head).ok_or_else(wrong)?;
                let path = bytes(&next::<String, A>(&mut seq)?)?;
                let kind = match letter {
                    '-' => FileKind::File {
                        size: next(&mut seq)?,
                        content: Digest::from_hex(&next::<String, A>(&mut seq)?)
                            .map_err(A::Error::custom)?,
                    },
                    'd' => FileKind::Directory,
                    'l' => FileKind::Symlink {
                        target: bytes(&next::<String, A>(&mut seq)?)?,
                    },
                    'h' => FileKind::Hardlink {
                        target: bytes(&next::<String, A>(&mut seq)?)?,
                    },
                    'c' => FileKind::CharDevice {
                        major: next(&mut seq)?,
                        minor: next(&mut seq)?,
                    },
                    'b' => FileKind::BlockDevice {
                        major: next(&mut seq)?,
                        minor: next(&mut seq)?,
                    },
                    'p' => FileKind::Fifo,
                    _ => return Err(wrong()),
                };
                let mut xattrs = Xattrs::new();
                let stored = seq.next_element::<BTreeMap<String, String>>()?;
                for (name, value) in stored.unwrap_or_default() {
                    xattrs.insert(bytes(&name)?, bytes(&value)?);
                }
                if seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("a file has too many values"));
                }
                Ok(FileId {
                    path,
                    kind,
                    mode,
                    uid,
                    gid,
                    xattrs,
                })
            }
        }
        deserializer.deserialize_seq(File)
    }
}

fn next<'de, T: DeserializeOwned, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?
        .ok_or_else(|| A::Error::custom("a file has too few values"))
}

fn bytes<E: serde::de::Error>(text: &str) -> Result<Vec<u8>, E> {
    unescape(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &"text with `%` escapes"))
}
