//! The volume as a whole: opening it, finding images, listing them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_notice::Listener;
use kiln_oci::{Descriptor, Digest, Layout, Platform, atomic};

use crate::blob::Blobs;
use crate::claim::{BlobClaim, Claim};
use crate::damaged::{make_way, set_aside};
use crate::entry::{Alias, Entry};
use crate::error::failed;
use crate::image::Origin;
use crate::lock::{EntryLock, Held};
use crate::notice::VolumeNotice;
use crate::volume::{Volume, json, names};
use crate::{CacheError, CachedImage, Miss, kaniko};

/// What the volume may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Nothing is ever written; the directory need not exist (H39).
    ReadOnly,
    /// The directory is made when missing, and must be writable.
    ReadWrite,
    /// Like `ReadWrite` if that is possible, else like `ReadOnly`.
    WriteIfPossible,
}

/// A volume of images. Clones share the locks of one process.
#[derive(Debug, Clone)]
pub struct ImageCache {
    volume: Volume,
    /// The volume as a layout; `None` when open for reading only.
    layout: Option<Layout>,
    held: Arc<Held>,
}

/// One image of [`ImageCache::list`].
#[derive(Debug)]
pub struct Listed {
    /// The manifest digest it is stored under.
    pub digest: Digest,
    /// The image, or why it cannot be used.
    pub image: Result<CachedImage, Miss>,
}

impl ImageCache {
    /// Opens the volume at `dir`; fails only when it must be writable and is not.
    pub fn open(dir: &Path, access: Access) -> Result<Self, CacheError> {
        let mut cache = Self {
            volume: Volume {
                dir: dir.to_owned(),
                notices: Listener::default(),
            },
            layout: None,
            held: Arc::default(),
        };
        match access {
            Access::ReadOnly => {}
            Access::ReadWrite => cache.layout = Some(cache.prepare()?),
            Access::WriteIfPossible => match cache.prepare() {
                Ok(layout) => cache.layout = Some(layout),
                Err(error) => {
                    tracing::debug!(dir = %dir.display(), %error, "image cache is used for reading only");
                }
            },
        }
        Ok(cache)
    }

    /// Tells `notices` what is noticed from now on. For a volume that nobody uses yet: clones made before have other
    /// locks.
    #[must_use]
    pub fn telling(mut self, notices: Listener<VolumeNotice>) -> Self {
        self.held = Arc::new(Held::telling(notices.clone()));
        self.volume.notices = notices;
        self
    }

    fn prepare(&self) -> Result<Layout, CacheError> {
        let volume = &self.volume;
        let layout = Layout::create(&volume.dir).map_err(|source| CacheError::Layout {
            dir: volume.dir.clone(),
            source,
        })?;
        let staging = volume.all_staging();
        for dir in [
            volume.own(),
            volume.images(),
            volume.indexes(),
            volume.steps(),
            volume.notes(),
            volume.all_used(),
            volume.locks(),
            staging.clone(),
            volume.damaged(),
        ] {
            atomic::create_dir(&dir).map_err(failed("create", &dir))?;
        }
        // A full set of directories may still be on a read-only mount.
        atomic::Staged::new(&staging).map_err(failed("create a file in", &staging))?;
        Ok(layout)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.volume.dir
    }

    /// Whether [`ImageCache::begin`] can work.
    pub fn is_writable(&self) -> bool {
        self.layout.is_some()
    }

    /// Finds an image by the digest of its manifest, or of its index together with the platform wanted from it (H35,
    /// H37).
    ///
    /// Any reason not to serve it is a [`Miss`]; nothing is written or moved. For a manifest digest the platform does
    /// not matter: the digest decides, and whether the image fits is for the caller to say (C15).
    pub fn lookup(&self, digest: &Digest, wanted: &Platform) -> Result<CachedImage, Miss> {
        match self.lookup_own(digest, wanted) {
            Ok(image) => Ok(image),
            // What kaniko left is second best, and why it fails is only of interest when there is nothing else.
            Err(own) => kaniko::lookup(&self.volume.dir, digest, wanted).map_err(|theirs| {
                if own.is_absent() && !matches!(theirs, Miss::Absent { .. }) {
                    theirs
                } else {
                    own
                }
            }),
        }
    }

    fn lookup_own(&self, digest: &Digest, wanted: &Platform) -> Result<CachedImage, Miss> {
        match self.lookup_manifest(digest) {
            Err(Miss::Absent { .. }) => {}
            found => return found,
        }
        let manifest = Alias::resolve(&self.volume, digest, wanted)?;
        match self.lookup_manifest(&manifest) {
            // The one asked for is the index.
            Err(Miss::Absent { .. }) => Err(Miss::Absent { digest: *digest }),
            found => found,
        }
    }

    pub(crate) fn lookup_manifest(&self, manifest: &Digest) -> Result<CachedImage, Miss> {
        let (entry, stored_at) = Entry::read(&self.volume, manifest)?;
        let image =
            CachedImage::from_blobs(self.volume.blobs(), Origin::Volume, *manifest, stored_at)?;
        Ok(CachedImage {
            media_type: entry.manifest.media_type(),
            reference: entry.reference,
            ..image
        })
    }

