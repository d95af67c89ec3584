//! What changed in a root filesystem while a step ran, as the entries of a layer.
//!
//! In go directories, out comes a [`ChangeSet`], which a [`LayerWriter`](kiln_layer::LayerWriter) turns into a layer:
//!
//! - [`overlay_changes`] reads the upper directory of an overlay mount: the kernel noted the changes already.
//! - [`Scan`] compares two looks at a plain directory, `/` of a container included, by metadata alone where that is
//!   safe.
//!
//! Both give the same entries for the same change, but for hard links into lower layers (conformance: G7). [`Filter`]
//! says what is no part of the image; [`mount_points_below`] finds what is mounted in a root.
//!
//! ```
//! use kiln_layer::{Compression, LayerWriter, WriterOptions};
//! use kiln_snapshot::{Filter, Scan};
//!
//! let root = tempfile::tempdir()?;
//! let mut scan = Scan::take(root.path(), &Filter::default(), 0)?;
//! std::fs::write(root.path().join("made"), "by the step")?;
//!
//! let changes = scan.diff(root.path())?;
//! assert_eq!(changes.entries().len(), 1);
//! let mut writer = LayerWriter::new(Vec::new(), Compression::default(), WriterOptions::default());
//! changes.write(&mut writer)?;
//! let (info, layer) = writer.finish()?;
//! # assert_eq!(info.size, layer.len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod error;
mod filter;
mod jobs;
mod mounts;
mod overlay;
mod scan;
mod settle;
mod stat;
mod tree;
mod write;
mod xattr;

/// The crate whose entries are in a [`ChangeSet`], and whose writer packs them.
pub use kiln_layer as layer;

pub use change::ChangeSet;
pub use error::SnapshotError;
pub use filter::Filter;
pub use mounts::mount_points_below;
pub use overlay::overlay_changes;
pub use scan::{Contents, Scan};
