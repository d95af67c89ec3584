//! What is in the volume, what it refers to, and when it was last used.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use kiln_oci::{Digest, Platform};

use crate::error::CacheError;
use crate::image::Origin;
use crate::used::step_mark;
use crate::volume::names;
use crate::{CachedImage, ImageCache, Miss};

/// All that is in a volume, for people.
#[derive(Debug)]
pub struct Survey {
    /// The images, the one used last first.
    pub images: Vec<ImageUse>,
    /// How many results of build steps there are.
    pub steps: usize,
    /// Bytes of all blobs, each once.
    pub size: u64,
}

/// An image of a volume, for people.
#[derive(Debug)]
pub struct ImageUse {
    /// The manifest digest.
    pub digest: Digest,
    /// The name it was stored under.
    pub reference: Option<String>,
    /// What it is for.
    pub platform: Option<Platform>,
    /// Bytes of its layers, config and manifest, each once.
    pub size: u64,
    /// How many of these bytes belong to another image or step as well.
    pub shared: u64,
    /// When it was stored.
    pub stored_at: SystemTime,
    /// When it was last used; when it was stored, if no use was noted.
    pub last_used: SystemTime,
    /// Who stored it; `None` when it cannot be used.
    pub origin: Option<Origin>,
    /// Why it cannot be used.
    pub problem: Option<Miss>,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Image(Digest),
    Step(String),
    Note(String),
}

/// Anything that a prune may remove.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) subject: Subject,
    pub(crate) reference: Option<String>,
    pub(crate) stored_at: SystemTime,
    pub(crate) last_used: SystemTime,
    /// The blobs it needs; of a broken one those that are known.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    /// Bytes besides the blobs that are worth counting.
    pub(crate) size: u64,
    pub(crate) problem: Option<Miss>,
    image: Option<Box<CachedImage>>,
}

impl ImageCache {
    /// What is in the volume: Kiln's images and kaniko's, with sizes and times.
    pub fn survey(&self) -> Result<Survey, CacheError> {
        let items = self.items()?;
        let mut owners: BTreeMap<Digest, usize> = BTreeMap::new();
        for digest in items.iter().flat_map(|item| item.blobs.keys()) {
            *owners.entry(*digest).or_default() += 1;
        }
        let is_shared = |digest: &Digest| owners.get(digest).is_some_and(|owners| *owners > 1);
        let mut images: Vec<ImageUse> = Vec::new();
        let mut steps = 0;
        for item in items {
            match item.subject {
                Subject::Image(digest) => images.push(ImageUse {
                    digest,
                    shared: sum(item.blobs.iter().filter(|(digest, _)| is_shared(digest))),
                    size: sum(&item.blobs),
                    platform: item.image.as_ref().map(|image| image.platform()),
                    origin: item.image.as_ref().map(|image| image.origin()),
                    reference: item.reference,
                    stored_at: item.stored_at,
                    last_used: item.last_used,
                    problem: item.problem,
                }),
                Subject::Step(_) => steps += 1,
                Subject::Note(_) => {}
            }
        }
        images.extend(self.kanikos()?);
        images.sort_by_key(|image| (std::cmp::Reverse(image.last_used), image.digest));
        let size = self.blob_files()?.values().map(|blob| blob.size).sum();
        Ok(Survey {
            images,
            steps,
            size,
        })
    }

    /// What kaniko's warmer left; every image has files of its own.
    fn kanikos(&self) -> Result<Vec<ImageUse>, CacheError> {
        let listed = self.list().map_err(|miss| self.unlisted(miss))?;
        let theirs = listed.into_iter().filter_map(|listed| {
            let image = listed.image.ok()?;
            if image.origin() == Origin::Volume {
                return None;
            }
            Some(ImageUse {
                digest: listed.digest,
                size: sum(&blobs_of(&image)),
                shared: 0,
                platform: Some(image.platform()),
                origin: Some(image.origin()),
                stored_at: image.stored_at,
                last_used: image.stored_at.max(self.marked(&listed.digest.hex())),
                reference: image.reference,
                problem: None,
            })
        });
        Ok(theirs.collect())
    }

