//! The files of a stage or image as a directory, for as long as mounts show it.

use std::path::{Path, PathBuf};

use kiln_sandbox::OverlayMount;

use super::StageRoot;

/// A directory with the files of a stage or image; the mount goes when this does.
#[derive(Debug)]
pub struct Exposed {
    path: PathBuf,
    _mount: Option<OverlayMount>,
    _root: Option<StageRoot>,
}

impl Exposed {
    pub(super) fn new(
        path: PathBuf,
        mount: Option<OverlayMount>,
        root: Option<StageRoot>,
    ) -> Exposed {
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
