//! Layers: tar streams in and out.
//!
//! Out: [`LayerWriter`] turns [`Entry`]s and the content of files into a packed layer in one pass with bounded
//! memory; the bytes depend only on the entries and the compression, so equal input gives equal digests.
//! In: [`LayerReader`] understands every packing and tar dialect found in images; [`extract`] unpacks it below a
//! [`Root`], which no path can leave; [`extract_contents`] hands out single files without a file system;
//! [`read_listing`] keeps the headers only. [`TreeIndex`] merges the headers of all layers of an image into the tree
//! a process would see, which is enough for everything except running one.
//!
//! ```
//! use kiln_layer::{Compression, Entry, LayerReader, LayerWriter, TreeIndex, WriterOptions, read_listing};
//!
//! let mut writer = LayerWriter::new(Vec::new(), Compression::default(), WriterOptions::default());
//! writer.append(&Entry::directory("etc"), None)?;
//! writer.append(&Entry::file("etc/motd", 5), Some(&mut &b"hello"[..]))?;
//! let (info, bytes) = writer.finish()?;
//!
//! let (entries, diff_id) = read_listing(LayerReader::new(&bytes[..]))?;
//! assert_eq!(diff_id, info.diff_id);
//!
//! let mut tree = TreeIndex::new();
//! tree.apply_layer(0, entries)?;
//! assert!(tree.get(&"etc/motd".into()).is_some());
//! # Ok::<(), kiln_layer::LayerError>(())
//! ```

mod attributes;
mod block;
mod compression;
mod decode;
mod deflate;
mod entry;
mod error;
mod extract;
mod frame;
mod header;
mod holes;
mod incompressible;
mod interpret;
mod layer_info;
mod limits;
mod listing;
mod owners;
mod path;
mod pax;
mod pipeline;
mod read_as;
mod reader;
mod root;
mod skipped;
mod source;
mod sparse;
mod stage;
mod tree;
mod writer;
mod xattrs;

/// The crate whose digests, diff-ids and media types are in this interface.
pub use kiln_oci as oci;

pub use compression::{Compression, DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL};
pub use entry::{Entry, EntryKind};
pub use error::LayerError;
pub use extract::{
    ExtractOptions, ExtractReport, Extraction, ImpliedParent, OpaqueXattr, Whiteouts, extract,
};
pub use holes::append_with_holes;
pub use layer_info::LayerInfo;
pub use limits::{
    ArchiveLimits, MAX_DECODER_MEMORY, MAX_ENTRIES, MAX_EXTENSIONS, MAX_FILE, MAX_GLOBALS,
    MAX_HOLES, MAX_TEXT, MAX_XATTR, ZSTD_WINDOW_LOG,
};
pub use listing::{LONGEST_LISTING, LONGEST_LISTING_TEXT, Listing, extract_contents, read_listing};
pub use owners::Owners;
pub use path::ImagePath;
pub use read_as::ReadAs;
pub use reader::{EntryReader, LayerReader, is_tar_header};
pub use root::{DirEntry, FileType, NewDirectory, Parent, ResolvedPath, Root, Stat};
pub use skipped::{SkipReason, Skipped};
pub use tree::{LinkGroup, Node, NodeKind, Resolved, TreeError, TreeIndex};
pub use writer::{LayerWriter, WriterOptions};
pub use xattrs::Xattrs;
