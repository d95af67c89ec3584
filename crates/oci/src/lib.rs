//! References, digests, media types, manifests, configs, OCI layouts and docker archives.
//!
//! In go texts, JSON documents and files; out come types that cannot be wrong in the ways that matter to a builder:
//! a [`Digest`] is not a [`DiffId`], a [`Reference`] always names one image, and a config that was read can be
//! written again without losing a field. There is no network here and no knowledge of what is inside a layer.
//!
//! Documents are those of [`oci_spec`], which a program may hand in (`try_from`) and take out (`as_ref`, `into`): a
//! [`Descriptor`], [`Manifest`], [`Index`] or [`ImageConfig`] has one inside, and a [`Digest`], [`MediaType`] or
//! [`Platform`] becomes one. `examples/compose.rs` puts an image together that way.
//!
//! ```
//! use kiln_oci::{ImageConfig, Reference};
//!
//! let reference = Reference::parse("busybox")?;
//! assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
//!
//! let config = ImageConfig::parse(br#"{"os":"linux","config":null,"x-vendor":1}"#)?;
//! let mut draft = config.draft();
//! draft.config.env_set("PATH", "/bin");
//! assert_eq!(
//!     String::from_utf8(draft.to_bytes())?,
//!     r#"{"architecture":"","config":{"Env":["PATH=/bin"]},"os":"linux","rootfs":{"type":"layers","diff_ids":[]},"x-vendor":1}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
pub mod atomic;
mod config;
mod descriptor;
mod digest;
mod document;
mod image_source;
mod index;
mod layout;
mod lenient;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod regular_file;
mod small_file;
mod verify;

/// The types of OCI documents that other programs use as well.
pub use oci_spec;

pub use archive::{
    ArchiveError, ArchiveImage, ArchiveLayer, DockerArchive, MAX_CONFIGS, read_docker_archive,
    write_docker_archive,
};
pub use config::{ConfigDraft, ContainerConfig, HealthConfig, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{DiffId, Digest, DigestError};
pub use document::{DocumentError, MAX_DOCUMENT, MAX_JSON_VALUES, MAX_LAYERS, json_values};
pub use image_source::ImageSource;
pub use index::{Index, NoMatch};
pub use layout::{Layout, LayoutError, MAX_CANDIDATES, REF_NAME};
pub use manifest::Manifest;
pub use media_type::{Family, LayerCompression, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository};
pub use regular_file::{open_file, open_file_to_write};
pub use small_file::{NotSmall, SmallFile};
pub use verify::{DigestReader, Mismatch, VerifyingReader};
