//! Owners of files that are made.

/// Whether owners are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// Every file gets the entry's user and group.
    #[default]
    Keep,
    /// Files belong to whoever unpacks, for processes without privilege.
    Ignore,
}
