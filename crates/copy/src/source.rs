//! What the sources of a COPY or ADD name: wildcards, symlinks and `--parents` (conformance E1-E11, E33).

use std::collections::BTreeMap;

use kiln_context::{FileView, ViewEntry, ViewError, clean, has_wildcard, matches, resolve};
use kiln_dockerfile::Glob;
use kiln_layer::{EntryKind, ImagePath};

use super::{CopyError, CopyRequest, CopySource};
use kiln_work::spool::Piece;

/// One thing to copy.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, directory or other entry of the view.
    Entry {
        /// The name it gets in a directory: the link's own name if a symlink was named (E3).
        name: Vec<u8>,
        /// The entry after following symlinks.
        entry: ViewEntry,
        /// Which names stay names of one file (E25).
        group: usize,
    },
    /// An entry that comes with the directories above it: `--parents` (E33).
    Below {
        /// The directory that its path counts from.
        root: ViewEntry,
        /// The entry itself: no symlink is followed.
        entry: ViewEntry,
        /// Which names stay names of one file (E25).
        group: usize,
    },
    /// The directory that a `--parents` source counts from, which has nothing that matches (E33).
    Nothing {
        /// The directory.
        root: ViewEntry,
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
    /// Whether the destination is a directory because of it.
    pub(super) fn makes_directory(&self) -> bool {
        match self {
            Found::Entry { entry, .. } => entry.is_dir(),
            Found::Below { .. } | Found::Nothing { .. } => true,
            Found::Inline { .. } | Found::Fetched { .. } => false,
        }
    }
}

/// Looks up every source, in the order they are written; a wildcard gives any number, none included.
pub(super) fn find(request: &CopyRequest<'_>) -> Result<Vec<Found>, CopyError> {
    let mut finder = Finder {
        request,
        found: Vec::new(),
        groups: 0,
    };
    for source in request.sources {
        match source {
            CopySource::Inline { name, content } => finder.found.push(Found::Inline {
                name: name.clone(),
                content: content.clone(),
            }),
            CopySource::Fetched {
                name,
                content,
                size,
                mtime,
            } => finder.found.push(Found::Fetched {
                name: name.clone(),
                content: content.clone(),
                size: *size,
                mtime: *mtime,
            }),
            CopySource::Path(path) if request.parents => finder.with_parents(path)?,
            CopySource::Path(path) => finder.path(path)?,
        }
    }
    Ok(finder.found)
}

struct Finder<'a> {
    request: &'a CopyRequest<'a>,
    found: Vec<Found>,
    groups: usize,
}

impl Finder<'_> {
    fn next_group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    fn path(&mut self, path: &[u8]) -> Result<(), CopyError> {
        for path in expanded(self.request, path)? {
            let entry = entry_at(self.request, &path)?;
            let group = self.next_group();
            self.found.push(Found::Entry {
                name: last_name(&path),
                entry,
                group,
            });
        }
        Ok(())
    }

    /// The directories before a `/./` are found like any source, and symlinks among them are followed. From there on,
    /// or from the root, symlinks are what they are (E33).
    fn with_parents(&mut self, path: &[u8]) -> Result<(), CopyError> {
        let pivot = path.windows(3).position(|window| window == b"/./");
        let (before, pattern) = match pivot {
            Some(at) => (&path[..at], clean(&path[at + 3..])),
            None => (&b""[..], clean(path)),
        };
        let required = !has_wildcard(before) && !has_wildcard(&pattern);
        for root in expanded(self.request, before)? {
            let root = entry_at(self.request, &root)?;
            let group = self.next_group();
            let below = below(self.request.view.as_ref(), &root, &pattern)?;
            if below.is_empty() && required {
                return Err(not_found(self.request, &[before, b"/", &pattern].concat())?);
            }
            if below.is_empty() {
                self.found.push(Found::Nothing { root: root.clone() });
            }
            self.found
                .extend(below.into_iter().map(|entry| Found::Below {
                    root: root.clone(),
                    entry,
                    group,
                }));
        }
        Ok(())
    }
}

