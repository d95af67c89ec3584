//! Where a finished image goes: a list of outputs, each a file of its own here (conformance I30-I38).

mod archive;
mod files;
mod layout;
mod registries;

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use kiln_oci::{Digest, LayoutError};
use kiln_shown::SecretUrl;
use kiln_store::parcel::{Parcel, ParcelError};

pub use archive::Archive;
pub use files::DigestsWritten;
pub use layout::LayoutFolder;
pub use registries::{PushError, Registries, trust_hint};

/// One way for an image to leave. A new kind is a file beside this one, and a line where the list is made.
pub trait Output: Debug + Send + Sync {
    /// Finds out before anything is built whether the image may go there. What cannot be known early is no error.
    fn check(&self) -> BoxFuture<'_, Result<(), OutputError>> {
        Box::pin(async { Ok(()) })
    }

    /// Hands the parcel out. After an error nothing half-written has a name that was asked for.
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<(), OutputError>>;
}

/// Why an image cannot go where it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The image cannot be pushed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive `{path}`")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<kiln_oci::ArchiveError>,
    },
    /// What is sent is not one image, which is all that a docker archive can hold.
    #[error("cannot write the archive `{path}`: {what}")]
    NotForArchive {
        /// The file.
        path: PathBuf,
        /// What is sent.
        what: String,
    },
    /// The layout cannot be written.
    #[error("cannot write the OCI layout `{path}`")]
    Layout {
        /// The layout's directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<LayoutError>,
    },
    /// A layer cannot be had.
    #[error(transparent)]
    Blob(#[from] ParcelError),
    /// A digest file's address cannot be used.
    #[error("cannot send the digest to `{url}`")]
    Put {
        /// The address.
        url: SecretUrl,
        /// Why it failed.
        #[source]
        source: reqwest::Error,
    },
    /// The server did not take a digest file.
    #[error("cannot send the digest to `{url}`: the server answered {status}")]
    PutStatus {
        /// The address.
        url: SecretUrl,
        /// The HTTP status.
        status: u16,
    },
}

impl OutputError {
    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            OutputError::Push(error) => error.hint(),
            OutputError::Write { .. }
            | OutputError::Archive { .. }
            | OutputError::NotForArchive { .. }
            | OutputError::Layout { .. }
            | OutputError::Blob(_)
            | OutputError::Put { .. }
            | OutputError::PutStatus { .. } => None,
        }
    }
}

/// Asks every output whether the image may go there, all at once.
pub async fn check_all(outputs: &[Box<dyn Output>]) -> Result<(), OutputError> {
    let checks = outputs.iter().map(|output| output.check());
    futures_util::future::try_join_all(checks).await?;
    Ok(())
}

/// Hands the parcel out to one after the other; the first that fails ends it. The digest is that of the top document.
pub async fn deliver_all(
    outputs: &[Box<dyn Output>],
    parcel: &Parcel,
) -> Result<Digest, OutputError> {
    for output in outputs {
        output.deliver(parcel).await?;
    }
    Ok(parcel.top.digest)
}
