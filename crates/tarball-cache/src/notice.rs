//! What is noticed of a volume and is no error.

use std::fmt;
use std::path::PathBuf;

/// Something that whoever uses the volume should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeNotice {
    /// The filesystem has no locks: two writers may fetch the same.
    NoLocks {
        /// The file that was to be locked.
        path: PathBuf,
    },
    /// A damaged file was moved out of the way. Whoever found the damage has said what it means.
    SetAside {
        /// Where it was.
        from: PathBuf,
        /// Where it is now.
        to: PathBuf,
    },
}

impl fmt::Display for VolumeNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeNotice::NoLocks { path } => write!(
                f,
                "the image cache is on a filesystem without locks: `{}`",
                path.display()
            ),
            VolumeNotice::SetAside { from, to } => write!(
                f,
                "set aside a damaged file of the image cache: `{}` is now `{}`",
                from.display(),
                to.display()
            ),
        }
    }
}
