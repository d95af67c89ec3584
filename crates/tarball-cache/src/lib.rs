//! The local volume of base images, layers and results of build steps.
//!
//! A warmer fills it, executors read it, and any number of both may do so at once; an executor may also fill it as
//! it pulls. Looking an image up costs a few small reads: blobs are verified once, while they are written (H33), and
//! manifests, configs and blobs are what the registry sent, byte for byte (H34).
//!
//! # On disk
//!
//! ```text
//! oci-layout, index.json              the volume is an OCI image layout that other tools can read
//! blobs/sha256/<hex>                  layers, configs and manifests of all images together
//! kiln-v1/images/<hex>.json           an image that is complete, by manifest digest; written last
//! kiln-v1/indexes/<hex>/<os-arch>.json which image an index means for one wanted platform
//! kiln-v1/steps/<key>.json            the result of a build step: {"version":1,"manifest":<descriptor>}; written last
//! kiln-v1/notes/<name>                small derived documents; may be lost at any time
//! kiln-v1/used/<hex>, used/step-<key> empty; its time is when the image or step was last used, if that was noted
//! kiln-v1/locks/<hex>                 locked (flock) by whoever is fetching that manifest or blob
//! kiln-v1/staging/<hex>/              unfinished files of that lock's holder
//! kiln-v1/staging/.kiln-tmp-*         unfinished files of whoever needs no lock
//! kiln-v1/damaged/<name>              what was found broken and moved out of the way
//! sha256:<hex>, sha256:<hex>.json     docker archive and manifest left by kaniko's warmer; read only
//! sha256:<hex>/                       OCI layout of one image left by kaniko's warmer; read only
//! ```
//!
//! Every file appears under its name when it is whole: temporary name, fsync, rename. Two writers of one blob write
//! the same bytes, so the last rename changes nothing. `index.json` is for other tools; Kiln reads only `kiln-v1`,
//! and a change to the files in there that an older Kiln would misread needs a new directory name.
//!
//! A step is a manifest, its config and at most one layer, all three among the blobs; its manifest is not in
//! `index.json`. Keys are 64 lower-case hexadecimal digits, names of notes are `[a-z0-9-]{1,100}`.
//!
//! The modification time of a blob is when it was stored or last counted on by a writer.
//!
//! ```
//! use kiln_oci::{Descriptor, Digest, Family, ImageConfig, Manifest, MediaType, Platform};
//! use kiln_tarball_cache::{Access, Begun, ImageCache, NewImage};
//!
//! # let dir = tempfile::tempdir()?;
//! # let config = ImageConfig::default().to_bytes();
//! # let layer = Descriptor::of(MediaType::OciLayer, b"layer");
//! # let manifest = Manifest::new(Family::Oci, Descriptor::of(MediaType::OciConfig, &config), vec![layer.clone()]);
//! # let manifest_bytes = manifest.to_bytes();
//! let cache = ImageCache::open(dir.path(), Access::ReadWrite)?;
//! let digest = Digest::of(&manifest_bytes);
//! if let Begun::Locked(writer) = cache.begin(&digest)? {
//!     if writer.needs_blob(&layer) {
//!         writer.put_blob_from(&b"layer"[..], &layer)?;
//!     }
//!     writer.commit(&NewImage::new(&manifest_bytes, MediaType::OciManifest, &config))?;
//! }
//! let image = cache.lookup(&digest, &Platform::host())?;
//! assert!(image.blob_path(&layer.digest()).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blob;
mod cache;
mod claim;
mod damaged;
mod entry;
mod error;
mod image;
mod kaniko;
mod lock;
mod miss;
mod note;
mod notice;
mod prune;
mod step;
mod survey;
mod used;
mod volume;
mod writer;

/// The crate whose digests, descriptors and documents go in and come out here.
pub use kiln_oci as oci;

pub use cache::{Access, ImageCache, Listed};
pub use claim::{BlobClaim, Claim};
pub use error::CacheError;
pub use image::{CachedImage, Origin};
pub use kiln_notice::Listener;
pub use miss::Miss;
pub use notice::VolumeNotice;
pub use prune::{PruneLimits, PruneReason, Pruned, PrunedEntry};
pub use step::{CachedStep, NewStep};
pub use survey::{ImageUse, Survey};
pub use writer::{Begun, CacheWriter, NewImage};
