//! Looking into a layer without unpacking it.

use std::io::{self, Read};

use kiln_oci::DiffId;

use crate::{Entry, LayerError, LayerReader};

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
    reader: LayerReader<R>,
    wanted: &mut dyn FnMut(&Entry) -> bool,
    sink: &mut dyn FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
) -> Result<DiffId, LayerError> {
    let _ = (reader, wanted, sink);
    todo!()
}