    /// The file of a blob of any image stored by Kiln.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.volume.blobs().join(digest.hex());
        path.is_file().then_some(path)
    }

    /// Asks for the right to fetch a blob, which other processes may need just now as well; does not wait for it. Where
    /// locks do not work everybody has it.
    pub fn claim_blob(&self, blob: &Descriptor) -> Result<BlobClaim, CacheError> {
        self.writable()?;
        self.claim_unless(blob, || self.loose_blobs().vouch(blob))
    }

    /// Takes in a blob that no image here refers to yet; see [`adopt_blob`](crate::CacheWriter::adopt_blob). Until one
    /// does it is kept for as long as a prune lets young blobs be.
    pub fn adopt_blob(&self, path: &Path, blob: &Descriptor) -> Result<(), CacheError> {
        self.writable()?;
        let blobs = self.loose_blobs();
        if blobs.vouch(blob) {
            return Ok(());
        }
        blobs.adopt(path, blob)
    }

    /// The right to fetch a blob, unless somebody has it or the blob `is_there`.
    pub(crate) fn claim_unless(
        &self,
        blob: &Descriptor,
        is_there: impl Fn() -> bool,
    ) -> Result<BlobClaim, CacheError> {
        if is_there() {
            return Ok(BlobClaim::Present);
        }
        let locks = self.volume.locks();
        let Some(lock) = EntryLock::take(&self.held, &locks, &blob.digest(), false)? else {
            return Ok(BlobClaim::Busy);
        };
        // Whoever had the lock may have stored it.
        if is_there() {
            return Ok(BlobClaim::Present);
        }
        Ok(BlobClaim::Claimed(Claim::new(lock)))
    }

    /// Blobs that are stored by themselves, not for an image under its lock.
    pub(crate) fn loose_blobs(&self) -> Blobs<'_> {
        Blobs {
            volume: &self.volume,
            staging: self.volume.all_staging(),
        }
    }

    /// Asks for the right to find out what a digest that a registry gave stands for, manifest or index; `None` when
    /// someone else is at it. Whoever waits for it need not ask the registry for what will be here by then.
    pub fn claim(&self, asked: &Digest) -> Result<Option<Claim>, CacheError> {
        self.writable()?;
        // A lock of its own: the manifest's is taken later, by whoever holds this one.
        let name = Digest::of(format!("look up {asked}").as_bytes());
        let lock = EntryLock::take(&self.held, &self.volume.locks(), &name, false)?;
        Ok(lock.map(Claim::new))
    }

    /// Records which image an index means for a wanted platform; [`commit`](crate::CacheWriter::commit) does so itself
    /// for a new one.
    pub fn add_alias(
        &self,
        index: &Digest,
        wanted: &Platform,
        manifest: &Digest,
    ) -> Result<(), CacheError> {
        self.writable()?;
        let dir = self.volume.index(index);
        let path = Alias::path(&self.volume, index, wanted);
        let alias = json(&Alias::new(wanted, *manifest));
        let mut tries = 3;
        loop {
            atomic::create_dir(&dir).map_err(failed("create", &dir))?;
            make_way(&self.volume, &path, None)?;
            tries -= 1;
            match atomic::replace(&self.volume.all_staging(), &path, &alias) {
                // A prune found the directory empty and removed it.
                Err(error) if error.kind() == ErrorKind::NotFound && tries > 0 => {}
                other => return other.map_err(failed("create", &path)),
            }
        }
    }

    /// Takes a blob out of the volume whose content turned out wrong when it was read in full; images that need it
    /// are a miss from now on. Without effect when open for reading only.
    pub fn set_aside_blob(&self, digest: &Digest) -> Result<(), CacheError> {
        if !self.is_writable() {
            return Ok(());
        }
        set_aside(&self.volume, &self.volume.blobs().join(digest.hex()))
    }

    /// Every image in the volume, by manifest digest, kaniko's included; broken ones too, with the reason.
    pub fn list(&self) -> Result<Vec<Listed>, Miss> {
        let mut digests = BTreeSet::new();
        for name in names(&self.volume.images())? {
            digests.extend(
                name.strip_suffix(".json")
                    .and_then(|hex| Digest::from_hex(hex).ok()),
            );
        }
        for name in names(&self.volume.dir)? {
            digests.extend(kaniko::digest_of_name(&name));
        }
        let listed = digests.into_iter().map(|digest| Listed {
            digest,
            image: self.lookup(&digest, &Platform::host()),
        });
        Ok(listed.collect())
    }

    /// Deletes unfinished files of writers that died, and returns how many entries they were for.
    pub fn remove_leftovers(&self) -> Result<usize, CacheError> {
        self.writable()?;
        let staging = self.volume.all_staging();
        let mut count = 0;
        for entry in fs::read_dir(&staging).map_err(failed("read", &staging))? {
            let path = entry.map_err(failed("read", &staging))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let Ok(digest) = Digest::from_hex(name) else {
                continue;
            };
            let lock = EntryLock::take(&self.held, &self.volume.locks(), &digest, false)?;
            if lock.is_some_and(|lock| lock.is_exclusive()) {
                match fs::remove_dir_all(&path) {
                    Ok(()) => count += 1,
                    // Its writer was just done.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed("remove", &path)(error)),
                }
            }
        }
        Ok(count)
    }

    pub(crate) fn writable(&self) -> Result<&Layout, CacheError> {
        self.layout.as_ref().ok_or_else(|| CacheError::ReadOnly {
            dir: self.volume.dir.clone(),
        })
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }
}
