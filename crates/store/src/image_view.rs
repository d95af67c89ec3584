//! The files of a stage or image as COPY --from reads them: attributes from the tree index, content from
//! the stage's directories where they exist, else straight from the layers' blobs. Needs no root
//! filesystem and no privilege.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_context::{FileView, LinkId, ViewEntry, ViewError};
use kiln_layer::{Entry, ImagePath, Node, NodeKind, Root, TreeIndex};

use crate::blobs::Blobs;
use crate::layers::Layer;
use kiln_copy::node::entry_of;
use kiln_copy::{Content, Item, Items};
use kiln_work::spool::{Piece, Spool};

/// A directory of the host that holds the files of some layers.
#[derive(Debug, Clone)]
pub struct LayerDir {
    /// Positions of the layers in the image.
    pub layers: Range<usize>,
    /// The directory.
    pub root: Arc<Root>,
}

/// A finished image, read-only.
#[derive(Debug)]
pub struct ImageView {
    tree: Arc<TreeIndex>,
    layers: Vec<Layer>,
    dirs: Vec<LayerDir>,
    blobs: Arc<Blobs>,
    spool: Spool,
    unpacked: Mutex<HashMap<ImagePath, Piece>>,
}

impl ImageView {
    /// The files that `tree` lists: content from `dirs` where they have it, else from the blobs of `layers`.
    pub fn new(
        tree: Arc<TreeIndex>,
        layers: Vec<Layer>,
        dirs: Vec<LayerDir>,
        blobs: Arc<Blobs>,
        spool: Spool,
    ) -> ImageView {
        ImageView {
            tree,
            layers,
            dirs,
            blobs,
            spool,
            unpacked: Mutex::new(HashMap::new()),
        }
    }

    /// The whole of a small file, such as `/etc/passwd`; `None` if there is none. Symlinks are followed
    /// inside the image.
    pub fn read_small(&self, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>, ViewError> {
        let Some(found) = kiln_context::resolve(self, path, true)? else {
            return Ok(None);
        };
        if !matches!(found.entry.kind, kiln_layer::EntryKind::File { .. }) {
            return Ok(None);
        }
        let mut content = Vec::new();
        self.open(&found.entry.path)?
            .take(limit)
            .read_to_end(&mut content)
            .map_err(|source| ViewError::Io {
                operation: "read",
                path: found.entry.path.to_string(),
                source,
            })?;
        Ok(Some(content))
    }

    /// A layer of our own in this image that has exactly these entries with the same content, if there is one: what
    /// COPY --from brings is often all that one step made, and need not be packed again.
    pub fn layer_with(&self, items: &Items) -> Option<Layer> {
        let (_, first) = items.values().find_map(|item| self.node_behind(item))?;
        let layer = self.layers.get(first.layer as usize)?;
        let content = layer.content()?;
        if content.count() != items.len() {
            return None;
        }
        let same = |(item, entry): (&Item, &Entry)| {
            let data = match (&item.content, self.node_behind(item)) {
                (Content::None, _) => true,
                (_, Some((path, node))) => {
                    node.layer == first.layer && *node.source(path) == entry.path
                }
                (_, None) => false,
            };
            data && item.entry == *entry
        };
        items
            .values()
            .zip(content.entries())
            .all(same)
            .then(|| layer.clone())
    }

    /// Where the content of an entry is in this image, with its path.
    fn node_behind<'a>(&self, item: &'a Item) -> Option<(&'a ImagePath, &Node)> {
        match &item.content {
            Content::View(view, path) if std::ptr::addr_eq(Arc::as_ptr(view), self) => {
                Some((path, self.tree.get(path)?))
            }
            _ => None,
        }
    }

    /// Whether the content of a file has to come from its layer's blob. Whoever packs has to know before: the blob may be
    /// that of a layer which is still waiting to be packed.
    fn is_in_blob_only(&self, path: &ImagePath) -> bool {
        let Some(node) = self.tree.get(path) else {
            return false;
        };
        let Some(dir) = self.dir_of(node.layer as usize) else {
            return true;
        };
        // Of a file with several names the directory may have another one.
        let several = matches!(node.kind, NodeKind::File { links: Some(_), .. });
        several && dir.root.stat(path).is_ok_and(|found| found.is_none())
    }

