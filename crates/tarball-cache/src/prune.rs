//! Taking out of a volume what nobody uses, while warmers and executors go on.
//!
//! Entries go first, then the blobs that no entry refers to any more. What is safe about it:
//!
//! - An entry that was stored or used within the grace time stays, and so does one whose lock somebody holds.
//! - A blob that was stored, or counted on by a writer, within the grace time stays, and so does one that is as young as
//!   the oldest writer still at work: its image may need it. A writer renews the time of a
//!   blob before it relies on it and looks again afterwards; a prune moves the blob aside, looks at its time again, and
//!   puts it back if that changed. So either the writer sees that it is gone, or the prune sees that it is needed.
//! - What is open can be read to its end. A reader that looked an entry up and opens its blobs much later, on a volume
//!   where it could not note the use, may find them gone; it pulls them, as it does with damaged ones.
//! - What is listed in `index.json` by somebody else is kept with all it refers to, and kaniko's files are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_oci::{Descriptor, Digest, Index, Layout, LayoutError, Manifest, REF_NAME, atomic};

use crate::entry::Alias;
use crate::error::failed;
use crate::kaniko::digest_of_name;
use crate::lock::EntryLock;
use crate::survey::{BlobFile, Item, Subject};
use crate::volume::names;
use crate::writer::BEGAN;
use crate::{CacheError, ImageCache};

/// Indexes inside indexes beyond this depth are not followed, as in lookups.
const MAX_DEPTH: u32 = 4;

/// What a prune may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneLimits {
    /// Bytes that blobs and notes may have together; what was used longest ago goes first.
    pub max_size: Option<u64>,
    /// How long ago the last use may be.
    pub max_age: Option<Duration>,
    /// What was stored or used within this time stays, whatever the limits say.
    pub grace: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

impl Default for PruneLimits {
    /// No limits: what nothing refers to goes, with a grace time of an hour.
    fn default() -> Self {
        Self {
            max_size: None,
            max_age: None,
            grace: Duration::from_hours(1),
            dry_run: false,
        }
    }
}

/// What a prune did, or would do.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The entries that went, the one used longest ago first.
    pub entries: Vec<PrunedEntry>,
    /// How many blobs went with them or were needed by none.
    pub blobs: u64,
    /// Bytes of these blobs and of the notes.
    pub freed: u64,
    /// How many unfinished, damaged and otherwise useless files went besides.
    pub leftovers: u64,
    /// Bytes of the blobs and notes that stay.
    pub kept: u64,
}

/// An entry that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedEntry {
    /// `image sha256:...`, `step ...` or `note ...`.
    pub name: String,
    /// The name the image was stored under.
    pub reference: Option<String>,
    /// When it was last used.
    pub last_used: SystemTime,
    /// Why it went.
    pub reason: PruneReason,
}

/// Why an entry went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PruneReason {
    /// It cannot be used.
    Broken,
    /// Its last use was too long ago.
    Age,
    /// The volume was too large.
    Size,
}

impl ImageCache {
    /// Takes out what is beyond the limits and what nothing refers to.
    pub fn prune(&self, limits: &PruneLimits) -> Result<Pruned, CacheError> {
        if !limits.dry_run {
            self.writable()?;
        }
        let now = SystemTime::now();
        let deadline = now
            .checked_sub(limits.grace)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut plan = Plan {
            items: self.items()?,
            blobs: self.blob_files()?,
            deadline,
        };
        plan.items
            .sort_by(|a, b| (a.last_used, &a.subject).cmp(&(b.last_used, &b.subject)));
        let mut ours: BTreeSet<Subject> = plan.subjects().collect();
        let pinned = self.pinned(&ours)?;
        let mut chosen = plan.by_age(limits.max_age, now);
        if let Some(max_size) = limits.max_size {
            plan.by_size(max_size, &pinned, &mut chosen);
        }
        let mut pruned = Pruned::default();
        let mut kept = Vec::new();
        for item in plan.items {
            let reason = chosen.get(&item.subject);
            match reason {
                Some(reason) if limits.dry_run || self.remove(&item, deadline)? => {
                    pruned.freed += item.size;
                    pruned.entries.push(PrunedEntry::new(&item, *reason));
                }
                _ => kept.push(item),
            }
        }
        if !limits.dry_run {
            // What was stored meanwhile counts as well.
            kept = self.items()?;
            ours.extend(kept.iter().map(|item| item.subject.clone()));
        }
        let mut needed = self.pinned(&ours)?;
        needed.extend(kept.iter().flat_map(|item| item.blobs.keys().copied()));
        pruned.kept = kept.iter().map(|item| item.size).sum();
        let since = self.oldest_writer().map_or(deadline, |at| deadline.min(at));
        self.sweep_blobs(&needed, since, limits.dry_run, &mut pruned)?;
        self.sweep_leftovers(&kept, deadline, limits.dry_run, &mut pruned)?;
        Ok(pruned)
    }

