//! Where copied files go: the destination, its parents and what stands there already
//! (conformance E12-E36).

use std::sync::Arc;

use kiln_context::ViewEntry;
use kiln_layer::{Entry, EntryKind, ImagePath, NodeKind, TreeIndex, Xattrs};

use super::items::{Content, Item, Items};
use super::source::Found;
use super::{CopyError, CopyRequest, shown, unpack};
use crate::node::entry_of;

/// The mode of directories that a copy makes up (conformance E18, E21).
const NEW_DIR_MODE: u32 = 0o755;

/// The destination after resolving it in the image.
#[derive(Debug)]
pub(super) struct Destination {
    /// The path, symlinks followed (E15).
    pub(super) path: ImagePath,
    /// Files go into it under their own names (E13).
    pub(super) is_dir: bool,
}

/// What stands at a path of the image, with this copy's own entries on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    Directory,
    Other,
}

/// Collects the entries of one copy.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    pub(super) request: &'a CopyRequest<'a>,
    pub(super) tree: &'a TreeIndex,
    pub(super) items: Items,
}

impl<'a> Placer<'a> {
    pub(super) fn new(request: &'a CopyRequest<'a>, tree: &'a TreeIndex) -> Placer<'a> {
        Placer {
            request,
            tree,
            items: Items::default(),
        }
    }

    /// Resolves the destination; `many` sources need a directory (E14).
    pub(super) fn destination(
        &self,
        sources: &[Found],
        many: bool,
    ) -> Result<Destination, CopyError> {
        let written = self.request.destination;
        let absolute = absolute(self.request.workdir, written);
        let path = self.resolve(absolute.as_bytes())?;
        let standing = self.standing(&path);
        let slash = written.ends_with(b"/")
            || matches!(written, b"." | b"..")
            || written.ends_with(b"/.")
            || written.ends_with(b"/..");
        if many && !slash && standing != Standing::Directory && !self.request.parents {
            return Err(CopyError::NeedsDirectory {
                destination: String::from_utf8_lossy(written).into_owned(),
            });
        }
        let is_dir = slash
            || many
            || self.request.parents
            || standing == Standing::Directory
            || sources.iter().any(Found::is_dir);
        Ok(Destination { path, is_dir })
    }

    fn resolve(&self, path: &[u8]) -> Result<ImagePath, CopyError> {
        let resolved = self
            .tree
            .resolve(path, true)
            .map_err(|source| CopyError::Destination {
                path: String::from_utf8_lossy(path).into_owned(),
                source,
            })?;
        Ok(resolved.path)
    }

    pub(super) fn standing(&self, path: &ImagePath) -> Standing {
        if path.is_root() {
            return Standing::Directory;
        }
        if let Some(item) = self.items.get(path) {
            return match item.entry.kind {
                EntryKind::Directory => Standing::Directory,
                _ => Standing::Other,
            };
        }
        match self.tree.get(path) {
            None => Standing::Nothing,
            Some(node) if matches!(node.kind, NodeKind::Directory) => Standing::Directory,
            Some(_) => Standing::Other,
        }
    }

    /// Adds one source.
    pub(super) fn place(
        &mut self,
        number: usize,
        found: &Found,
        into: &Destination,
    ) -> Result<(), CopyError> {
        match found {
            Found::Entry {
                name,
                entry,
                parents,
            } => self.place_entry(number, name, entry, parents, into),
            Found::Inline { name, content } => {
                let item = Item {
                    entry: self.fresh_file(0o644, content.len() as u64, self.request.now),
                    content: Content::Bytes(Arc::from(content.as_slice())),
                    link: None,
                };
                self.place_file(name, item, into)
            }
            Found::Fetched {
                name,
                content,
                size,
                mtime,
            } => {
                let item = Item {
                    entry: self.fresh_file(0o600, *size, *mtime),
                    content: Content::Piece(content.clone()),
                    link: None,
                };
                if self.request.unpack_fetched
                    && unpack::into_layer(self, name, || Ok(Box::new(content.open())), into)?
                {
                    return Ok(());
                }
                self.place_file(name, item, into)
            }
        }
    }

    fn place_entry(
        &mut self,
        number: usize,
        name: &[u8],
        entry: &ViewEntry,
        parents: &[ImagePath],
        into: &Destination,
    ) -> Result<(), CopyError> {
        let source = entry.entry.path.clone();
        let is_file = matches!(entry.entry.kind, EntryKind::File { .. });
        if is_file && self.request.unpack_local {
            let view = Arc::clone(self.request.view);
            let open = || Ok(view.open(&source)?);
            if unpack::into_layer(self, name, open, into)? {
                return Ok(());
            }
        }
        if self.request.parents {
            return self.place_with_parents(number, name, entry, parents, into);
        }
        if entry.is_dir() {
            self.place_directory(number, entry, &into.path)
        } else {
            let item = self.copied(number, entry, ImagePath::root());
            self.place_file(name, item, into)
        }
    }

    /// `--parents`: the source's own path is recreated below the destination, with the mode and owner
    /// that its directories have in the source (E33).
    fn place_with_parents(
        &mut self,
        number: usize,
        name: &[u8],
        entry: &ViewEntry,
        parents: &[ImagePath],
        into: &Destination,
    ) -> Result<(), CopyError> {
        self.directory_itself(&into.path, self.request.now)?;
        let mut at = into.path.clone();
        for dir in parents {
            at = at.join(dir.file_name().unwrap_or_default());
            let found = kiln_context::resolve(self.request.view.as_ref(), dir.as_bytes(), true)?;
            let Some(found) = found else { continue };
            if !self.items.contains(&at) {
                self.directory_below(number, &found, &at)?;
            }
        }
        if name.is_empty() {
            return self.place_children(number, entry, &entry.entry.path, &at);
        }
        self.place_below(number, entry, &entry.entry.path, &at.join(name))
    }

    /// The contents of a directory go into the destination (E2, E18, E19).
    fn place_directory(
        &mut self,
        number: usize,
        dir: &ViewEntry,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        self.directory_itself(to, dir.entry.mtime)?;
        self.place_children(number, dir, &dir.entry.path, to)
    }

    fn place_children(
        &mut self,
        number: usize,
        dir: &ViewEntry,
        source_root: &ImagePath,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        for child in self.request.view.read_dir(&dir.entry.path)? {
            let name = child.entry.path.file_name().unwrap_or_default().to_vec();
            self.place_below(number, &child, source_root, &to.join(&name))?;
        }
        Ok(())
    }

    /// One entry below the top: nothing is followed any more (E17), source attributes are taken over
    /// (E20), `--exclude` is matched relative to the source's root (E34).
    fn place_below(
        &mut self,
        number: usize,
        entry: &ViewEntry,
        source_root: &ImagePath,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        let relative = below(source_root, &entry.entry.path);
        let excluded = relative
            .is_some_and(|path| !path.is_empty() && self.request.excludes.is_excluded(path));
        if !entry.is_dir() {
            if excluded {
                return Ok(());
            }
            if self.standing(to) == Standing::Directory {
                return Err(CopyError::ReplaceDirectory { path: shown(to) });
            }
            let item = self.copied(number, entry, to.clone());
            return self.put(item);
        }
        if !excluded {
            self.directory_below(number, entry, to)?;
            return self.place_children(number, entry, source_root, to);
        }
        let below = relative.is_some_and(|path| self.request.excludes.may_include_below(path));
        if below {
            // The directory itself comes only with something that stays below it.
            let before = self.items.len();
            self.place_children(number, entry, source_root, to)?;
            if self.items.len() > before {
                self.directory_below(number, entry, to)?;
            }
        }
        Ok(())
    }

    fn directory_below(
        &mut self,
        number: usize,
        dir: &ViewEntry,
        to: &ImagePath,
    ) -> Result<(), CopyError> {
        if self.standing(to) == Standing::Other {
            return Err(CopyError::NotADirectory { path: shown(to) });
        }
        let item = self.copied(number, dir, to.clone());
        self.put(item)
    }

    /// A single file, under its own name in a directory or as the destination itself (E13).
    fn place_file(
        &mut self,
        name: &[u8],
        mut item: Item,
        into: &Destination,
    ) -> Result<(), CopyError> {
        let path = if into.is_dir {
            self.parents(&into.path)?;
            match self.standing(&into.path) {
                Standing::Other => {
                    return Err(CopyError::DestinationIsFile {
                        path: shown(&into.path),
                    });
                }
                Standing::Nothing => self.new_directory(&into.path, self.request.now),
                Standing::Directory => self.keep_directory(&into.path, None),
            }
            into.path.join(name)
        } else {
            into.path.clone()
        };
        if self.standing(&path) == Standing::Directory {
            return Err(CopyError::ReplaceDirectory { path: shown(&path) });
        }
        item.entry.path = path;
        self.put(item)
    }

    /// Nothing matched: only a destination written as a directory comes into being (E7, E33).
    pub(super) fn nothing(&mut self, into: &Destination) -> Result<(), CopyError> {
        if self.request.parents {
            self.directory_itself(&into.path, self.request.now)?;
        }
        Ok(())
    }

    /// The top destination as a directory: made with 0755, or kept with the source's time (E18, E19).
    pub(super) fn directory_itself(
        &mut self,
        path: &ImagePath,
        mtime: i64,
    ) -> Result<(), CopyError> {
        self.parents(path)?;
        match self.standing(path) {
            Standing::Other => return Err(CopyError::NotADirectory { path: shown(path) }),
            Standing::Nothing => self.new_directory(path, mtime),
            Standing::Directory => self.keep_directory(path, Some(mtime)),
        }
        Ok(())
    }

    fn put(&mut self, item: Item) -> Result<(), CopyError> {
        self.parents(&item.entry.path)?;
        self.items.put(item);
        Ok(())
    }

    /// Brings the directories above `path` into the layer: existing ones as they are (G3), missing
    /// ones made up (E21).
    pub(super) fn parents(&mut self, path: &ImagePath) -> Result<(), CopyError> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        if parent.is_root() || self.items.contains(&parent) {
            return match self.standing(&parent) {
                Standing::Directory => Ok(()),
                _ => Err(CopyError::NotADirectory {
                    path: shown(&parent),
                }),
            };
        }
        self.parents(&parent)?;
        match self.standing(&parent) {
            Standing::Other => Err(CopyError::NotADirectory {
                path: shown(&parent),
            }),
            Standing::Nothing => {
                self.new_directory(&parent, self.request.now);
                Ok(())
            }
            Standing::Directory => {
                self.keep_directory(&parent, None);
                Ok(())
            }
        }
    }

