//! What is noticed of a context and is no error.

use std::fmt;

use kiln_layer::ImagePath;

/// Something that a context's view does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextNotice {
    /// A socket is left out (conformance E10).
    Socket(ImagePath),
}

impl fmt::Display for ContextNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextNotice::Socket(path) => {
                write!(f, "`{path}` of the context is a socket and is left out")
            }
        }
    }
}
