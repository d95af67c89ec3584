//! The build context, and anything else COPY reads from, as one read-only file view.
//!
//! In goes a directory (and, through [`FileView`], whatever another crate puts behind it); out come
//! entries with their attributes, directory listings and file contents. `.dockerignore` is applied
//! here and nowhere else, source paths are resolved here as if chrooted, and the archives that ADD
//! unpacks are recognised here.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("keep"), "1")?;
//! std::fs::write(dir.path().join("drop"), "2")?;
//! std::fs::write(dir.path().join(".dockerignore"), "drop\n")?;
//! let context = kiln_context::Context::open(dir.path(), None, None)?;
//! let view = context.view()?;
//! assert!(kiln_context::resolve(&view, b"keep", true)?.is_some());
//! assert!(kiln_context::resolve(&view, b"drop", true)?.is_none());
//! # Ok(())
//! # }
//! ```

mod archive;
mod directory;
mod error;
mod glob;
mod graft;
mod newest;
mod notice;
mod small;
mod view;

pub use archive::{ArchiveCompression, open_tar};
pub use directory::{Context, DirectoryView};
pub use error::{ContextError, ViewError};
pub use glob::{has_wildcard, matches};
pub use graft::Grafted;
pub use kiln_notice::Listener;
pub use newest::newest;
pub use notice::ContextNotice;
pub use small::{DOCKERFILE, IGNORE_FILE, read_text};
pub use view::{FileView, LinkId, Stamp, ViewEntry, clean, resolve};
