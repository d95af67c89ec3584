//! The files of a stage or image as a directory, for as long as mounts show it.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use kiln_sandbox::OverlayMount;

/// A directory with the files of a stage or image; the mount goes when this does.
#[derive(Debug)]
pub struct Exposed {
    path: PathBuf,
    _mount: Option<OverlayMount>,
    /// What the directory is part of.
    _root: Option<Root>,
}

/// A root, which is only there to live as long as this.
type Root = Box<dyn Debug + Send + Sync>;

impl Exposed {
    pub(super) fn new(path: PathBuf, mount: Option<OverlayMount>, root: Option<Root>) -> Exposed {
        Exposed {
            path,
            _mount: mount,
            _root: root,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