    fn new_directory(&mut self, path: &ImagePath, mtime: i64) {
        let (uid, gid) = self.request.owner.unwrap_or((0, 0));
        // Only an octal mode says what a directory without a source should have (E21).
        let mode = match self.request.chmod {
            Some(chmod) if chmod.is_octal() => chmod.apply(NEW_DIR_MODE, true),
            _ => NEW_DIR_MODE,
        };
        self.items.put(Item {
            entry: Entry {
                path: path.clone(),
                kind: EntryKind::Directory,
                mode,
                uid,
                gid,
                mtime,
                xattrs: Xattrs::default(),
            },
            content: Content::None,
            link: None,
        });
    }

    /// An existing directory comes along as it is, with a new time if one is given (E19).
    fn keep_directory(&mut self, path: &ImagePath, mtime: Option<i64>) {
        if path.is_root() {
            return;
        }
        let mut entry = match (self.items.get(path), self.tree.get(path)) {
            (Some(item), _) => item.entry.clone(),
            (None, Some(node)) => entry_of(path.clone(), node),
            (None, None) => return,
        };
        if let Some(mtime) = mtime {
            entry.mtime = mtime;
        }
        self.items.put(Item {
            entry,
            content: Content::None,
            link: None,
        });
    }

    /// The entry of the view as it will be in the layer, at `to`.
    fn copied(&self, number: usize, from: &ViewEntry, to: ImagePath) -> Item {
        let request = self.request;
        let mut entry = from.entry.clone();
        let content = match entry.kind {
            EntryKind::File { size } if size > 0 => {
                Content::View(Arc::clone(request.view), entry.path.clone())
            }
            _ => Content::None,
        };
        let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
        entry.path = to;
        let own = if request.keep_owner {
            (entry.uid, entry.gid)
        } else {
            entry.xattrs.clear();
            (0, 0)
        };
        (entry.uid, entry.gid) = request.owner.unwrap_or(own);
        if let (Some(chmod), false) = (request.chmod, is_link) {
            entry.mode = chmod.apply(entry.mode, matches!(entry.kind, EntryKind::Directory));
        }
        Item {
            entry,
            content,
            link: from.link.map(|id| (number, id)),
        }
    }