    /// The blobs of what others list in `index.json`, tags of a layer cache among them.
    fn pinned(&self, ours: &BTreeSet<Subject>) -> Result<BTreeSet<Digest>, CacheError> {
        let unusable = |source| CacheError::Layout {
            dir: self.dir().to_owned(),
            source,
        };
        let layout = match Layout::open(self.dir()) {
            Ok(layout) => layout,
            Err(LayoutError::NotALayout { .. }) => return Ok(BTreeSet::new()),
            Err(source) => return Err(unusable(source)),
        };
        let mut pinned = BTreeSet::new();
        for listed in layout.index().map_err(unusable)?.manifests() {
            let is_ours = listed.annotation(REF_NAME).is_none()
                && ours.contains(&Subject::Image(listed.digest()));
            if !is_ours {
                follow(&layout, listed, MAX_DEPTH, &mut pinned);
            }
        }
        Ok(pinned)
    }

    /// Removes an entry, unless somebody is at it or has just used it; says whether it is gone.
    fn remove(&self, item: &Item, deadline: SystemTime) -> Result<bool, CacheError> {
        let locks = self.volume().locks();
        let lock = match &item.subject {
            Subject::Image(digest) => match EntryLock::take(self.held(), &locks, digest, false)? {
                Some(lock) => Some(lock),
                None => return Ok(false),
            },
            Subject::Step(_) | Subject::Note(_) => None,
        };
        match self.item(item.subject.clone())? {
            None => return Ok(true),
            Some(again) if again.last_used > deadline || again.stored_at != item.stored_at => {
                return Ok(false);
            }
            Some(_) => {}
        }
        let path = match &item.subject {
            Subject::Image(digest) => {
                // First, or a prune that is killed here leaves a listed image that nothing would ever remove.
                let layout = self.writable()?;
                layout
                    .remove_unnamed(digest)
                    .map_err(|source| CacheError::Layout {
                        dir: self.dir().to_owned(),
                        source,
                    })?;
                self.volume().image(digest)
            }
            Subject::Step(key) => self.volume().step(key),
            Subject::Note(name) => self.volume().note(name),
        };
        remove_any(&path).map_err(failed("remove", &path))?;
        if let Some(lock) = lock.filter(EntryLock::is_exclusive) {
            lock.remove(&locks)?;
        }
        Ok(true)
    }

    /// When the oldest of the writers at work began: what was stored since then may be part of its image.
    fn oldest_writer(&self) -> Option<SystemTime> {
        let staging = self.volume().all_staging();
        let names = names(&staging).ok()?;
        let began = names.iter().filter_map(|name| {
            let digest = Digest::from_hex(name).ok()?;
            let began = fs::metadata(staging.join(name).join(BEGAN)).ok()?;
            let lock = EntryLock::take(self.held(), &self.volume().locks(), &digest, false);
            // Free, so nobody is at work there any more.
            if matches!(lock, Ok(Some(_))) {
                return None;
            }
            began.modified().ok()
        });
        began.min()
    }

