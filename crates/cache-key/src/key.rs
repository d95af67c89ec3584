//! The key of a step.
//!
//! # Format, version 1
//!
//! A key is the SHA-256 of these bytes. Numbers are 8 bytes, the lowest first; *framed* bytes come after their number;
//! domains end with a zero byte.
//!
//! ```text
//! key     "kiln.cache.key.v1" 00
//!         00, or 01 and the 32 bytes of the key of the step before
//!         number of parts, then the parts in the byte order of their names
//! part    framed name, then one of
//!         't' text
//!         'd' 32 bytes of the digest
//!         'l' number of texts, each framed
//!         'm' number of entries, then in the byte order of the names: framed name, text
//!         'f' 32 bytes of the digest of all files
//! text    'p' framed bytes, or 'h' 32 bytes: the SHA-256 of a text that is not kept; a hidden text is as any other,
//!         or 'x' and its mark where only that is left: no result is stored under such a key
//! files   SHA-256 of "kiln.cache.files.v1" 00, number of files, then the files in the byte order of their paths
//! file    framed path, mode, user id, group id, then one of
//!         '-' size, 32 bytes of the digest of the content
//!         'd'
//!         'l' framed target
//!         'h' framed path of the file it is a further name of
//!         'c' or 'b' major number, minor number
//!         'p'
//!         and number of extended attributes, then in the byte order of their names: framed name, framed value
//! ```
//!
//! Everything says where it ends, so different parts are different bytes (conformance: H1, H15), and nothing depends
//! on the order in which parts, variables or files were found (conformance: H17).
//!
//! Any change of these bytes, or of what a caller puts into the parts, gives every step a new key: all that is cached
//! anywhere is built once more, and old entries stay until they are pruned. It is never wrong, only expensive. A change
//! that keeps the bytes but gives them another meaning is wrong, because old results are then taken for new ones:
//! it needs another version in the domain.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::frame::Frames;
use crate::{Parts, Text, Value};

const DOMAIN: &str = "kiln.cache.key.v1";

/// The name under which the result of a step is cached, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

/// A text that is not a cache key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{value}` is not a cache key: expected 64 lower-case hex digits")]
pub struct CacheKeyError {
    /// The text as given.
    pub value: String,
}

impl CacheKey {
    /// The key of a step with these parts after the step with the key `parent`.
    pub(crate) fn of(parts: &Parts, parent: Option<Self>) -> Self {
        let mut frames = Frames::new(DOMAIN);
        match parent {
            None => frames.tag(0),
            Some(parent) => {
                frames.tag(1);
                frames.fixed(&parent.0);
            }
        }
        frames.count(parts.len());
        for (name, value) in parts.iter() {
            frames.bytes(name.as_bytes());
            add_value(&mut frames, value);
        }
        Self(frames.finish())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn add_value(frames: &mut Frames, value: &Value) {
    match value {
        Value::Text(text) => {
            frames.tag(b't');
            add_text(frames, text);
        }
        Value::Digest(digest) => {
            frames.tag(b'd');
            frames.fixed(digest.as_bytes());
        }
        Value::List(texts) => {
            frames.tag(b'l');
            frames.count(texts.len());
            for text in texts {
                frames.bytes(text.as_bytes());
            }
        }
        Value::Map(entries) => {
            frames.tag(b'm');
            frames.count(entries.len());
            for (name, text) in entries {
                frames.bytes(name.as_bytes());
                add_text(frames, text);
            }
        }
        Value::Files(files) => {
            frames.tag(b'f');
            frames.fixed(files.digest().as_bytes());
        }
    }
}

fn add_text(frames: &mut Frames, text: &Text) {
    match text {
        Text::Plain(text) => {
            frames.tag(b'p');
            frames.bytes(text.as_bytes());
        }
        Text::Hashed(digest) => {
            frames.tag(b'h');
            frames.fixed(digest.as_bytes());
        }
        Text::Hidden(hidden) => match hidden.text() {
            Some(text) => add_text(frames, text),
            None => {
                frames.tag(b'x');
                frames.count(usize::from(hidden.number()));
            }
        },
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    /// Capital digits are refused: a key names a tag and a file, and has one spelling there.
    fn from_str(text: &str) -> Result<Self, CacheKeyError> {
        let mut bytes = [0; 32];
        let capital = text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !capital => Ok(Self(bytes)),
            _ => Err(CacheKeyError {
                value: text.to_owned(),
            }),
        }
    }
}

impl Serialize for CacheKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CacheKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses() {
        let key = Parts::new().key(None);
        assert_eq!(key.to_string().len(), 64);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(
            format!("{key:?} {key:.12}"),
            format!("{key} {:.12}", key.to_string())
        );
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<CacheKey>(&json).unwrap(), key);
    }

    #[test]
    fn refuses_other_texts() {
        let rows = [
            String::new(),
            "ab".repeat(31),
            "ab".repeat(33),
            "AB".repeat(32),
            "xy".repeat(32),
            format!("sha256:{}", "ab".repeat(32)),
        ];
        assert!(!rows.is_empty());
        for text in rows {
            let message = text.parse::<CacheKey>().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("`{text}` is not")),
                "{message}"
            );
            assert!(serde_json::from_value::<CacheKey>(text.into()).is_err());
        }
    }
}
