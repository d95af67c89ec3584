//! From a tar header to an [`Entry`]: kinds, whiteouts, and names that must not be trusted.

use crate::attributes::Attributes;
use crate::frame::{OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::header::Header;
use crate::limits::shown;
use crate::{Entry, EntryKind, ImagePath, LayerError, ReadAs};

/// Names AUFS kept for itself; old images still carry them.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Longest name and link text that Linux knows. Longer ones could not be unpacked, and a name of half a million
/// components would take memory for each of its parents.
const LONGEST: usize = 4095;

/// What a header stands for.
pub(crate) enum Meaning {
    Entry(Entry),
    /// Nothing that belongs in a tree.
    Nothing,
}

/// Makes the entry of a header; `name` is the raw name, `size` that of the content, `at` where the header starts.
pub(crate) fn interpret(
    header: Header<'_>,
    mut attributes: Attributes,
    name: &[u8],
    size: u64,
    rules: ReadAs,
    at: u64,
) -> Result<Meaning, LayerError> {
    let bad = |reason| LayerError::Header { offset: at, reason };
    let path = safe_path(name, name, rules, &NAME_REASONS)?;
    if rules == ReadAs::Layer
        && let Some(marker) = marker(&path, name)?
    {
        return Ok(marker);
    }
    let Some(kind) = kind(header, &mut attributes, name, size, rules, at)? else {
        return Ok(Meaning::Nothing);
    };
    if path.is_root() && kind != EntryKind::Directory {
        // Archivers leave files without a name; unpacking tools pass them over.
        if rules == ReadAs::Archive {
            return Ok(Meaning::Nothing);
        }
        return Err(refused(name, "only a directory can be the root"));
    }
    let id = |long: Option<u64>, short: Option<i64>, reason| {
        let id = long.map_or_else(
            || short.and_then(|id| u32::try_from(id).ok()),
            |id| u32::try_from(id).ok(),
        );
        id.ok_or_else(|| bad(reason))
    };
    let mode = header.mode().ok_or_else(|| bad("mode that is no number"))?;
    let mtime = attributes.mtime.or_else(|| header.mtime());
    Ok(Meaning::Entry(Entry {
        path,
        kind,
        mode: mode as u32 & 0o7777,
        uid: id(attributes.uid, header.uid(), "user id out of range")?,
        gid: id(attributes.gid, header.gid(), "group id out of range")?,
        mtime: mtime.ok_or_else(|| bad("time that is no number"))?,
        xattrs: attributes.xattrs,
    }))
}

fn kind(
    header: Header<'_>,
    attributes: &mut Attributes,
    name: &[u8],
    size: u64,
    rules: ReadAs,
    at: u64,
) -> Result<Option<EntryKind>, LayerError> {
    let bad = |reason| LayerError::Header { offset: at, reason };
    let mut link = || {
        attributes
            .link
            .take()
            .unwrap_or_else(|| header.link().to_vec())
    };
    let typeflag = header.typeflag();
    Ok(Some(match typeflag {
        // Before ustar a directory was a file whose name ends in a slash.
        0 | b'0' | b'7' if name.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File { size },
        b'1' => EntryKind::Hardlink {
            target: link_target(&link(), name, rules)?,
        },
        b'2' => EntryKind::Symlink {
            target: symlink_text(link(), name)?,
        },
        b'3' | b'4' => {
            let (major, minor) =
                device(header, attributes).ok_or_else(|| bad("bad device number"))?;
            if typeflag == b'3' {
                EntryKind::CharDevice { major, minor }
            } else {
                EntryKind::BlockDevice { major, minor }
            }
        }
        b'5' | b'D' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        // A volume label.
        b'V' => return Ok(None),
        _ => return Err(bad("entry of an unknown type")),
    }))
}

fn device(header: Header<'_>, attributes: &Attributes) -> Option<(u32, u32)> {
    let (major, minor) = header.device()?;
    let part = |long: Option<u64>, short: i64| match long {
        Some(long) => u32::try_from(long).ok(),
        None => u32::try_from(short).ok(),
    };
    Some((
        part(attributes.major, major)?,
        part(attributes.minor, minor)?,
    ))
}

/// What is said about a name that is refused: with NUL, too long, with `..`.
struct Reasons {
    nul: &'static str,
    long: &'static str,
    parent: &'static str,
}

const NAME_REASONS: Reasons = Reasons {
    nul: "its name holds a NUL byte",
    long: "its name is longer than any path",
    parent: "its name has a `..` component",
};

const LINK_REASONS: Reasons = Reasons {
    nul: "it is a hard link to a name that holds a NUL byte",
    long: "it is a hard link to a name longer than any path",
    parent: "it is a hard link to a name with a `..` component",
};

fn safe_path(
    path: &[u8],
    entry: &[u8],
    rules: ReadAs,
    reasons: &Reasons,
) -> Result<ImagePath, LayerError> {
    if path.contains(&0) {
        return Err(refused(entry, reasons.nul));
    }
    if path.len() > LONGEST {
        return Err(refused(entry, reasons.long));
    }
    if rules == ReadAs::Layer && path.split(|&b| b == b'/').any(|part| part == b"..") {
        return Err(refused(entry, reasons.parent));
    }
    // A leading slash is no harm: every name starts at the root.
    Ok(ImagePath::from_bytes_cleaned(path))
}

fn link_target(link: &[u8], name: &[u8], rules: ReadAs) -> Result<ImagePath, LayerError> {
    let target = safe_path(link, name, rules, &LINK_REASONS)?;
    if target.is_root() {
        return Err(refused(name, "it is a hard link to the root"));
    }
    Ok(target)
}

/// The text is kept whatever it is (conformance: G33), as long as a file system can hold it.
fn symlink_text(text: Vec<u8>, name: &[u8]) -> Result<Vec<u8>, LayerError> {
    if text.is_empty() || text.contains(&0) || text.len() > LONGEST {
        return Err(refused(
            name,
            "it is a symbolic link without a proper target",
        ));
    }
    Ok(text)
}

/// Whiteouts and opaque markers, judged by name alone (conformance: G32).
fn marker(path: &ImagePath, name: &[u8]) -> Result<Option<Meaning>, LayerError> {
    let Some(own_name) = path.file_name() else {
        return Ok(None);
    };
    // Cheap first: nearly no path has this in it.
    if !path
        .components()
        .any(|part| part.starts_with(WHITEOUT_PREFIX))
    {
        return Ok(None);
    }
    let directory = path.parent_bytes().unwrap_or_default();
    if own_name != OPAQUE_NAME && path.components().any(|part| part.starts_with(AUFS_PREFIX)) {
        return Ok(Some(Meaning::Nothing));
    }
    let in_marker = ImagePath::from_clean(directory);
    if in_marker
        .components()
        .any(|part| part.starts_with(WHITEOUT_PREFIX))
    {
        return Err(refused(name, "it lies inside a whiteout"));
    }
    if own_name == OPAQUE_NAME {
        return Ok(Some(Meaning::Entry(Entry::new(
            in_marker,
            EntryKind::OpaqueMarker,
        ))));
    }
    let deleted = own_name.strip_prefix(WHITEOUT_PREFIX).unwrap_or_default();
    if matches!(deleted, b"" | b"." | b"..") {
        return Err(refused(
            name,
            "it is a whiteout of nothing that can have a name",
        ));
    }
    Ok(Some(Meaning::Entry(Entry::whiteout(
        in_marker.join(deleted),
    ))))
}

fn refused(name: &[u8], reason: &'static str) -> LayerError {
    LayerError::UnsafeEntry {
        entry: shown(name),
        reason,
    }
}
