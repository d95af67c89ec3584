//! Whose rules an archive is read by.

/// Whose rules an archive follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAs {
    /// An image layer: `.wh.` names are whiteouts, and a name or hard link with a `..` component is an error.
    #[default]
    Layer,
    /// A user's archive (ADD, tar contexts): `.wh.` names are plain files and `..` stops at the root
    /// (conformance: E41, J11).
    Archive,
}
