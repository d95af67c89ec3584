//! What is left out where a layer is unpacked, and why.

use crate::ImagePath;

/// Something of the layer that is not in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The entry.
    pub path: ImagePath,
    /// Why.
    pub reason: SkipReason,
}

/// Why something of the layer is not in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// [`ExtractOptions::protected`](crate::ExtractOptions::protected) holds the path or something below it.
    Protected,
    /// A mount in the root is in the way (conformance: G38).
    Mounted,
    /// A device node that was not wanted or not allowed (conformance: G40).
    Device,
    /// An extended attribute the file system or the kernel refused (conformance: G34). Reported once per name, with
    /// the first path, except that every lost `security.capability` is reported.
    Xattr {
        /// Name of the attribute.
        name: String,
        /// The kernel's reason.
        error: String,
    },
}
