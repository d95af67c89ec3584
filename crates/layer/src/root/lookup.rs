//! From a path to a file, as if the process were chrooted into the root.
//!
//! The kernel does it with `openat2(RESOLVE_IN_ROOT)`. Where that call is missing or filtered, and where the real
//! path is wanted and not only the file, a walk goes component by component; it holds every directory open, so that
//! `..` leads back to where it came from whatever happens meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{FileType, Parent, ResolvedPath, Root, name_of, stat_at};
use crate::path::{LINK_LIMIT, parts};
use crate::{ImagePath, LayerError};

/// Set once `openat2` was refused; the walk does everything then.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// What `..` does behind something that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dots {
    /// It leads nowhere, as for every process.
    Kernel,
    /// It takes back the component before it: this is about a place where something can be made.
    Text,
}

/// Where a walk ended.
pub(super) struct Walked {
    pub(super) resolved: ResolvedPath,
    /// The last directory that exists, and the name in it; none for the root itself.
    last: Option<(Arc<OwnedFd>, Vec<u8>)>,
}

/// Opens `path` with `flags`.
pub(super) fn open(
    root: &Root,
    path: &ImagePath,
    flags: OFlags,
    follow_last: bool,
) -> Result<OwnedFd, LayerError> {
    let flags = if follow_last {
        flags | OFlags::CLOEXEC
    } else {
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW
    };
    let failed = |error: Errno| match error {
        Errno::LOOP if follow_last => LayerError::SymlinkLoop { path: path.clone() },
        error => LayerError::io("open", root.host(path), error),
    };
    if let Some(opened) = open_in_kernel(root, path.as_bytes(), flags, ResolveFlags::empty()) {
        return opened.map_err(failed);
    }
    let walked = walk(root, path.as_bytes(), follow_last, Dots::Kernel)?;
    if walked.resolved.missing > 0 {
        return Err(failed(Errno::NOENT));
    }
    let opened = match &walked.last {
        Some((dir, name)) => {
            rustix::fs::openat(dir, name_of(name), flags | OFlags::NOFOLLOW, Mode::empty())
        }
        None => rustix::fs::openat(&root.dir, ".", flags, Mode::empty()),
    };
    opened.map_err(failed)
}

/// The directory that holds `path`; `None` when one on the way is missing or is none.
pub(super) fn parent(root: &Root, path: &ImagePath) -> Result<Option<Parent>, LayerError> {
    let Some(name) = path.file_name() else {
        let reason = io::ErrorKind::InvalidInput;
        return Err(LayerError::io(
            "find the parent of",
            root.host(path),
            reason,
        ));
    };
    let name = name.to_vec();
    let above = path.parent_bytes().unwrap_or_default();
    if above.is_empty() {
        return Ok(Some(Parent {
            dir: Arc::clone(&root.dir),
            path: ImagePath::root(),
            name,
        }));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Without symlinks on the way, which is the rule, the path is the real one already.
    match open_in_kernel(root, above, flags, ResolveFlags::NO_SYMLINKS) {
        Some(Ok(dir)) => {
            return Ok(Some(Parent {
                dir: Arc::new(dir),
                path: ImagePath::from_clean(above),
                name,
            }));
        }
        Some(Err(Errno::NOENT)) => return Ok(None),
        Some(Err(Errno::LOOP | Errno::NOTDIR)) | None => {}
        Some(Err(error)) => return Err(LayerError::io("open", root.host(path), error)),
    }
    let walked = match walk(root, above, true, Dots::Kernel) {
        Err(LayerError::NotADirectory { .. }) => return Ok(None),
        walked => walked?,
    };
    if walked.resolved.missing > 0 {
        return Ok(None);
    }
    let dir = match &walked.last {
        None => Arc::clone(&root.dir),
        Some((dir, name)) => {
            let flags = flags | OFlags::NOFOLLOW;
            match rustix::fs::openat(dir, name_of(name), flags, Mode::empty()) {
                Ok(dir) => Arc::new(dir),
                Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(LayerError::io("open", root.host(path), error)),
            }
        }
    };
    Ok(Some(Parent {
        dir,
        path: walked.resolved.path,
        name,
    }))
}

/// `openat2`; `None` when the kernel or a filter does not allow the call at all.
fn open_in_kernel(
    root: &Root,
    path: &[u8],
    flags: OFlags,
    more: ResolveFlags,
) -> Option<Result<OwnedFd, Errno>> {
    if NO_OPENAT2.load(Ordering::Relaxed) {
        return None;
    }
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    loop {
        match rustix::fs::openat2(&root.dir, name_of(path), flags, Mode::empty(), resolve) {
            // Something was renamed on the way; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => {
                // EPERM can also be the file's own answer, but never for the root directory.
                let probe = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let probe = rustix::fs::openat2(&root.dir, ".", probe, Mode::empty(), resolve);
                if matches!(probe, Err(Errno::NOSYS | Errno::PERM)) {
                    NO_OPENAT2.store(true, Ordering::Relaxed);
                    return None;
                }
                return Some(Err(Errno::PERM));
            }
            done => return Some(done),
        }
    }
}

