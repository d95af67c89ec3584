//! Wildcard sources of COPY and ADD: one pattern per path component (conformance E6, E7).

use kiln_dockerfile::Glob;
use kiln_layer::ImagePath;

use crate::error::ViewError;
use crate::view::{self, FileView, ViewEntry};

/// Whether `path` holds a wildcard, so that no match is not an error (E7). What a backslash escapes is none, and a path
/// without any is taken as it is written.
pub fn has_wildcard(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The paths below the view's root that match `pattern`, in order. Fixed components before the first
/// wildcard have to exist; symlinks among them are followed inside the root.
pub fn matches(view: &dyn FileView, pattern: &[u8]) -> Result<Vec<ImagePath>, ViewError> {
    let cleaned = view::clean(pattern);
    let parts: Vec<&[u8]> = cleaned
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let fixed = parts
        .iter()
        .position(|part| has_wildcard(part))
        .unwrap_or(parts.len());
    let prefix = parts[..fixed].join(&b'/');
    let Some(start) = view::resolve(view, &prefix, true)? else {
        return Err(ViewError::NotFound {
            path: String::from_utf8_lossy(&prefix).into_owned(),
        });
    };
    let mut found = vec![start.entry.path];
    for part in &parts[fixed..] {
        found = step(view, &found, part)?;
    }
    Ok(found)
}

/// The children of `below` whose name matches one component of the pattern.
fn step(
    view: &dyn FileView,
    below: &[ImagePath],
    part: &[u8],
) -> Result<Vec<ImagePath>, ViewError> {
    let text = String::from_utf8_lossy(part);
    let glob = Glob::new(&text).map_err(|source| ViewError::Pattern {
        pattern: text.clone().into_owned(),
        source,
    })?;
    let mut found = Vec::new();
    for dir in below {
        // From the first wildcard on, a symlink to a directory is no way to go.
        let Some(dir) = view.lstat(dir)?.filter(ViewEntry::is_dir) else {
            continue;
        };
        for child in view.read_dir(&dir.entry.path)? {
            let name = child.entry.path.file_name().unwrap_or_default();
            if glob.matches(name) {
                found.push(child.entry.path);
            }
        }
    }
    Ok(found)
}
