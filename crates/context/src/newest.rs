//! The time of the newest file.

use kiln_layer::{EntryKind, ImagePath};

use crate::error::ViewError;
use crate::view::FileView;

/// When the last of the regular files was changed, in seconds since 1970; `None` where there is none. Directories do not
/// count: a checkout makes them anew.
pub fn newest(view: &dyn FileView) -> Result<Option<i64>, ViewError> {
    let mut newest = None;
    let mut pending = vec![ImagePath::root()];
    while let Some(dir) = pending.pop() {
        for child in view.read_dir(&dir)? {
            match child.entry.kind {
                EntryKind::File { .. } => newest = newest.max(Some(child.entry.mtime)),
                EntryKind::Directory => pending.push(child.entry.path),
                _ => {}
            }
        }
    }
    Ok(newest)
}