/// Goes component by component. With [`Dots::Kernel`] it ends at the first one that does not exist.
pub(super) fn walk(
    root: &Root,
    path: &[u8],
    follow_last: bool,
    dots: Dots,
) -> Result<Walked, LayerError> {
    let wanted = || ImagePath::from_bytes_cleaned(path);
    let io = |at: &[Vec<u8>], error: Errno| {
        let at = ImagePath::from_clean(at.join(&b'/'));
        LayerError::io("read", root.host(&at), error)
    };
    // What is still to go, the next component last.
    let mut pending = reversed(path);
    // Directories from the root down; there is one more than there are names, unless the last name is no directory.
    let mut dirs: Vec<Arc<OwnedFd>> = vec![Arc::clone(&root.dir)];
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut missing = 0;
    let mut links = 0;
    // Set by a link text with a slash at its end.
    let mut only_directory = false;
    while let Some(part) = pending.pop() {
        if missing > 0 {
            if part == b".." {
                names.pop();
                missing -= 1;
            } else {
                names.push(part);
                missing += 1;
            }
            continue;
        }
        let is_dir = dirs.len() > names.len();
        if !is_dir && (part != b".." || dots == Dots::Kernel) {
            return Err(LayerError::NotADirectory {
                path: ImagePath::from_clean(names.join(&b'/')),
                wanted: wanted(),
            });
        }
        if part == b".." {
            if is_dir && !names.is_empty() {
                dirs.pop();
            }
            names.pop();
            continue;
        }
        let Some(dir) = dirs.last().map(Arc::clone) else {
            break;
        };
        let stat = stat_at(dir.as_fd(), &part).map_err(|error| io(&names, error))?;
        match stat.map(|stat| stat.file_type) {
            None => {
                names.push(part);
                missing = 1;
                if dots == Dots::Kernel {
                    break;
                }
            }
            Some(FileType::Symlink) if follow_last || !pending.is_empty() => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(LayerError::SymlinkLoop { path: wanted() });
                }
                let text = rustix::fs::readlinkat(&dir, name_of(&part), Vec::new())
                    .map_err(|error| io(&names, error))?
                    .into_bytes();
                if text.starts_with(b"/") {
                    dirs.truncate(1);
                    names.clear();
                }
                only_directory |=
                    pending.is_empty() && (text.ends_with(b"/") || text.ends_with(b"/."));
                pending.extend(reversed(&text));
            }
            Some(FileType::Directory) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let next = rustix::fs::openat(&dir, name_of(&part), flags, Mode::empty())
                    .map_err(|error| io(&names, error))?;
                dirs.push(Arc::new(next));
                names.push(part);
            }
            Some(_) => names.push(part),
        }
    }
    let is_dir = dirs.len() > names.len();
    if dots == Dots::Kernel && only_directory && missing == 0 && !is_dir {
        return Err(LayerError::NotADirectory {
            path: ImagePath::from_clean(names.join(&b'/')),
            wanted: wanted(),
        });
    }
    let last = names.last().filter(|_| missing == 0).and_then(|name| {
        let holder = dirs.get(names.len() - 1)?;
        Some((Arc::clone(holder), name.clone()))
    });
    Ok(Walked {
        resolved: ResolvedPath {
            path: ImagePath::from_clean(names.join(&b'/')),
            missing,
        },
        last,
    })
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    parts(path).rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    // The walk has to find what the kernel finds.
    #[test]
    fn walk_and_kernel_agree() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b")).unwrap();
        std::fs::write(temp.path().join("a/b/f"), "x").unwrap();
        symlink("/a/b", temp.path().join("abs")).unwrap();
        symlink("b/../b", temp.path().join("a/rel")).unwrap();
        symlink("../../../a", temp.path().join("a/b/up")).unwrap();
        for (link, target) in [
            ("over-nothing", "none/../a"),
            ("over-file", "a/b/f/../../b"),
            ("file-as-directory", "a/b/f/"),
            ("directory", "a/b/."),
            ("through", "over-nothing/b/f"),
            ("round", "round"),
        ] {
            symlink(target, temp.path().join(link)).unwrap();
        }
        let root = Root::open(temp.path()).unwrap();
        let paths = [
            "a/b/f",
            "abs/f",
            "a/rel/f",
            "a/b/up/b/f",
            "a/b/up",
            "abs",
            "none",
            "a/b/f/x",
            "over-nothing",
            "over-file",
            "over-file/f",
            "file-as-directory",
            "directory/f",
            "through",
            "round",
            "round/x",
        ];
        for path in paths {
            let kernel =
                open_in_kernel(&root, path.as_bytes(), OFlags::PATH, ResolveFlags::empty());
            let Some(kernel) = kernel else {
                kiln_skip::skipped("this machine has no openat2");
                return;
            };
            let walked = walk(&root, path.as_bytes(), true, Dots::Kernel);
            let found = walked.is_ok_and(|walked| walked.resolved.missing == 0);
            assert_eq!(found, kernel.is_ok(), "{path}");
        }
    }
}
