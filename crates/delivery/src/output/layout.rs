//! A folder in the form of an OCI layout (conformance I38).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use kiln_oci::{Layout, LayoutError, REF_NAME};
use kiln_registry::BlobSource;
use kiln_store::parcel::{Blob, Document, Parcel};

use super::{Output, OutputError};

/// A layout that the image is added to; it is made if it is missing.
#[derive(Debug)]
pub struct LayoutFolder {
    path: PathBuf,
    tags: Vec<String>,
}

impl LayoutFolder {
    /// Adds to the layout `path`, under these tags or, without any, under no name. The index names the image last.
    pub fn new(path: PathBuf, mut tags: Vec<String>) -> LayoutFolder {
        tags.dedup();
        LayoutFolder { path, tags }
    }

    async fn write(&self, parcel: &Parcel) -> Result<(), OutputError> {
        let failed = |source| OutputError::Layout {
            path: self.path.clone(),
            source: Box::new(source),
        };
        let mut sources = Vec::with_capacity(parcel.blobs.len());
        for blob in &parcel.blobs {
            sources.push((blob, blob.source().await?));
        }
        let layout = Layout::create(&self.path).map_err(failed)?;
        for (blob, source) in sources {
            adopt(&layout, blob, source).map_err(failed)?;
        }
        for document in parcel.below.iter().chain([&parcel.top]) {
            let (media_type, bytes) = (document.media_type.clone(), &document.bytes);
            layout.write_bytes(media_type, bytes).map_err(failed)?;
        }
        self.name(&layout, &parcel.top).map_err(failed)?;
        let blobs = parcel.blobs.iter().map(|blob| blob.descriptor.digest());
        let below = parcel.below.iter().map(|document| document.digest);
        layout
            .give_out(blobs.chain(below).chain([parcel.top.digest]))
            .map_err(failed)
    }

    fn name(&self, layout: &Layout, top: &Document) -> Result<(), LayoutError> {
        let descriptor = top.descriptor();
        if self.tags.is_empty() {
            return layout.add_manifest(&descriptor);
        }
        for tag in &self.tags {
            let named = descriptor.clone().with_annotation(REF_NAME, tag);
            layout.add_manifest(&named)?;
        }
        Ok(())
    }
}

fn adopt(layout: &Layout, blob: &Blob, source: BlobSource) -> Result<(), LayoutError> {
    let descriptor = &blob.descriptor;
    match source {
        BlobSource::File(file) => layout.adopt_blob(&file, &descriptor.digest()),
        BlobSource::Bytes(bytes) => layout.write_blob(&bytes[..], descriptor),
        BlobSource::Part(path, offset) => {
            let open = || {
                let mut file = File::open(&path)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(file.take(descriptor.size()))
            };
            let part = open().map_err(|source| LayoutError::Io {
                operation: "read",
                path: path.clone(),
                source,
            })?;
            layout.write_blob(part, descriptor)
        }
    }
}

impl Output for LayoutFolder {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<(), OutputError>> {
        Box::pin(self.write(parcel))
    }
}