    fn sweep_blobs(
        &self,
        needed: &BTreeSet<Digest>,
        deadline: SystemTime,
        dry_run: bool,
        pruned: &mut Pruned,
    ) -> Result<(), CacheError> {
        for (digest, file) in self.blob_files()? {
            let stays = needed.contains(&digest) || file.touched > deadline;
            if stays || !(dry_run || self.remove_blob(&digest, deadline)?) {
                pruned.kept += file.size;
                continue;
            }
            pruned.blobs += 1;
            pruned.freed += file.size;
        }
        Ok(())
    }

    /// Takes a blob away, unless a writer counts on it by now.
    fn remove_blob(&self, digest: &Digest, deadline: SystemTime) -> Result<bool, CacheError> {
        let path = self.volume().blobs().join(digest.hex());
        let name = format!("{}prune-{}", atomic::TEMPORARY_PREFIX, digest.hex());
        let aside = self.volume().all_staging().join(name);
        let take = || -> io::Result<bool> {
            fs::rename(&path, &aside)?;
            if fs::metadata(&aside)?.modified()? > deadline {
                // Over whatever was put there meanwhile: it is the same blob.
                fs::rename(&aside, &path)?;
                return Ok(false);
            }
            fs::remove_file(&aside)?;
            Ok(true)
        };
        match take() {
            // Another prune was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            other => other.map_err(failed("remove", &path)),
        }
    }

    /// Whatever else is old and of no use: damaged files, unfinished ones, aliases, marks and locks of what is gone.
    fn sweep_leftovers(
        &self,
        kept: &[Item],
        deadline: SystemTime,
        dry_run: bool,
        pruned: &mut Pruned,
    ) -> Result<(), CacheError> {
        let volume = self.volume();
        let subjects: BTreeSet<&Subject> = kept.iter().map(|item| &item.subject).collect();
        let has_image = |digest| subjects.contains(&Subject::Image(digest));
        let is_temporary = |name: &str| name.starts_with(atomic::TEMPORARY_PREFIX);
        let is_stray_mark = |name: &str| match name.strip_prefix("step-") {
            Some(key) => !subjects.contains(&Subject::Step(key.to_owned())),
            None => Digest::from_hex(name)
                .is_ok_and(|digest| !has_image(digest) && !self.has_foreign(&digest)),
        };
        let places: [(_, Test<'_>); 4] = [
            (volume.damaged(), &|_| true),
            (volume.all_staging(), &is_temporary),
            (volume.dir.clone(), &is_temporary),
            (volume.all_used(), &is_stray_mark),
        ];
        for (dir, is_useless) in places {
            for name in self.names(&dir)?.iter().filter(|name| is_useless(name)) {
                pruned.leftovers += sweep(&dir.join(name), deadline, dry_run)?;
            }
        }
        for index in self.names(&volume.indexes())? {
            let dir = volume.indexes().join(index);
            for name in self.names(&dir)? {
                let path = dir.join(name);
                if Alias::target(&path).is_none_or(|manifest| !has_image(manifest)) {
                    pruned.leftovers += sweep(&path, deadline, dry_run)?;
                }
            }
            if !dry_run {
                // Only when it is empty.
                let _ = fs::remove_dir(&dir);
            }
        }
        if !dry_run {
            pruned.leftovers += self.remove_leftovers()? as u64;
            self.remove_locks(deadline)?;
        }
        Ok(())
    }

    fn has_foreign(&self, digest: &Digest) -> bool {
        let names = [digest.to_string(), digest.hex()];
        names
            .iter()
            .any(|name| digest_of_name(name).is_some() && self.dir().join(name).exists())
    }

    /// Lock files that nobody holds and that were made long ago.
    fn remove_locks(&self, deadline: SystemTime) -> Result<(), CacheError> {
        let locks = self.volume().locks();
        for name in self.names(&locks)? {
            let Ok(digest) = Digest::from_hex(&name) else {
                continue;
            };
            if !is_old(&locks.join(&name), deadline) {
                continue;
            }
            let lock = EntryLock::take(self.held(), &locks, &digest, false)?;
            if let Some(lock) = lock.filter(EntryLock::is_exclusive) {
                lock.remove(&locks)?;
            }
        }
        Ok(())
    }
}

/// Whether a file of this name is of no use.
type Test<'a> = &'a dyn Fn(&str) -> bool;

/// What there is, and from when on it is left alone.
struct Plan {
    items: Vec<Item>,
    blobs: BTreeMap<Digest, BlobFile>,
    deadline: SystemTime,
}

type Chosen = BTreeMap<Subject, PruneReason>;

impl Plan {
    fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.items.iter().map(|item| item.subject.clone())
    }

