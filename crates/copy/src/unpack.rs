//! ADD of an archive: its entries merged over the image (conformance E37-E41).

use std::collections::VecDeque;
use std::io::Read;

use kiln_context::open_tar;
use kiln_layer::{
    ArchiveLimits, Entry, EntryKind, ImagePath, LayerError, LayerReader, NodeKind, ReadAs,
};

use super::CopyError;
use super::items::{Content, Item};
use super::place::{Destination, MadeFor, Placer, Standing};

/// Entries of one archive; all of them are held until the layer is packed.
const MAX_ADDED_ENTRIES: u64 = 300_000;
/// Bytes of their names.
const MAX_ADDED_TEXT: u64 = 24 << 20;
/// How many symlinks one path may pass.
const LINK_LIMIT: usize = 40;

/// Unpacks the file `name` below the destination if it is an archive; `false` if it is not.
pub(super) fn into_layer<'r>(
    placer: &mut Placer<'_>,
    name: &[u8],
    open: impl FnOnce() -> Result<Box<dyn Read + Send + 'r>, CopyError>,
    into: &Destination,
) -> Result<bool, CopyError> {
    let shown_name = String::from_utf8_lossy(name).into_owned();
    let spooled = |source: std::io::Error| {
        let name = shown_name.clone();
        match source.kind() {
            std::io::ErrorKind::OutOfMemory => CopyError::Unpack { name, source },
            _ => CopyError::Spool { name, source },
        }
    };
    let Some(stream) = open_tar(open()?).map_err(spooled)? else {
        return Ok(false);
    };
    let damaged = |source| CopyError::Archive {
        archive: shown_name.clone(),
        source,
    };
    unpack_root(placer, &into.path)?;
    let limits = ArchiveLimits {
        entries: MAX_ADDED_ENTRIES,
        text: MAX_ADDED_TEXT,
        ..ArchiveLimits::default()
    };
    let mut reader = LayerReader::new(stream)
        .read_as(ReadAs::Archive)
        .limited_to(limits);
    while let Some((entry, mut content)) = reader.next_entry().map_err(damaged)? {
        let kept = match entry.kind {
            EntryKind::File { size } if size > 0 => {
                let piece = placer
                    .request
                    .spool
                    .append(&mut content)
                    .map_err(|error| content_error(&shown_name, error))?;
                Content::Piece(piece)
            }
            _ => Content::None,
        };
        add(placer, &into.path, entry, kept).map_err(|error| error.named(&shown_name))?;
    }
    reader.finish().map_err(damaged)?;
    Ok(true)
}

/// A file of the archive that could not be kept: the archive's fault or the work folder's.
fn content_error(archive: &str, error: std::io::Error) -> CopyError {
    match error.downcast::<LayerError>() {
        Ok(source) => CopyError::Archive {
            archive: archive.to_owned(),
            source,
        },
        Err(source) => CopyError::Spool {
            name: archive.to_owned(),
            source,
        },
    }
}

/// The unpack destination is always a directory; an existing one stays as it is (E39).
fn unpack_root(placer: &mut Placer<'_>, path: &ImagePath) -> Result<(), CopyError> {
    match placer.standing(path) {
        Standing::Directory => placer.parents(&path.join(b"x"), MadeFor::Archive),
        _ => placer.directory_itself(path, None, MadeFor::Archive),
    }
}

/// Why an entry cannot be placed.
enum AddError {
    Place(CopyError),
    Loop(ImagePath),
    MissingLink(ImagePath, ImagePath),
    DirectoryLink(ImagePath),
}

impl AddError {
    fn named(self, archive: &str) -> CopyError {
        let source = match self {
            AddError::Place(error) => return error,
            AddError::Loop(path) => LayerError::SymlinkLoop { path },
            AddError::MissingLink(entry, target) => LayerError::MissingLinkTarget { entry, target },
            AddError::DirectoryLink(entry) => LayerError::UnsafeEntry {
                entry: entry.to_string(),
                reason: "a hard link to a directory",
            },
        };
        CopyError::Archive {
            archive: archive.to_owned(),
            source,
        }
    }
}

