//! The layers of an image under construction: those of a base, which may never be fetched, and our own,
//! which are packed while the build goes on.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kiln_context::ViewError;
use kiln_layer::{Entry, EntryKind, LayerError, LayerInfo};
use kiln_oci::{Descriptor, DiffId};
use kiln_snapshot::{ChangeSet, SnapshotError};

use crate::early::EarlyUpload;
use crate::origin::Origin;
use kiln_copy::Items;
use kiln_events::{StepLayer, Subject};

/// Why a layer could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file of the layer could not be read.
    #[error("cannot read `/{path}` for a layer")]
    Read {
        /// Path in the image.
        path: String,
        /// Why it failed.
        #[source]
        source: ViewError,
    },
    /// The changes of a RUN could not be read.
    #[error("cannot pack the changes of the command")]
    Changes(#[source] SnapshotError),
    /// The tar stream could not be written.
    #[error("cannot write a layer")]
    Write(#[source] LayerError),
    /// The work folder refuses.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The build was interrupted, or another part of it failed.
    #[error("interrupted")]
    Cancelled,
    /// The thread that packed the layer is gone.
    #[error("the thread that packed a layer ended before it was done")]
    Lost,
}

/// What comes of packing a layer; who wants it waits.
pub(crate) type Packing = Arc<OnceLock<Result<Packed, Arc<PackError>>>>;

/// One layer; cheap to clone, and the same value wherever it is used.
#[derive(Debug, Clone)]
pub struct Layer(Arc<State>);

#[derive(Debug)]
enum State {
    Base(Box<BaseLayer>),
    Made {
        content: Made,
        packed: Packing,
        subject: Subject,
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
pub enum Made {
    /// The files of a COPY, ADD or WORKDIR.
    Items(Items),
    /// What a RUN changed.
    Changes(ChangeSet),
}

impl Made {
    /// About how long the tar stream will be, in bytes: headers of long names are not counted.
    pub(crate) fn tar_size(&self) -> u64 {
        const BLOCK: u64 = 512;
        let of = |entry: &Entry| match &entry.kind {
            EntryKind::File { size } => BLOCK + size.next_multiple_of(BLOCK),
            EntryKind::Directory
            | EntryKind::Symlink { .. }
            | EntryKind::Hardlink { .. }
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. }
            | EntryKind::Fifo
            | EntryKind::Whiteout
            | EntryKind::OpaqueMarker => BLOCK,
        };
        self.entries().map(of).sum::<u64>() + 2 * BLOCK
    }

    /// How many entries the layer has.
    pub(crate) fn count(&self) -> usize {
        match self {
            Made::Items(items) => items.len(),
            Made::Changes(changes) => changes.entries().len(),
        }
    }

    /// The entries in the order of the layer.
    pub fn entries(&self) -> Box<dyn Iterator<Item = &Entry> + '_> {
        match self {
            Made::Items(items) => Box::new(items.values().map(|item| &item.entry)),
            Made::Changes(changes) => Box::new(changes.entries().iter()),
        }
    }
}

/// A layer whose blob is in the work folder.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Digests and sizes.
    pub info: LayerInfo,
    /// Its blob.
    pub path: PathBuf,
    /// The registry may have its bytes already.
    pub early: Option<Arc<EarlyUpload>>,
}

/// What an image says of a layer: enough to write its manifest and config.
#[derive(Debug, Clone)]
pub enum Described {
    /// A layer of a base, passed on as it is.
    Base(Box<Descriptor>, DiffId, Origin),
    /// A layer of our own.
    Own(Packed),
}

impl Layer {
    /// A layer of an image, which is fetched from `origin` if it has to be.
    pub fn base(descriptor: Descriptor, diff_id: DiffId, origin: Origin) -> Layer {
        Layer(Arc::new(State::Base(Box::new(BaseLayer {
            descriptor,
            diff_id,
            origin,
            listing: OnceLock::new(),
        }))))
    }

    /// A layer of our own, and what is set when it is packed.
    pub(crate) fn made(content: Made, subject: Subject) -> (Layer, Packing) {
        let packed = Packing::default();
        let layer = Layer(Arc::new(State::Made {
            content,
            packed: packed.clone(),
            subject,
        }));
        (layer, packed)
    }

    /// The content of a layer of our own.
    pub fn content(&self) -> Option<&Made> {
        match &*self.0 {
            State::Made { content, .. } => Some(content),
            State::Base(_) => None,
        }
    }

    /// What made a layer of our own.
    pub fn subject(&self) -> Option<&Subject> {
        match &*self.0 {
            State::Made { subject, .. } => Some(subject),
            State::Base(_) => None,
        }
    }

    /// What is known of the layer without waiting for it.
    pub fn known(&self) -> StepLayer {
        match &*self.0 {
            State::Base(base) => StepLayer::There {
                digest: base.descriptor.digest(),
                size: base.descriptor.size(),
                uncompressed_size: None,
            },
            State::Made { packed, .. } => match packed.get() {
                Some(Ok(Packed { info, .. })) => StepLayer::There {
                    digest: info.digest,
                    size: info.size,
                    uncompressed_size: Some(info.uncompressed_size),
                },
                Some(Err(_)) | None => StepLayer::Packing,
            },
        }
    }

    /// The diff-id that a base's config gives the layer; `None` for our own.
    pub fn base_diff_id(&self) -> Option<DiffId> {
        match &*self.0 {
            State::Base(base) => Some(base.diff_id),
            State::Made { .. } => None,
        }
    }

    /// Waits until the layer is packed and describes it. Not for async code.
    pub fn describe(&self) -> Result<Described, Arc<PackError>> {
        match &*self.0 {
            State::Base(base) => Ok(Described::Base(
                Box::new(base.descriptor.clone()),
                base.diff_id,
                base.origin.clone(),
            )),
            State::Made { packed, .. } => Ok(Described::Own(packed.wait().clone()?)),
        }
    }

    /// The entries, where they are known without reading a blob.
    pub(crate) fn known_entries(&self) -> Option<Box<dyn Iterator<Item = &Entry> + '_>> {
        match &*self.0 {
            State::Base(base) => {
                let known = base.listing.get()?;
                Some(Box::new(known.iter()))
            }
            State::Made { content, .. } => Some(content.entries()),
        }
    }

    /// Remembers the entries of a base layer that somebody had to read anyway.
    pub fn learn_listing(&self, entries: Option<Vec<Entry>>) {
        if let (State::Base(base), Some(entries)) = (&*self.0, entries) {
            // The first list is as good as any other.
            let _ = base.listing.set(entries);
        }
    }

    /// If the layer is one of the cache: its entry is of no use.
    pub fn distrust(&self) {
        if let Some((_, _, Origin::Step(step))) = self.origin() {
            step.distrust();
        }
    }

    /// Where the blob of a base layer comes from.
    pub fn origin(&self) -> Option<(&Descriptor, DiffId, &Origin)> {
        match &*self.0 {
            State::Base(base) => Some((&base.descriptor, base.diff_id, &base.origin)),
            State::Made { .. } => None,
        }
    }
}
