//! What a finished build says, and how a failure reads.

use std::error::Error;
use std::fmt::Write as _;

use kiln_oci::{Digest, ImageConfig, Reference};
use kiln_shown::for_people;

/// A finished build.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BuildReport {
    /// Digest of the image's manifest.
    pub digest: Digest,
    /// The image's configuration.
    pub config: ImageConfig,
    /// Where it was pushed.
    pub pushed: Vec<Reference>,
    /// Sum of the layers' blobs in bytes.
    pub size: u64,
}

/// An error with its causes in one line, each said once, as people may see it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = for_people(&error.to_string()).into_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = for_people(&inner.to_string()).into_owned();
        if !text.ends_with(&more) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {more}");
        }
        cause = inner.source();
    }
    text
}

/// `1 layer`, `2 layers`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
