//! Looking into a layer without unpacking it.

use std::io::{self, Read};

use kiln_oci::DiffId;

use crate::{Entry, EntryKind, LayerError, LayerReader};

/// Entries of one layer that are remembered at most.
pub const LONGEST_LISTING: usize = 150_000;
/// Bytes of their names.
pub const LONGEST_LISTING_TEXT: u64 = 16 << 20;

/// The entries of a layer, as long as they are few: one with very many is read again when they are asked for again.
#[derive(Debug)]
pub struct Listing {
    entries: Option<Vec<Entry>>,
    text: u64,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            entries: Some(Vec::new()),
            text: 0,
        }
    }
}

impl Listing {
    /// One that keeps nothing.
    pub fn none() -> Self {
        Self {
            entries: None,
            text: 0,
        }
    }

    /// Adds the next entry, or drops all of them if it is too much.
    pub fn push(&mut self, entry: Entry) {
        self.text += entry.text();
        if let Some(entries) = &mut self.entries {
            if entries.len() < LONGEST_LISTING && self.text <= LONGEST_LISTING_TEXT {
                entries.push(entry);
            } else {
                self.entries = None;
            }
        }
    }

    /// All entries in the order of the layer; `None` if they were too many.
    pub fn into_entries(self) -> Option<Vec<Entry>> {
        self.entries
    }
}

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
