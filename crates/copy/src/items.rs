//! The entries of a layer that is about to be packed, each with the place its content comes from.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use kiln_context::{FileView, LinkId, ViewError};
use kiln_layer::{Entry, EntryKind, ImagePath};

use kiln_work::spool::Piece;

/// Where the bytes of a regular file are. All can be read more than once.
#[derive(Debug, Clone)]
pub enum Content {
    /// No bytes: every other kind of entry, and empty files.
    None,
    /// A file of a view.
    View(Arc<dyn FileView>, ImagePath),
    /// Bytes at hand.
    Bytes(Arc<[u8]>),
    /// A piece of a spool.
    Piece(Piece),
}

impl Content {
    /// Has views unpack everything that `items` will ask them for in one pass.
    pub fn prefetch<'a>(
        items: impl Iterator<Item = &'a Item>,
    ) -> Result<(), (ImagePath, ViewError)> {
        let mut by_view: Vec<(&Arc<dyn FileView>, Vec<ImagePath>)> = Vec::new();
        for item in items {
            let Content::View(view, path) = &item.content else {
                continue;
            };
            if !view.wants_prefetch() {
                continue;
            }
            match by_view
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, view))
            {
                Some((_, paths)) => paths.push(path.clone()),
                None => by_view.push((view, vec![path.clone()])),
            }
        }
        for (view, paths) in by_view {
            view.prefetch(&paths).map_err(|source| {
                (
                    paths.first().cloned().unwrap_or_else(ImagePath::root),
                    source,
                )
            })?;
        }
        Ok(())
    }

    /// Reads the bytes from their start.
    pub fn open(&self) -> Result<Box<dyn Read + '_>, ViewError> {
        Ok(match self {
            Content::None => Box::new(std::io::empty()),
            Content::Bytes(bytes) => Box::new(&bytes[..]),
            Content::Piece(piece) => Box::new(piece.open()),
            Content::View(view, path) => view.open(path)?,
        })
    }
}

/// One entry of the layer.
#[derive(Debug, Clone)]
pub struct Item {
    /// What the layer says of it.
    pub entry: Entry,
    /// Where its bytes come from.
    pub content: Content,
    /// Equal for names of one file within one source (conformance E25).
    pub link: Option<(usize, LinkId)>,
}

/// The entries by path, in the order of the tar stream (conformance G2).
#[derive(Debug, Default)]
pub struct Items {
    by_path: BTreeMap<ImagePath, Item>,
    /// How many files of archives have several names.
    linked: u64,
    /// What the last name of such a file said about it.
    said: HashMap<(usize, LinkId), Entry>,
}

impl Items {
    /// The item at this path.
    pub fn get(&self, path: &ImagePath) -> Option<&Item> {
        self.by_path.get(path)
    }

    /// What names of the file at `path` have in common, from now on if it had only one (conformance G6).
    pub(crate) fn link_of(&mut self, path: &ImagePath) -> Option<(usize, LinkId)> {
        let item = self.by_path.get_mut(path)?;
        if item.link.is_none() {
            self.linked += 1;
            // No source of a COPY has this number.
            item.link = Some((usize::MAX, LinkId(self.linked, 0)));
        }
        item.link
    }

    /// The item at this path, to be changed.
    pub fn get_mut(&mut self, path: &ImagePath) -> Option<&mut Item> {
        self.by_path.get_mut(path)
    }

    /// Whether there is an item at this path.
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.by_path.contains_key(path)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// All names of a file of an archive have the attributes that the last of them gives, as one inode does.
    pub(crate) fn say_last(&mut self, link: (usize, LinkId), entry: &Entry) {
        self.said.insert(link, entry.clone());
    }

    /// Adds an entry; one that is there already is replaced, since the last source wins.
    pub fn put(&mut self, item: Item) {
        self.by_path.insert(item.entry.path.clone(), item);
    }

    /// All of them, in the order of the layer.
    pub fn values(&self) -> impl Iterator<Item = &Item> {
        self.by_path.values()
    }

    /// Gives every entry the time that it will have in the layer.
    pub fn set_times(&mut self, time_of: impl Fn(i64) -> i64) {
        for item in self.by_path.values_mut() {
            item.entry.mtime = time_of(item.entry.mtime);
        }
    }

    /// Takes out what lies at and below `path`: something that is no directory replaces it.
    pub fn remove_tree(&mut self, path: &ImagePath) {
        let below: Vec<ImagePath> = self
            .by_path
            .range(path.clone()..)
            .map(|(found, _)| found)
            .take_while(|found| found.starts_with(path))
            .cloned()
            .collect();
        for path in below {
            self.by_path.remove(&path);
        }
    }

    /// Turns later names of one file into links to the first in order (conformance G6). Done once at
    /// the end, since a later source may have replaced the first name.
    pub fn link_up(&mut self) {
        let mut first: HashMap<(usize, LinkId), Entry> = HashMap::new();
        for item in self.by_path.values_mut() {
            let Some(id) = item.link else { continue };
            if let Some(said) = self.said.get(&id) {
                let Entry {
                    mode,
                    uid,
                    gid,
                    mtime,
                    ..
                } = *said;
                (item.entry.mode, item.entry.uid, item.entry.gid) = (mode, uid, gid);
                item.entry.mtime = mtime;
            }
            match first.get(&id) {
                Some(holder) if same_attributes(holder, &item.entry) => {
                    item.entry.kind = EntryKind::Hardlink {
                        target: holder.path.clone(),
                    };
                    item.content = Content::None;
                }
                Some(_) => {}
                None => {
                    first.insert(id, item.entry.clone());
                }
            }
        }
    }
}

/// Whether one inode can hold both: everything but the name is equal.
fn same_attributes(a: &Entry, b: &Entry) -> bool {
    (a.mode, a.uid, a.gid, a.mtime) == (b.mode, b.uid, b.gid, b.mtime)
        && a.xattrs == b.xattrs
        && a.kind == b.kind
}