    fn dir_of(&self, layer: usize) -> Option<&LayerDir> {
        self.dirs.iter().find(|dir| dir.layers.contains(&layer))
    }

    fn shown(path: ImagePath, node: &Node) -> ViewEntry {
        let link = match node.kind {
            NodeKind::File {
                links: Some(group), ..
            } => Some(LinkId(u64::from(node.layer), u64::from(group.0))),
            _ => None,
        };
        ViewEntry {
            entry: entry_of(path, node),
            link,
        }
    }

    fn missing(path: &ImagePath) -> ViewError {
        ViewError::NotFound {
            path: path.to_string(),
        }
    }

    /// Streams each layer that holds wanted content once, and keeps that content.
    fn unpack(&self, wanted: &[&ImagePath]) -> Result<(), ViewError> {
        // Where the data is, to every path that shows it.
        let mut by_layer: BTreeMap<usize, HashMap<ImagePath, Vec<ImagePath>>> = BTreeMap::new();
        for path in wanted {
            let Some(node) = self.tree.get(path) else {
                continue;
            };
            by_layer
                .entry(node.layer as usize)
                .or_default()
                .entry(node.source(path).clone())
                .or_default()
                .push((*path).clone());
        }
        for (number, sources) in by_layer {
            let Some(layer) = self.layers.get(number) else {
                continue;
            };
            let mut found = HashMap::new();
            self.blobs
                .contents(
                    layer,
                    &mut |entry| sources.contains_key(&entry.path),
                    &mut |entry, content| {
                        found.insert(entry.path.clone(), self.spool.append(content)?);
                        Ok(())
                    },
                )
                .map_err(|error| ViewError::Layer {
                    path: wanted.first().map(ToString::to_string).unwrap_or_default(),
                    source: Box::new(error),
                })?;
            let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
            for (source, paths) in sources {
                let Some(piece) = found.get(&source) else {
                    continue;
                };
                for path in paths {
                    unpacked.insert(path, piece.clone());
                }
            }
        }
        Ok(())
    }

    fn piece(&self, path: &ImagePath) -> Option<Piece> {
        let unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        unpacked.get(path).cloned()
    }
}

impl FileView for ImageView {
    fn lstat(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError> {
        Ok(self
            .tree
            .get(path)
            .map(|node| Self::shown(path.clone(), node)))
    }

    fn read_dir(&self, path: &ImagePath) -> Result<Vec<ViewEntry>, ViewError> {
        let mut children: Vec<ViewEntry> = self
            .tree
            .children(path)
            .map(|(name, node)| Self::shown(path.join(name), node))
            .collect();
        children.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        Ok(children)
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send + '_>, ViewError> {
        let node = self.tree.get(path).ok_or_else(|| Self::missing(path))?;
        if !matches!(node.kind, NodeKind::File { .. }) {
            return Err(Self::missing(path));
        }
        if let Some(dir) = self.dir_of(node.layer as usize) {
            match dir.root.open_file(path, false) {
                Ok(file) => return Ok(Box::new(file)),
                // A name of a file that the directory has under another one: the blob knows both.
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    return Err(ViewError::Read {
                        operation: "open",
                        path: path.to_string(),
                        source: Box::new(error),
                    });
                }
            }
        }
        if self.piece(path).is_none() {
            self.unpack(&[path])?;
        }
        let piece = self.piece(path).ok_or_else(|| Self::missing(path))?;
        Ok(Box::new(piece.open()))
    }

    fn wants_prefetch(&self) -> bool {
        true
    }

    fn prefetch(&self, paths: &[ImagePath]) -> Result<(), ViewError> {
        let mut seen = HashSet::new();
        let wanted: Vec<&ImagePath> = paths
            .iter()
            .filter(|path| seen.insert(*path) && self.piece(path).is_none())
            .filter(|path| self.is_in_blob_only(path))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.unpack(&wanted)
    }
}