    /// Kiln's images, steps and notes, broken ones too.
    pub(crate) fn items(&self) -> Result<Vec<Item>, CacheError> {
        let mut items = Vec::new();
        for name in self.names(&self.volume().images())? {
            let hex = name.strip_suffix(".json").unwrap_or_default();
            if let Ok(digest) = Digest::from_hex(hex) {
                items.extend(self.item(Subject::Image(digest))?);
            }
        }
        for name in self.names(&self.volume().steps())? {
            if let Some(key) = name.strip_suffix(".json") {
                items.extend(self.item(Subject::Step(key.to_owned()))?);
            }
        }
        for name in self.names(&self.volume().notes())? {
            items.extend(self.item(Subject::Note(name))?);
        }
        Ok(items)
    }

    /// One of them; `None` when it is gone.
    pub(crate) fn item(&self, subject: Subject) -> Result<Option<Item>, CacheError> {
        let volume = self.volume();
        let (path, mark) = match &subject {
            Subject::Image(digest) => (volume.image(digest), digest.hex()),
            Subject::Step(key) => (volume.step(key), step_mark(key)),
            Subject::Note(name) => (volume.note(name), String::new()),
        };
        let Ok(found) = fs::symlink_metadata(&path) else {
            return Ok(None);
        };
        let stored_at = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let mut item = Item {
            stored_at,
            last_used: stored_at,
            reference: None,
            blobs: BTreeMap::new(),
            size: 0,
            problem: None,
            image: None,
            subject,
        };
        if mark.is_empty() {
            item.size = found.len();
            return Ok(Some(item));
        }
        item.last_used = stored_at.max(self.marked(&mark));
        match self.fill(&mut item) {
            // Nobody knows what it refers to, and it may be in order.
            Err(miss @ Miss::Unreadable { .. }) => return Err(self.unlisted(miss)),
            Err(miss) if miss.is_absent() => return Ok(None),
            Err(miss) => item.problem = Some(miss),
            Ok(()) => {}
        }
        Ok(Some(item))
    }

    fn fill(&self, item: &mut Item) -> Result<(), Miss> {
        match &item.subject {
            Subject::Image(digest) => {
                let image = self.lookup_manifest(digest)?;
                item.blobs = blobs_of(&image);
                item.reference.clone_from(&image.reference);
                item.image = Some(Box::new(image));
            }
            Subject::Step(key) => {
                let step = self.step(key)?;
                let manifest = &step.manifest;
                item.blobs
                    .insert(step.manifest_digest, step.manifest_bytes.len() as u64);
                for blob in manifest.layers().iter().chain([manifest.config()]) {
                    item.blobs.insert(blob.digest(), blob.size());
                }
            }
            Subject::Note(_) => {}
        }
        Ok(())
    }

    /// When a use was last noted under this name; long ago if never.
    fn marked(&self, name: &str) -> SystemTime {
        fs::metadata(self.volume().used(name))
            .and_then(|mark| mark.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The blobs that are files, by digest.
    pub(crate) fn blob_files(&self) -> Result<BTreeMap<Digest, BlobFile>, CacheError> {
        let dir = self.volume().blobs();
        let mut files = BTreeMap::new();
        for name in self.names(&dir)? {
            let Ok(digest) = Digest::from_hex(&name) else {
                continue;
            };
            // Gone since the directory was read.
            let Ok(found) = fs::symlink_metadata(dir.join(&name)) else {
                continue;
            };
            if found.is_file() {
                let touched = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let size = found.len();
                files.insert(digest, BlobFile { size, touched });
            }
        }
        Ok(files)
    }

    pub(crate) fn names(&self, dir: &Path) -> Result<Vec<String>, CacheError> {
        names(dir).map_err(|miss| self.unlisted(miss))
    }

    fn unlisted(&self, miss: Miss) -> CacheError {
        CacheError::Unlisted {
            dir: self.dir().to_owned(),
            source: Box::new(miss),
        }
    }
}

/// A blob on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlobFile {
    pub(crate) size: u64,
    /// When it was stored or last counted on by a writer.
    pub(crate) touched: SystemTime,
}

fn blobs_of(image: &CachedImage) -> BTreeMap<Digest, u64> {
    let manifest = &image.manifest;
    let named = manifest.layers().iter().chain([manifest.config()]);
    let mut blobs: BTreeMap<Digest, u64> = named.map(|blob| (blob.digest(), blob.size())).collect();
    blobs.insert(image.manifest_digest, image.manifest_bytes.len() as u64);
    blobs
}

fn sum<'a>(blobs: impl IntoIterator<Item = (&'a Digest, &'a u64)>) -> u64 {
    blobs.into_iter().map(|(_, size)| size).sum()
}
