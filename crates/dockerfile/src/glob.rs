//! Source wildcards of `COPY` and `ADD` (E6).
use crate::pattern::PatternError;

/// A wildcard path, one pattern per component.
#[derive(Debug, Clone)]
pub struct Glob {
    components: Vec<GlobComponent>,
}

/// One component of a [`Glob`].
#[derive(Debug, Clone)]
pub struct GlobComponent {}

impl Glob {
    /// Compiles `pattern`.
    pub fn new(_pattern: &str) -> Result<Self, PatternError> {
        todo!()
    }
    /// Whether the whole of `path` matches.
    pub fn matches(&self, _path: &[u8]) -> bool {
        todo!()
    }
    /// The patterns, one per path component.
    pub fn components(&self) -> &[GlobComponent] {
        &self.components
    }
}

impl GlobComponent {
    /// The name this component stands for when it has no wildcard, escapes removed.
    pub fn literal(&self) -> Option<&[u8]> {
        todo!()
    }
    /// Whether the file name matches.
    pub fn matches(&self, _name: &[u8]) -> bool {
        todo!()
    }
}