fn add(
    placer: &mut Placer<'_>,
    below: &ImagePath,
    mut entry: Entry,
    content: Content,
) -> Result<(), AddError> {
    if entry.path.is_root() {
        return Ok(());
    }
    let parent = entry.path.parent().unwrap_or_else(ImagePath::root);
    let name = entry.path.file_name().unwrap_or_default().to_vec();
    let dir = follow(placer, below, &parent)?;
    let at = dir.join(&name);
    let link_target = match &entry.kind {
        EntryKind::Hardlink { target } => {
            let parent = target.parent().unwrap_or_else(ImagePath::root);
            let name = target.file_name().unwrap_or_default();
            Some(follow(placer, below, &parent)?.join(name))
        }
        _ => None,
    };
    if let Some((uid, gid)) = placer.request.owner {
        (entry.uid, entry.gid) = (uid, gid);
    }
    match (placer.standing(&at), &entry.kind) {
        // A directory merges with a directory and replaces anything else (G29).
        (Standing::Directory, EntryKind::Directory) | (Standing::Nothing, _) => {}
        _ => placer.items.remove_tree(&at),
    }
    placer
        .parents(&at, MadeFor::Member)
        .map_err(AddError::Place)?;
    entry.path = at;
    let item = match link_target {
        Some(target) => linked(placer, entry, &target)?,
        None => Item {
            entry,
            content,
            link: None,
        },
    };
    placer.items.put(item);
    Ok(())
}

/// A hard link of the archive: another name of a file of this layer. Which of the names holds the data is settled when
/// all of them are known (G6, G7).
fn linked(placer: &mut Placer<'_>, entry: Entry, target: &ImagePath) -> Result<Item, AddError> {
    let Some(holder) = placer.items.get(target).cloned() else {
        return Err(AddError::MissingLink(entry.path, target.clone()));
    };
    if matches!(holder.entry.kind, EntryKind::Directory) {
        return Err(AddError::DirectoryLink(entry.path));
    }
    let link = placer.items.link_of(target);
    if let Some(link) = link {
        placer.items.say_last(link, &entry);
    }
    Ok(Item {
        link,
        entry: Entry {
            path: entry.path,
            ..holder.entry
        },
        content: holder.content,
    })
}

/// Resolves a directory of the archive below the destination. For symlinks on the way, of the image and of the archive
/// itself, the destination is the root: nothing gets above it (E41; BuildKit unpacks in a chroot there).
fn follow(placer: &Placer<'_>, below: &ImagePath, dir: &ImagePath) -> Result<ImagePath, AddError> {
    let mut at = below.clone();
    let mut pending: VecDeque<Vec<u8>> = dir.components().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if at != *below {
                    at = at.parent().unwrap_or_else(ImagePath::root);
                }
                continue;
            }
            _ => {}
        }
        let next = at.join(&part);
        // Below a file that took a directory's place, the image's links are gone with it.
        let hidden = placer.standing(&at) == Standing::Other;
        let Some(target) = link_text(placer, &next).filter(|_| !hidden) else {
            at = next;
            continue;
        };
        links += 1;
        if links > LINK_LIMIT {
            return Err(AddError::Loop(dir.clone()));
        }
        if target.starts_with(b"/") {
            at = below.clone();
        }
        for part in target.split(|b| *b == b'/').rev() {
            pending.push_front(part.to_vec());
        }
    }
    Ok(at)
}

fn link_text(placer: &Placer<'_>, path: &ImagePath) -> Option<Vec<u8>> {
    if let Some(item) = placer.items.get(path) {
        return match &item.entry.kind {
            EntryKind::Symlink { target } => Some(target.clone()),
            _ => None,
        };
    }
    match &placer.tree.get(path)?.kind {
        NodeKind::Symlink { target } => Some(target.to_vec()),
        _ => None,
    }
}
