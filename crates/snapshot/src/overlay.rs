//! What an overlay's upper directory says about a step.
//!
//! The upper directory is the difference already, in the kernel's words: a deleted name is a character device 0:0, a
//! directory made anew hides the old one with an `opaque` attribute, and a file that was only opened for writing is
//! copied up whole though nothing about it changed. Here these become the words of a layer.

mod lower;

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_layer::{Entry, EntryKind, ImagePath};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;

use self::lower::{Found, LowerDir, Lowers};
use crate::change::{Change, ChangeSet, Collector, Role, entry};
use crate::error::{SnapshotError, check_length};
use crate::filter::{Filter, Ignored, join};
use crate::jobs;
use crate::stat::Stat;
use crate::tree::{Names, Tree, is_gone, open_file, read_link};
use crate::xattr::{self, Marks};

/// What the upper directory of an overlay changes, compared with the lower directories (topmost first).
///
/// A lower directory may be the upper directory of an earlier overlay: whiteouts and opaque directories in it count.
/// What was copied up and is equal to what lies below is left out (conformance: G12, G13). `filter` is applied to the
/// paths as they are. Works on the threads of the current rayon pool.
///
/// The overlay must have been mounted without `redirect_dir` and `metacopy`; their traces are an error.
pub fn overlay_changes(
    upper: &Path,
    lowers: &[PathBuf],
    filter: &Filter,
) -> Result<ChangeSet, SnapshotError> {
    let walk = Walk {
        upper: Arc::new(Tree::open(upper)?),
        lowers: Lowers::open(lowers)?,
        ignored: Ignored::new(&filter.ignore, !filter.cross_mounts),
        next: AtomicU32::new(1),
        listings: Mutex::default(),
    };
    if !walk.ignored.everything {
        jobs::run(vec![walk.root_job()], |job, more| walk.visit(job, more))?;
    }
    let tree = Arc::clone(&walk.upper);
    let listings = walk
        .listings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(ChangeSet::assemble(tree, in_order(listings)))
}

struct Walk {
    upper: Arc<Tree>,
    lowers: Lowers,
    ignored: Ignored,
    next: AtomicU32,
    listings: Mutex<Vec<(u32, Listing)>>,
}

/// A directory to visit.
struct Job {
    id: u32,
    path: Vec<u8>,
    /// `None` for the root.
    stat: Option<Stat>,
    /// What the directory looks like in the lowers, if it is a directory there.
    before: Option<Stat>,
    /// The lowers that may hold the directory, topmost first.
    below: Vec<usize>,
    opaque: bool,
}

/// What one directory contributes.
struct Listing {
    own: Option<Entry>,
    changed: bool,
    items: Vec<Item>,
}

enum Item {
    Change(Change),
    Dir { id: u32, path: ImagePath },
}

impl Item {
    fn path(&self) -> &ImagePath {
        match self {
            Self::Change(change) => &change.entry.path,
            Self::Dir { path, .. } => path,
        }
    }
}

/// A directory that is being visited.
struct Here<'a> {
    path: &'a [u8],
    fd: OwnedFd,
    below: Vec<LowerDir>,
    opaque: bool,
}

