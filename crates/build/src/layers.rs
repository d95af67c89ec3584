//! The layers of an image under construction: those of a base, which may never be fetched, and our own,
//! which are packed while the build goes on.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kiln_layer::{Entry, LayerInfo, TreeIndex};
use kiln_oci::{Descriptor, DiffId};
use kiln_snapshot::ChangeSet;

use crate::blobs::{BlobError, Blobs, Origin};
use crate::copy::Items;
use crate::early::EarlyUpload;
use crate::pack::PackError;
use crate::promise::Promise;

/// One layer; cheap to clone, and the same value wherever it is used.
#[derive(Debug, Clone)]
pub(crate) struct Layer(Arc<State>);

#[derive(Debug)]
enum State {
    Base(Box<BaseLayer>),
    Made {
        content: Made,
        packed: Promise<Result<Packed, Arc<PackError>>>,
    },
}

/// A layer that an image brought.
#[derive(Debug)]
struct BaseLayer {
    descriptor: Descriptor,
    diff_id: DiffId,
    origin: Origin,
    /// Its entries, once somebody had to read them; never those of a layer that has too many.
    listing: OnceLock<Vec<Entry>>,
}

/// What a layer of our own is made from.
#[derive(Debug)]
pub(crate) enum Made {
    /// The files of a COPY, ADD or WORKDIR.
    Items(Items),
    /// What a RUN changed.
    Changes(ChangeSet),
}

impl Made {
    /// How many entries the layer has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Made::Items(items) => items.len(),
            Made::Changes(changes) => changes.entries().len(),
        }
    }

    /// The entries in the order of the layer.
    pub(crate) fn entries(&self) -> Box<dyn Iterator<Item = &Entry> + '_> {
        match self {
            Made::Items(items) => Box::new(items.values().map(|item| &item.entry)),
            Made::Changes(changes) => Box::new(changes.entries().iter()),
        }
    }
}

/// A layer whose blob is in the work folder.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) info: LayerInfo,
    pub(crate) path: PathBuf,
    /// The registry may have its bytes already.
    pub(crate) early: Option<Arc<EarlyUpload>>,
}

/// What an image says of a layer: enough to write its manifest and config.
#[derive(Debug, Clone)]
pub(crate) enum Described {
    /// A layer of a base, passed on as it is.
    Base(Box<Descriptor>, DiffId, Origin),
    /// A layer of our own.
    Own(Packed),
}

impl Layer {
    pub(crate) fn base(descriptor: Descriptor, diff_id: DiffId, origin: Origin) -> Layer {
        Layer(Arc::new(State::Base(Box::new(BaseLayer {
            descriptor,
            diff_id,
            origin,
            listing: OnceLock::new(),
        }))))
    }

    pub(crate) fn made(content: Made) -> (Layer, Promise<Result<Packed, Arc<PackError>>>) {
        let packed = Promise::new();
        let layer = Layer(Arc::new(State::Made {
            content,
            packed: packed.clone(),
        }));
        (layer, packed)
    }

    /// The content of a layer of our own.
    pub(crate) fn content(&self) -> Option<&Made> {
        match &*self.0 {
            State::Made { content, .. } => Some(content),
            State::Base(_) => None,
        }
    }

    /// The diff-id that a base's config gives the layer; `None` for our own.
    pub(crate) fn base_diff_id(&self) -> Option<DiffId> {
        match &*self.0 {
            State::Base(base) => Some(base.diff_id),
            State::Made { .. } => None,
        }
    }

    /// Waits until the layer is packed and describes it. Not for async code.
    pub(crate) fn describe(&self) -> Result<Described, Arc<PackError>> {
        match &*self.0 {
            State::Base(base) => Ok(Described::Base(
                Box::new(base.descriptor.clone()),
                base.diff_id,
                base.origin.clone(),
            )),
            State::Made { packed, .. } => Ok(Described::Own(packed.wait()?)),
        }
    }

    /// Lays the layer over a tree index, reading the blob of a base once if need be.
    pub(crate) fn apply_to(
        &self,
        tree: &mut TreeIndex,
        number: u32,
        blobs: &Blobs,
    ) -> Result<(), BlobError> {
        let applied = match &*self.0 {
            State::Base(_) => {
                tree.begin_layer();
                let mut applied = Ok(());
                self.visit_entries(blobs, &mut |entry| {
                    if applied.is_ok() {
                        applied = tree.apply(number, entry);
                    }
                })?;
                applied
            }
            State::Made { content, .. } => match content {
                Made::Items(items) => {
                    tree.apply_layer(number, items.values().map(|item| &item.entry))
                }
                Made::Changes(changes) => tree.apply_layer(number, changes.entries()),
            },
        };
        applied.map_err(|source| BlobError::Tree {
            number,
            source: Box::new(source),
        })
    }

    /// Calls `visit` with every entry of the layer, reading the blob of a base if need be: once, unless it has so many
    /// entries that they are not kept.
    pub(crate) fn visit_entries(
        &self,
        blobs: &Blobs,
        visit: &mut dyn FnMut(&Entry),
    ) -> Result<(), BlobError> {
        match &*self.0 {
            State::Base(base) => match base.listing.get() {
                Some(known) => known.iter().for_each(visit),
                None => {
                    let read = blobs.listing(self, visit)?;
                    self.learn_listing(read);
                }
            },
            State::Made { content, .. } => match content {
                Made::Items(items) => items.values().for_each(|item| visit(&item.entry)),
                Made::Changes(changes) => changes.entries().iter().for_each(visit),
            },
        }
        Ok(())
    }

    /// Remembers the entries of a base layer that somebody had to read anyway.
    pub(crate) fn learn_listing(&self, entries: Option<Vec<Entry>>) {
        if let (State::Base(base), Some(entries)) = (&*self.0, entries) {
            // The first list is as good as any other.
            let _ = base.listing.set(entries);
        }
    }

    /// If the layer is one of the cache: its entry is of no use.
    pub(crate) fn distrust(&self) {
        if let Some((_, _, Origin::Step(step))) = self.origin() {
            step.distrust();
        }
    }

    /// Where the blob of a base layer comes from.
    pub(crate) fn origin(&self) -> Option<(&Descriptor, DiffId, &Origin)> {
        match &*self.0 {
            State::Base(base) => Some((&base.descriptor, base.diff_id, &base.origin)),
            State::Made { .. } => None,
        }
    }
}
