//! Cache keys of build steps: named, framed, explainable.
//!
//! In go the [`Parts`] of a step, which is all that its result depends on, and the key of the step before; out comes a
//! [`CacheKey`]. Two steps have the same key only if they have the same parts and the same past (conformance: H1).
//! Parts are kept beside the result they led to, so that [`compare`] can say later why a step has another key now
//! (conformance: H29), and a [`Trail`] of a build says which step of then to compare with. Where results are stored is
//! not known here, and what belongs into the parts of which instruction is the caller's to say.
//!
//! No secret may go in: parts are stored next to the layers, in registries that others read. Build args, which often are
//! secrets all the same, go in as [`Hidden`] texts.
//!
//! ```
//! use kiln_cache_key::{FileId, FileKind, FileSet, Parts, Value, compare, part};
//! use kiln_oci::Digest;
//!
//! let copy = |version, content| {
//!     let main = FileId::file("src/main.rs", 12, Digest::of(content));
//!     Parts::new()
//!         .with(part::INSTRUCTION, "COPY src src")
//!         .with(part::ARGS, Value::variables([("VERSION", version)]))
//!         .with(part::FILES, FileSet::new(vec![FileId::directory("src"), main]))
//! };
//! let (before, now) = (copy("1", "fn main(){} "), copy("2", "fn main() {}"));
//! assert_ne!(before.key(None), now.key(None));
//!
//! // As it comes back from where the result of then is stored.
//! let before: Parts = serde_json::from_str(&serde_json::to_string(&before)?)?;
//! let lines: Vec<String> = compare(&before, &now).iter().map(ToString::to_string).collect();
//! assert_eq!(
//!     lines,
//!     [
//!         "build arg VERSION changed from 1 to 2",
//!         "1 of 1 files changed: src/main.rs",
//!     ]
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod compare;
mod encoding;
mod escape;
mod files;
mod frame;
mod key;
pub mod part;
mod parts;
mod text;
mod trail;
mod value;
mod version;

/// The crate whose digests are in this interface.
pub use kiln_oci as oci;

pub use change::{Attribute, Change, ChangedAttribute, ChangedFile, ChangedFiles, Difference};
pub use compare::compare;
pub use files::{FileId, FileKind, FileSet, Xattrs};
pub use key::{CacheKey, CacheKeyError};
pub use parts::Parts;
pub use text::{Hidden, PLAIN_MAX, Text};
pub use trail::{Trail, TrailStep};
pub use value::Value;