    /// A file that has no source entry: heredocs and downloads belong to root unless told otherwise.
    fn fresh_file(&self, mode: u32, size: u64, mtime: i64) -> Entry {
        let (uid, gid) = self.request.owner.unwrap_or((0, 0));
        let mode = self
            .request
            .chmod
            .map_or(mode, |chmod| chmod.apply(mode, false));
        Entry {
            path: ImagePath::root(),
            kind: EntryKind::File { size },
            mode,
            uid,
            gid,
            mtime,
            xattrs: Xattrs::default(),
        }
    }

    pub(super) fn finish(mut self) -> Items {
        self.items.link_up();
        self.items
    }
}

/// `path` relative to `root`, if it is there or below.
fn below<'p>(root: &ImagePath, path: &'p ImagePath) -> Option<&'p [u8]> {
    let rest = path.as_bytes().strip_prefix(root.as_bytes())?;
    if root.is_root() || rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(b"/")
}

/// A destination as written, joined to the working directory if it is relative; `..` takes away what stands before it,
/// symlink or not (E12).
fn absolute(workdir: &[u8], path: &[u8]) -> ImagePath {
    if path.starts_with(b"/") {
        ImagePath::from_bytes_cleaned(path)
    } else {
        ImagePath::from_bytes_cleaned([workdir, b"/", path].concat())
    }
}