/// The paths that a source names: itself, unless it has a wildcard.
fn expanded(request: &CopyRequest<'_>, path: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
    if !has_wildcard(path) {
        return Ok(vec![path.to_vec()]);
    }
    let found = matches(request.view.as_ref(), path).map_err(|error| name_whole(error, path))?;
    Ok(found
        .into_iter()
        .map(|path| path.as_bytes().to_vec())
        .collect())
}

/// What is at `path`. A link to nothing is as good as nothing, whether it was named or a wildcard matched it (E8).
fn entry_at(request: &CopyRequest<'_>, path: &[u8]) -> Result<ViewEntry, CopyError> {
    match resolve(request.view.as_ref(), path, true)? {
        Some(found) => Ok(found),
        None => Err(not_found(request, path)?),
    }
}

/// The error that says why there is nothing at `path`.
fn not_found(request: &CopyRequest<'_>, path: &[u8]) -> Result<CopyError, ViewError> {
    let path = ImagePath::from_bytes_cleaned(path);
    let shown = path.to_string();
    Ok(match dangling(request.view.as_ref(), &path)? {
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
            path: String::from_utf8_lossy(&clean(path)).into_owned(),
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

/// What of the directory `root` a `--parents` pattern names, in order and each once. A component `**` stands for any
/// number of directories, none included (E6, E33). Links are names here, never ways.
fn below(
    view: &dyn FileView,
    root: &ViewEntry,
    pattern: &[u8],
) -> Result<Vec<ViewEntry>, CopyError> {
    let parts: Vec<&[u8]> = pattern
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let mut at = BTreeMap::from([(root.entry.path.clone(), root.clone())]);
    for (number, part) in parts.iter().enumerate() {
        let mut next = BTreeMap::new();
        for dir in at.values().filter(|dir| dir.is_dir()) {
            if *part == b"**" {
                // At the end it is whatever is in there.
                let last = number + 1 == parts.len();
                deep(view, dir, last, &mut next)?;
            } else {
                step(view, dir, part, &mut next)?;
            }
        }
        at = next;
    }
    Ok(at.into_values().collect())
}

type Entries = BTreeMap<ImagePath, ViewEntry>;

/// The children of `dir` that one component of a pattern names.
fn step(
    view: &dyn FileView,
    dir: &ViewEntry,
    part: &[u8],
    found: &mut Entries,
) -> Result<(), CopyError> {
    if !has_wildcard(part) {
        let child = view.lstat(&dir.entry.path.join(part))?;
        found.extend(child.map(|child| (child.entry.path.clone(), child)));
        return Ok(());
    }
    let text = String::from_utf8_lossy(part);
    let glob = Glob::new(&text).map_err(|source| ViewError::Pattern {
        pattern: text.clone().into_owned(),
        source,
    })?;
    for child in view.read_dir(&dir.entry.path)? {
        if glob.matches(child.entry.path.file_name().unwrap_or_default()) {
            found.insert(child.entry.path.clone(), child);
        }
    }
    Ok(())
}

/// For a `**` before other components: `top` and all directories below it; at the end, its children.
fn deep(
    view: &dyn FileView,
    top: &ViewEntry,
    last: bool,
    found: &mut Entries,
) -> Result<(), CopyError> {
    if last {
        for child in view.read_dir(&top.entry.path)? {
            found.insert(child.entry.path.clone(), child);
        }
        return Ok(());
    }
    let mut pending = vec![top.clone()];
    while let Some(dir) = pending.pop() {
        if found.contains_key(&dir.entry.path) {
            continue;
        }
        let children = view.read_dir(&dir.entry.path)?;
        pending.extend(children.into_iter().filter(ViewEntry::is_dir));
        found.insert(dir.entry.path.clone(), dir);
    }
    Ok(())
}