    fn by_age(&self, max_age: Option<Duration>, now: SystemTime) -> Chosen {
        let oldest = max_age.and_then(|age| now.checked_sub(age));
        let mut chosen = Chosen::new();
        for item in self.items.iter().filter(|item| self.may_go(item)) {
            if item.problem.is_some() {
                chosen.insert(item.subject.clone(), PruneReason::Broken);
            } else if oldest.is_some_and(|oldest| item.last_used < oldest) {
                chosen.insert(item.subject.clone(), PruneReason::Age);
            }
        }
        chosen
    }

    /// Chooses further entries, the one used longest ago first, until what stays fits.
    fn by_size(&self, max_size: u64, pinned: &BTreeSet<Digest>, chosen: &mut Chosen) {
        let mut owners: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut total = 0;
        for item in &self.items {
            if !chosen.contains_key(&item.subject) {
                total += item.size;
                for digest in item.blobs.keys() {
                    *owners.entry(*digest).or_default() += 1;
                }
            }
        }
        let stays = |digest: &Digest, file: &BlobFile| {
            pinned.contains(digest) || file.touched > self.deadline
        };
        total += self
            .blobs
            .iter()
            .filter(|(digest, file)| owners.contains_key(digest) || stays(digest, file))
            .map(|(_, file)| file.size)
            .sum::<u64>();
        for item in self.items.iter().filter(|item| self.may_go(item)) {
            if total <= max_size {
                return;
            }
            if chosen.contains_key(&item.subject) {
                continue;
            }
            chosen.insert(item.subject.clone(), PruneReason::Size);
            total -= item.size;
            for digest in item.blobs.keys() {
                let left = owners.entry(*digest).or_default();
                *left -= 1;
                if *left == 0
                    && let Some(file) = self.blobs.get(digest)
                    && !stays(digest, file)
                {
                    total -= file.size;
                }
            }
        }
    }

    fn may_go(&self, item: &Item) -> bool {
        item.last_used <= self.deadline
    }
}

impl PrunedEntry {
    fn new(item: &Item, reason: PruneReason) -> Self {
        Self {
            name: match &item.subject {
                Subject::Image(digest) => format!("image {digest}"),
                Subject::Step(key) => format!("step {key}"),
                Subject::Note(name) => format!("note {name}"),
            },
            reference: item.reference.clone(),
            last_used: item.last_used,
            reason,
        }
    }
}

/// Adds a listed manifest and all it refers to. What cannot be read is somebody else's trouble.
fn follow(layout: &Layout, listed: &Descriptor, depth: u32, pinned: &mut BTreeSet<Digest>) {
    pinned.insert(listed.digest());
    let Ok(bytes) = layout.read_blob(&listed.digest()) else {
        return;
    };
    if let Ok(manifest) = Manifest::parse(&bytes) {
        let blobs = manifest.layers().iter().chain([manifest.config()]);
        pinned.extend(blobs.map(Descriptor::digest));
    } else if let (Ok(index), true) = (Index::parse(&bytes), depth > 0) {
        for entry in index.manifests() {
            follow(layout, entry, depth - 1, pinned);
        }
    }
}

/// Removes an old file or directory; gives how many.
fn sweep(path: &Path, deadline: SystemTime, dry_run: bool) -> Result<u64, CacheError> {
    if !is_old(path, deadline) {
        return Ok(0);
    }
    if !dry_run {
        remove_any(path).map_err(failed("remove", path))?;
    }
    Ok(1)
}

fn is_old(path: &Path, deadline: SystemTime) -> bool {
    fs::symlink_metadata(path)
        .and_then(|found| found.modified())
        .is_ok_and(|time| time <= deadline)
}

/// A file may be broken in that it is a directory. One that is gone already is fine.
fn remove_any(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
