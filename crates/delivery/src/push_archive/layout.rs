//! OCI layouts: documents and blobs as they are.

use std::collections::BTreeSet;

use kiln_oci::{Descriptor, Digest, Index, Layout, Manifest, REF_NAME};

use super::PushArchiveError;
use kiln_store::parcel::{Blob, Document, Parcel};

/// An index may name indexes; real ones do that once at most.
const MAX_DEPTH: u32 = 4;
/// Bytes of all manifests and indexes of one image; they are held until they are sent.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// Reads all manifests and indexes of the layout's one image; blobs are left for later.
pub(super) fn read(layout: Layout) -> Result<Parcel, PushArchiveError> {
    let entry = only(&layout)?;
    let mut reader = Reader {
        layout,
        seen: BTreeSet::new(),
        blobs: Vec::new(),
        below: Vec::new(),
        held: 0,
    };
    let top = reader.document(&entry, MAX_DEPTH)?;
    Ok(Parcel {
        blobs: reader.blobs,
        below: reader.below,
        top,
        known_in: Vec::new(),
    })
}

/// The one image or index that `index.json` names, under however many names.
fn only(layout: &Layout) -> Result<Descriptor, PushArchiveError> {
    let index = layout.index()?;
    let entries = index.manifests().iter();
    let entries: Vec<&Descriptor> = entries.filter(|entry| !entry.is_attestation()).collect();
    let digests: BTreeSet<Digest> = entries.iter().map(|entry| entry.digest()).collect();
    match (digests.len(), entries.first()) {
        (1, Some(&entry)) => Ok(entry.clone()),
        _ => Err(PushArchiveError::Images {
            path: layout.dir().to_owned(),
            images: entries.into_iter().map(described).collect(),
        }),
    }
}

/// Name, digest and platform, as far as they are known.
fn described(entry: &Descriptor) -> String {
    let name = entry.annotation(REF_NAME);
    let name = name.map(|name| format!("`{name}`, ")).unwrap_or_default();
    let platform = entry.platform().filter(|p| !p.is_empty());
    let platform = platform.map(|p| format!(" for {p}")).unwrap_or_default();
    format!("{name}{}{platform}", entry.digest())
}

struct Reader {
    layout: Layout,
    /// Documents and blobs that are in the parcel.
    seen: BTreeSet<Digest>,
    blobs: Vec<Blob>,
    below: Vec<Document>,
    /// Bytes of all documents.
    held: u64,
}

impl Reader {
    /// Reads a manifest or index and collects what it names.
    fn document(&mut self, entry: &Descriptor, depth: u32) -> Result<Document, PushArchiveError> {
        let bytes = self.layout.read_blob(&entry.digest())?;
        let path = self.layout.blob_path(&entry.digest());
        self.held += bytes.len() as u64;
        if self.held > MAX_DOCUMENTS {
            return Err(PushArchiveError::Documents { path });
        }
        let unusable = |source| PushArchiveError::Document {
            path: path.clone(),
            source,
        };
        if !entry.media_type().is_index() {
            let manifest = Manifest::parse(&bytes).map_err(unusable)?;
            self.blob(manifest.config());
            // Foreign layers are fetched from their `urls` and not ours to spread (I27).
            for layer in manifest.layers() {
                if !layer.media_type().is_foreign() {
                    self.blob(layer);
                }
            }
            return Ok(Document::new(manifest.effective_media_type(), bytes));
        }
        if depth == 0 {
            return Err(PushArchiveError::Depth { path });
        }
        for child in Index::parse(&bytes).map_err(unusable)?.manifests() {
            if self.seen.insert(child.digest()) {
                let document = self.document(child, depth - 1)?;
                self.below.push(document);
            }
        }
        Ok(Document::new(entry.media_type(), bytes))
    }

    fn blob(&mut self, descriptor: &Descriptor) {
        if self.seen.insert(descriptor.digest()) {
            let blob = Blob::of_layout(descriptor.clone(), &self.layout);
            self.blobs.push(blob);
        }
    }
}