impl Walk {
    fn root_job(&self) -> Job {
        Job {
            id: 0,
            path: Vec::new(),
            stat: None,
            before: None,
            below: self.lowers.all(),
            opaque: false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the queue hands jobs over")]
    fn visit(&self, job: Job, more: &mut Vec<Job>) -> Result<(), SnapshotError> {
        let fail = |operation, errno| self.upper.error(operation, &job.path, errno);
        let fd = match self.upper.open_dir(&job.path) {
            Ok(fd) => fd,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(fail("open the directory", errno)),
        };
        let (xattrs, marks) = xattr::kept_and_marks(&fd)
            .map_err(|errno| fail("read the extended attributes of", errno))?;
        refuse_redirect(&self.upper, &job.path, &marks)?;
        let names = match Names::read(&fd) {
            Ok(names) => names,
            // It was removed after it was opened.
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(fail("list", errno)),
        };
        let here = Here {
            path: &job.path,
            fd,
            below: self.lowers.open_dirs(&job.path, &job.below)?,
            opaque: job.opaque || marks.opaque,
        };
        let changed = match (&job.stat, &job.before, here.below.first()) {
            (Some(now), Some(before), Some(below)) => {
                !now.same_owner_and_mode(before) || xattrs != below.xattrs
            }
            _ => true,
        };
        let items = self.items(&here, &names, more)?;
        let own = job
            .stat
            .map(|stat| entry(job.path.clone(), EntryKind::Directory, &stat, xattrs));
        let listing = Listing {
            own,
            changed,
            items,
        };
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        listings.push((job.id, listing));
        Ok(())
    }

    fn items(
        &self,
        here: &Here<'_>,
        names: &Names,
        more: &mut Vec<Job>,
    ) -> Result<Vec<Item>, SnapshotError> {
        let ignored = self.ignored.names_in(here.path);
        let is_ignored = |name: &CStr| ignored.is_some_and(|names| names.contains(name.to_bytes()));
        let mut items = Vec::new();
        for name in names.iter().filter(|name| !is_ignored(name)) {
            self.item(here, name, &mut items, more)?;
        }
        if here.opaque && !here.below.is_empty() {
            // One whiteout for each vanished child instead of an opaque marker (conformance: G9).
            for name in self.lowers.names(here.path, &here.below)? {
                if !names.contains(name.to_bytes()) && !is_ignored(&name) {
                    let found = self.lowers.find(here.path, &here.below, &name)?;
                    self.vanish(join(here.path, name.to_bytes()), &found, &mut items)?;
                }
            }
            items.sort_by(|a, b| a.path().cmp(b.path()));
        }
        Ok(items)
    }

    fn item(
        &self,
        here: &Here<'_>,
        name: &CStr,
        items: &mut Vec<Item>,
        more: &mut Vec<Job>,
    ) -> Result<(), SnapshotError> {
        let path = join(here.path, name.to_bytes());
        check_length(&path)?;
        let stat = match Stat::of(&here.fd, name) {
            Ok(stat) => stat,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(self.upper.error("stat", &path, errno)),
        };
        let found = self.lowers.find(here.path, &here.below, name)?;
        match stat.file_type() {
            FileType::Directory => {
                let id = self.next.fetch_add(1, Ordering::Relaxed);
                items.push(Item::Dir {
                    id,
                    path: ImagePath::from_bytes_cleaned(&path),
                });
                more.push(Job {
                    id,
                    path,
                    stat: Some(stat),
                    before: found.directory().copied(),
                    below: found.directories,
                    opaque: here.opaque,
                });
                Ok(())
            }
            // The file that a socket replaced is gone from the image, and the socket cannot be in it.
            FileType::Socket => self.vanish(path, &found, items),
            _ if stat.is_overlay_whiteout() => self.vanish(path, &found, items),
            _ => self.other(here, name, path, &stat, &found, items),
        }
    }

    /// Everything that is no directory.
    fn other(
        &self,
        here: &Here<'_>,
        name: &CStr,
        path: Vec<u8>,
        stat: &Stat,
        found: &Found,
        items: &mut Vec<Item>,
    ) -> Result<(), SnapshotError> {
        let read = match Read::of(&here.fd, name, stat) {
            Ok(read) => read,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(self.upper.error("read", &path, errno)),
        };
        refuse_redirect(&self.upper, &path, &read.marks)?;
        if read.marks.whiteout && stat.size == 0 {
            return self.vanish(path, found, items);
        }
        let equal = self
            .lowers
            .holds_equal(here.path, &here.below, name, found, stat, &read)?;
        let role = if equal { Role::Equal } else { Role::Changed };
        let Some(mut change) = Change::new(path, stat, read.target, role) else {
            return Ok(());
        };
        if equal && change.inode.is_none() {
            return Ok(());
        }
        change.entry.xattrs = read.xattrs;
        items.push(Item::Change(change));
        Ok(())
    }

    /// Records that `path` is gone, if it was there: one whiteout for a whole tree (conformance: G15), except around
    /// ignored paths, which stay (G26).
    fn vanish(
        &self,
        path: Vec<u8>,
        found: &Found,
        items: &mut Vec<Item>,
    ) -> Result<(), SnapshotError> {
        if found.stat.is_none() {
            return Ok(());
        }
        if found.directories.is_empty() || !self.ignored.any_below(&path) {
            items.push(Item::Change(Change::whiteout(path)));
            return Ok(());
        }
        let below = self.lowers.open_dirs(&path, &found.directories)?;
        let ignored = self.ignored.names_in(&path);
        for name in self.lowers.names(&path, &below)? {
            if !ignored.is_some_and(|names| names.contains(name.to_bytes())) {
                let found = self.lowers.find(&path, &below, &name)?;
                self.vanish(join(&path, name.to_bytes()), &found, items)?;
            }
        }
        Ok(())
    }
}

/// What has to be read of a file, beyond its stat, to record or compare it.
struct Read {
    file: Option<std::fs::File>,
    target: Vec<u8>,
    xattrs: xattr::Attributes,
    marks: Marks,
}

impl Read {
    fn of(dir: impl AsFd, name: &CStr, stat: &Stat) -> Result<Self, Errno> {
        let mut read = Self {
            file: None,
            target: Vec::new(),
            xattrs: xattr::Attributes::new(),
            marks: Marks::default(),
        };
        // Only files and directories can have attributes that a layer keeps: the kernel refuses `user.*` on the rest.
        match stat.file_type() {
            FileType::Symlink => read.target = read_link(dir, name)?,
            FileType::RegularFile => {
                let file = open_file(dir, name)?;
                (read.xattrs, read.marks) = xattr::kept_and_marks(&file)?;
                read.file = Some(file);
            }
            _ => {}
        }
        Ok(read)
    }
}

fn refuse_redirect(tree: &Tree, path: &[u8], marks: &Marks) -> Result<(), SnapshotError> {
    match &marks.redirect {
        None => Ok(()),
        Some(attribute) => Err(SnapshotError::Redirected {
            path: tree.host_path(path),
            attribute: attribute.clone(),
        }),
    }
}

/// Walks the listings depth first.
fn in_order(found: Vec<(u32, Listing)>) -> Vec<Change> {
    let size = found
        .iter()
        .map(|(id, _)| *id as usize + 1)
        .max()
        .unwrap_or(0);
    let mut listings: Vec<Option<Listing>> = Vec::new();
    listings.resize_with(size, || None);
    for (id, listing) in found {
        listings[id as usize] = Some(listing);
    }
    let mut collector = Collector::default();
    let mut stack: Vec<std::vec::IntoIter<Item>> = Vec::new();
    let mut enter = Some(0);
    loop {
        // A directory without a listing vanished while it was walked (conformance: G22).
        if let Some(listing) = enter
            .take()
            .and_then(|id: u32| listings.get_mut(id as usize)?.take())
        {
            collector.enter(listing.own, listing.changed);
            stack.push(listing.items.into_iter());
        }
        let Some(items) = stack.last_mut() else { break };
        match items.next() {
            Some(Item::Change(change)) => {
                collector.push(change);
            }
            Some(Item::Dir { id, .. }) => enter = Some(id),
            None => {
                collector.leave();
                stack.pop();
            }
        }
    }
    collector.finish()
}
