//! One source of a copy: whether it is unpacked, or placed as it is.

use std::sync::Arc;

use kiln_context::ViewEntry;
use kiln_layer::{EntryKind, ImagePath};

use super::items::{Content, Item};
use super::place::{Destination, MadeFor, Placer, Source};
use super::source::Found;
use super::{CopyError, unpack};

impl Placer<'_> {
    /// Adds one source.
    pub(super) fn place(&mut self, found: &Found, into: &Destination) -> Result<(), CopyError> {
        match found {
            Found::Entry { name, entry, group } => self.place_entry(name, entry, *group, into),
            Found::Below { root, entry, group } => {
                self.place_with_parents(root, entry, *group, into)
            }
            Found::Nothing { root } => self.parents_root(root, into),
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
        name: &[u8],
        entry: &ViewEntry,
        group: usize,
        into: &Destination,
    ) -> Result<(), CopyError> {
        let path = entry.entry.path.clone();
        let is_file = matches!(entry.entry.kind, EntryKind::File { .. });
        if is_file && self.request.unpack_local {
            let view = Arc::clone(self.request.view);
            let open = || Ok(view.open(&path)?);
            if unpack::into_layer(self, name, open, into)? {
                return Ok(());
            }
        }
        if entry.is_dir() {
            // The contents of a directory go into the destination (E2, E18, E19).
            self.directory_itself(&into.path, Some(entry.entry.mtime), MadeFor::Files)?;
            let source = Source { root: &path, group };
            self.place_children(source, entry, &into.path)
        } else {
            let item = self.copied(group, entry, ImagePath::root());
            self.place_file(name, item, into)
        }
    }
}
