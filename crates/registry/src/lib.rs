//! The OCI distribution protocol as a client: pull and push manifests and blobs.
//!
//! In go a [`Reference`](kiln_oci::Reference) or a [`Repository`](kiln_oci::Repository) and the
//! [`RegistrySettings`] of one run; out come verified bytes. Every digest and size is checked, bodies
//! stream through bounded buffers, and everything that can be tried again is tried again. Nothing here
//! knows what a build is.
//!
//! ```no_run
//! use kiln_oci::{Platform, Reference};
//! use kiln_registry::{Client, RegistrySettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(RegistrySettings::default())?;
//! let reference: Reference = "localhost:5000/team/app:1".parse()?;
//! let image = client.image(&reference, &Platform::host()).await?;
//! for layer in image.manifest.layers() {
//!     let to = std::path::Path::new("/tmp/blobs").join(layer.digest().hex());
//!     client.blob_to_file(&image.from, layer, &to, &|_bytes| ()).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Not here: the credential helpers of cloud providers (google, ecr, acr) are not built in; their
//! programs work through `credHelpers` and `credsStore`.

mod ask;
mod auth;
mod blob_source;
mod client;
mod error;
mod fetched;
mod growing_file;
mod inflight;
mod manifest;
mod notice;
mod pace;
mod progress;
mod pull;
mod push;
mod pushed;
mod request;
mod retry;
mod settings;
mod settings_error;
mod sources;
mod transport;
mod upload;

/// The crate whose references, descriptors and documents go in and come out here.
pub use kiln_oci as oci;

pub use auth::{AuthConfig, CredentialHelper, DockerConfig, DockerConfigError};
pub use blob_source::BlobSource;
pub use client::Client;
pub use error::{Cause, RegistryError, Try};
pub use fetched::Fetched;
pub use growing_file::{GrowingFile, Growth};
pub use kiln_notice::Listener;
pub use manifest::RemoteImage;
pub use notice::RegistryNotice;
pub use pace::{Floor, Pace, Slow, TRANSFER_FLOOR, TRANSFER_WINDOW};
pub use progress::Progress;
pub use push::UnnamedBlob;
pub use pushed::Pushed;
pub use retry::{Waits, retry_after};
pub use settings::{
    CONNECT_TIMEOUT, RESUME_PROGRESS, RETRY_AFTER_LIMIT, RegistrySettings, Retries,
};
pub use settings_error::SettingsError;
pub use transport::{http_client_builder, tls_config};
