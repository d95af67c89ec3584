//! What the sources of a COPY or ADD name: wildcards, symlinks and `--parents` (conformance E1-E11, E33).

use kiln_context::{FileView, ViewEntry, ViewError, has_wildcard, matches, resolve};
use kiln_layer::{EntryKind, ImagePath};

use super::{CopyError, CopyRequest, CopySource};
use crate::spool::Piece;

/// One thing to copy.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, directory or other entry of the view.
    Entry {
        /// The name it gets in a directory: the link's own name if a symlink was named (E3).
        name: Vec<u8>,
        /// The entry after following symlinks.
        entry: ViewEntry,
        /// Directories to recreate below the destination: `--parents` (E33).
        parents: Vec<ImagePath>,
    },
    /// A file with its content at hand.
    Inline { name: Vec<u8>, content: Vec<u8> },
    /// A file that was fetched.
    Fetched {
        name: Vec<u8>,
        content: Piece,
        size: u64,
        mtime: i64,
    },
}

impl Found {
    pub(super) fn is_dir(&self) -> bool {
        matches!(self, Found::Entry { entry, .. } if entry.is_dir())
    }
}

/// Looks up every source, in the order they are written; a wildcard gives any number, none included.
pub(super) fn find(request: &CopyRequest<'_>) -> Result<Vec<Found>, CopyError> {
    let mut found = Vec::new();
    for source in request.sources {
        match source {
            CopySource::Inline { name, content } => found.push(Found::Inline {
                name: name.clone(),
                content: content.clone(),
            }),
            CopySource::Fetched {
                name,
                content,
                size,
                mtime,
            } => found.push(Found::Fetched {
                name: name.clone(),
                content: content.clone(),
                size: *size,
                mtime: *mtime,
            }),
            CopySource::Path(path) => find_path(request, path, &mut found)?,
        }
    }
    Ok(found)
}

fn find_path(
    request: &CopyRequest<'_>,
    path: &[u8],
    found: &mut Vec<Found>,
) -> Result<(), CopyError> {
    let pivot = Pivot::of(path, request.parents);
    let view = request.view.as_ref();
    if !has_wildcard(path) {
        let entry = entry_at(request, path)?;
        found.push(Found::Entry {
            name: last_name(path),
            parents: pivot.parents_of(request, &ImagePath::from_bytes_cleaned(path)),
            entry,
        });
        return Ok(());
    }
    let expanded = if request.parents {
        deep_matches(request, path)?
    } else {
        matches(view, path).map_err(|error| name_whole(error, path))?
    };
    for path in expanded {
        // A dangling symlink that only a wildcard matched is not worth an error.
        let Some(entry) = resolve(view, path.as_bytes(), true)? else {
            continue;
        };
        found.push(Found::Entry {
            name: path.file_name().unwrap_or_default().to_vec(),
            parents: pivot.parents_of(request, &path),
            entry,
        });
    }
    Ok(())
}

fn entry_at(request: &CopyRequest<'_>, path: &[u8]) -> Result<ViewEntry, CopyError> {
    let view = request.view.as_ref();
    if let Some(found) = resolve(view, path, true)? {
        return Ok(found);
    }
    let path = ImagePath::from_bytes_cleaned(path);
    let shown = path.to_string();
    Err(match dangling(view, &path)? {
        Some((link, target)) => CopyError::Dangling {
            path: shown,
            link,
            target,
        },
        None => CopyError::Source(ViewError::NotFound { path: shown }),
    })
}

/// The first part of `path` that is a symlink to nothing in the view, and what it says. It is often a path of this
/// machine, where the user sees a file.
fn dangling(view: &dyn FileView, path: &ImagePath) -> Result<Option<(String, String)>, ViewError> {
    let mut parts: Vec<ImagePath> = std::iter::successors(Some(path.clone()), ImagePath::parent)
        .filter(|part| !part.is_root())
        .collect();
    parts.reverse();
    for part in parts {
        let Some(entry) = resolve(view, part.as_bytes(), false)? else {
            break;
        };
        if let EntryKind::Symlink { target } = &entry.entry.kind
            && resolve(view, part.as_bytes(), true)?.is_none()
        {
            let target = String::from_utf8_lossy(target).into_owned();
            return Ok(Some((part.to_string(), target)));
        }
    }
    Ok(None)
}

/// A missing fixed directory before a wildcard is reported with the whole source (E7).
fn name_whole(error: ViewError, path: &[u8]) -> ViewError {
    if error.is_not_found() {
        ViewError::NotFound {
            path: String::from_utf8_lossy(&kiln_context::clean(path)).into_owned(),
        }
    } else {
        error
    }
}

/// The last component that is a name; empty when the source is the root itself.
fn last_name(path: &[u8]) -> Vec<u8> {
    ImagePath::from_bytes_cleaned(path)
        .file_name()
        .unwrap_or_default()
        .to_vec()
}

/// `**` in a source works only with `--parents` (E6, E33): a component `**` stands for any number of
/// directories, none included.
fn deep_matches(request: &CopyRequest<'_>, path: &[u8]) -> Result<Vec<ImagePath>, CopyError> {
    let view = request.view.as_ref();
    let cleaned = kiln_context::clean(path);
    let parts: Vec<&[u8]> = cleaned.split(|b| *b == b'/').collect();
    let Some(deep) = parts.iter().position(|part| *part == b"**") else {
        return Ok(matches(view, path).map_err(|error| name_whole(error, path))?);
    };
    let before = parts[..deep].join(&b'/');
    let after = parts[deep + 1..].join(&b'/');
    let mut dirs = Vec::new();
    for start in matches(view, &before).map_err(|error| name_whole(error, path))? {
        all_directories(request, &start, &mut dirs)?;
    }
    let mut found = Vec::new();
    for dir in dirs {
        let pattern = [dir.as_bytes(), b"/", &after].concat();
        match deep_matches(request, &pattern) {
            Ok(paths) => found.extend(paths),
            Err(CopyError::Source(error)) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn all_directories(
    request: &CopyRequest<'_>,
    start: &ImagePath,
    dirs: &mut Vec<ImagePath>,
) -> Result<(), CopyError> {
    let mut pending = vec![start.clone()];
    while let Some(dir) = pending.pop() {
        for child in request.view.read_dir(&dir)? {
            if child.is_dir() {
                pending.push(child.entry.path);
            }
        }
        dirs.push(dir);
    }
    Ok(())
}

/// Where the part of a source begins that `--parents` recreates: after a `/./`, else at the root.
struct Pivot {
    on: bool,
    skip: usize,
}

impl Pivot {
    fn of(path: &[u8], parents: bool) -> Pivot {
        let dot = path
            .windows(3)
            .position(|window| window == b"/./")
            .filter(|_| parents);
        let skip = dot.map_or(0, |at| {
            ImagePath::from_bytes_cleaned(&path[..at])
                .components()
                .count()
        });
        Pivot { on: parents, skip }
    }

    /// The directories between the pivot and `path`, outermost first.
    fn parents_of(&self, _request: &CopyRequest<'_>, path: &ImagePath) -> Vec<ImagePath> {
        if !self.on {
            return Vec::new();
        }
        let mut chain: Vec<ImagePath> = std::iter::successors(path.parent(), ImagePath::parent)
            .filter(|dir| !dir.is_root())
            .collect();
        chain.reverse();
        chain.split_off(self.skip.min(chain.len()))
    }
}
