//! Looking into a layer without unpacking it.

use std::io::{self, Read};

use kiln_oci::DiffId;

use crate::{Entry, EntryKind, LayerError, LayerReader};

/// Reads a whole layer and keeps its headers, in the order of the layer.
pub fn read_listing<R: Read>(
    mut reader: LayerReader<R>,
) -> Result<(Vec<Entry>, DiffId), LayerError> {
    let mut entries = Vec::new();
    while let Some((entry, _)) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok((entries, reader.finish()?))
}

/// Reads a whole layer and hands the content of the files that `wanted` picks to `sink`, touching no file system.
///
/// Only entries of kind [`File`](crate::EntryKind::File) are asked about; other kinds carry no content. What `sink`
/// leaves unread is skipped. An error of `sink` ends the walk as [`LayerError::Content`].
pub fn extract_contents<R: Read>(
    mut reader: LayerReader<R>,
    wanted: &mut dyn FnMut(&Entry) -> bool,
    sink: &mut dyn FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
) -> Result<DiffId, LayerError> {
    while let Some((entry, mut content)) = reader.next_entry()? {
        if matches!(entry.kind, EntryKind::File { .. }) && wanted(&entry) {
            sink(&entry, &mut content).map_err(|error| content_error(&entry, error))?;
        }
    }
    reader.finish()
}

/// A failure of the layer comes through `sink` as it was; others are the sink's own.
fn content_error(entry: &Entry, error: io::Error) -> LayerError {
    match error.downcast::<LayerError>() {
        Ok(error) => error,
        Err(source) => LayerError::Content {
            path: entry.path.clone(),
            source,
        },
    }
}
