//! What names an image to build on.

use std::fmt;
use std::path::PathBuf;

use crate::Reference;

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSource {
    /// In a registry.
    Registry(Reference),
    /// In an OCI image layout on this machine: `oci-layout:///path[:name]`.
    Layout {
        /// The layout's directory.
        dir: PathBuf,
        /// The `org.opencontainers.image.ref.name` to take; `None` when the layout has one image.
        name: Option<String>,
    },
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSource::Registry(reference) => write!(f, "{}", reference.familiar()),
            ImageSource::Layout { dir, name } => {
                write!(f, "oci-layout://{}", dir.display())?;
                name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
            }
        }
    }
}
