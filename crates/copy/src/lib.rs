//! COPY and ADD: from sources in a file view to the entries of one layer.
//!
//! Nothing here touches a filesystem of the image: the destination is looked up in the stage's tree
//! index, and the result is a sorted list of entries with the place their content comes from. Packing
//! the list is another step (`pack` of `kiln-store`).

mod items;
pub mod node;
mod one_source;
mod place;
mod source;
mod unpack;

use std::sync::Arc;

use kiln_context::{FileView, ViewError};
use kiln_dockerfile::{Chmod, PatternSet};
use kiln_layer::{ImagePath, LayerError, TreeError, TreeIndex};

pub use items::{Content, Item, Items};
pub use place::SETGID;

use kiln_work::spool::{Piece, Spool};
use place::Placer;

/// One source of a COPY or ADD, its words expanded.
#[derive(Debug, Clone)]
pub enum CopySource {
    /// A path or wildcard in the view.
    Path(Vec<u8>),
    /// A heredoc: a file of this name and text (conformance E49).
    Inline {
        /// Name of the file when the destination is a directory.
        name: Vec<u8>,
        /// Its content.
        content: Vec<u8>,
    },
    /// A file fetched from elsewhere (conformance E43).
    Fetched {
        /// Name of the file when the destination is a directory.
        name: Vec<u8>,
        /// Its content.
        content: Piece,
        /// Length of the content in bytes.
        size: u64,
        /// Modification time in seconds since the epoch.
        mtime: i64,
    },
}

/// A COPY or ADD with everything that its result depends on.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// What the path sources are looked up in.
    pub view: &'a Arc<dyn FileView>,
    /// The sources in the order they are written.
    pub sources: &'a [CopySource],
    /// The destination as written, expanded.
    pub destination: &'a [u8],
    /// The stage's working directory.
    pub workdir: &'a [u8],
    /// `--chown`, resolved to ids.
    pub owner: Option<(u32, u32)>,
    /// Keep the source's uid and gid: from stages and images, not from the context (E22).
    pub keep_owner: bool,
    /// `--chmod`.
    pub chmod: Option<&'a Chmod>,
    /// `--exclude`.
    pub excludes: &'a PatternSet,
    /// `--parents`.
    pub parents: bool,
    /// Unpack local archives: ADD without `--unpack=false` (E37).
    pub unpack_local: bool,
    /// Unpack fetched archives: `ADD --unpack=true` (E43).
    pub unpack_fetched: bool,
    /// Time of directories that the copy has to make up, in seconds since the epoch.
    pub now: i64,
    /// Where content without a file of its own is kept until it is packed.
    pub spool: &'a Spool,
}

/// Why a COPY or ADD cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A source is missing, excluded or unreadable.
    #[error("cannot read the source")]
    Source(#[from] ViewError),
    /// A source is, or lies behind, a symlink to nothing in the view (conformance E8, E11).
    #[error(
        "\"/{path}\": not found: `/{link}` is a symlink to `{target}`, which is not in the context (or `--from`)"
    )]
    Dangling {
        /// The source.
        path: String,
        /// The symlink.
        link: String,
        /// Where it points to.
        target: String,
    },
    /// A directory meets something else (conformance E16, E17).
    #[error("cannot copy to non-directory: /{path}")]
    NotADirectory {
        /// Path in the image.
        path: String,
    },
    /// A destination written as a directory is a file (conformance E16).
    #[error("/{path}: not a directory")]
    DestinationIsFile {
        /// Path in the image.
        path: String,
    },
    /// A file meets a directory of its name (conformance E16).
    #[error("cannot replace to directory /{path} with file")]
    ReplaceDirectory {
        /// Path in the image.
        path: String,
    },
    /// The destination's path cannot be resolved in the image.
    #[error("cannot resolve `{path}` in the image")]
    Destination {
        /// The destination as written.
        path: String,
        /// Why not.
        #[source]
        source: TreeError,
    },
    /// An archive that ADD should unpack is damaged or dangerous.
    #[error("cannot unpack `{archive}`")]
    Archive {
        /// The archive's name in the view.
        archive: String,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// An archive whose packing asks for very much memory.
    #[error("cannot unpack `{name}`")]
    Unpack {
        /// The archive.
        name: String,
        /// How much.
        #[source]
        source: std::io::Error,
    },
    /// The work folder refuses.
    #[error("cannot keep `{name}` in the work folder")]
    Spool {
        /// What was to be kept.
        name: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What a COPY or ADD comes to.
#[derive(Debug)]
pub struct Planned {
    /// The entries of the layer.
    pub items: Items,
    /// Several sources go to a destination that is neither written as a directory nor is one (conformance E14).
    pub cramped: bool,
}

/// Looks whether the sources of a COPY or ADD are there.
pub fn look(request: &CopyRequest<'_>) -> Result<(), CopyError> {
    source::find(request).map(drop)
}

/// Works out the layer of one COPY or ADD on top of `tree`. Each source is copied on top of those before it.
pub fn plan(request: &CopyRequest<'_>, tree: &TreeIndex) -> Result<Planned, CopyError> {
    let mut placer = Placer::new(request, tree);
    let sources = source::find(request)?;
    let several = sources.len() > 1 || request.sources.len() > 1;
    let cramped = several && !placer.has_room_for_several()?;
    for found in &sources {
        let into = placer.destination(found)?;
        placer.place(found, &into)?;
    }
    Ok(Planned {
        items: placer.finish(),
        cramped,
    })
}

/// A path in the image as messages show it.
fn shown(path: &ImagePath) -> String {
    path.to_string()
}
