//! How parts are written into a key.
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

use crate::frame::Frames;
use crate::{Text, Value};

/// What the bytes of a key begin with.
pub(crate) const DOMAIN: &str = "kiln.cache.key.v1";

/// Adds the content of a part.
pub(crate) fn add_value(frames: &mut Frames, value: &Value) {
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
