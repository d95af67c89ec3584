//! A directory of the host as a file view, without what the ignore file excludes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use kiln_dockerfile::PatternSet;
use kiln_layer::{Entry, EntryKind, FileType, ImagePath, LayerError, Root, Stat};
use kiln_notice::Listener;

use crate::error::{ContextError, ViewError};
use crate::notice::ContextNotice;
use crate::small::{IGNORE_FILE, read_text};
use crate::view::{FileView, LinkId, Stamp, ViewEntry};

/// A directory of the host, read through [`Root`] so that no symlink leads out of it (conformance E5).
///
/// COPY goes through it directory by directory, and not with `walkdir`, which would follow a link that is put on the way
/// meanwhile, and cannot go through the files of an image or a commit, as views do. `tests/benches`, `walk`, has the two
/// side by side.
#[derive(Debug)]
pub struct DirectoryView {
    root: RwLock<Root>,
    ignore: PatternSet,
    stable: bool,
    notices: Listener<ContextNotice>,
}

impl DirectoryView {
    /// Shows `root` without the paths that `ignore` excludes.
    pub fn new(root: Root, ignore: PatternSet) -> DirectoryView {
        DirectoryView {
            root: RwLock::new(root),
            ignore,
            stable: true,
            notices: Listener::default(),
        }
    }

    /// Tells `notices` what is left out.
    #[must_use]
    pub fn telling(mut self, notices: Listener<ContextNotice>) -> DirectoryView {
        self.notices = notices;
        self
    }

    /// Says that the same files are in another directory from now on.
    pub fn moved_to(&self, root: Root) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = root;
    }

    fn root(&self) -> Root {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone()
    }

    /// Says that the files may change while the build goes on, so that a copy must not wait.
    #[must_use]
    pub fn unstable(mut self) -> DirectoryView {
        self.stable = false;
        self
    }

    /// Whether the ignore file hides `path`. A directory stays visible while something below it may
    /// be visible again (conformance A40).
    fn hides(&self, path: &ImagePath, is_dir: bool) -> bool {
        if path.is_root() || self.ignore.is_empty() || !self.ignore.is_excluded(path.as_bytes()) {
            return false;
        }
        !(is_dir && self.ignore.may_include_below(path.as_bytes()) && self.shows_below(path))
    }

    /// Whether anything below an excluded directory is included again: an exception that names no
    /// existing file must not bring the directory back.
    fn shows_below(&self, dir: &ImagePath) -> bool {
        let Ok(children) = self.root().read_dir(dir) else {
            return false;
        };
        children.into_iter().any(|child| {
            !self.hides(
                &dir.join(&child.name),
                child.file_type == FileType::Directory,
            )
        })
    }

    /// The entry of a file that was just looked at; `None` for a socket (conformance E10).
    fn shown(&self, path: &ImagePath, stat: &Stat) -> Result<Option<ViewEntry>, ViewError> {
        let (major, minor) = (stat.major, stat.minor);
        let kind = match stat.file_type {
            FileType::File => EntryKind::File { size: stat.size },
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink {
                target: self
                    .root()
                    .read_link(path)
                    .map_err(|source| layer_error("read", path, source))?,
            },
            FileType::CharDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => {
                self.notices.tell(ContextNotice::Socket(path.clone()));
                return Ok(None);
            }
        };
        let link = (stat.links > 1 && stat.file_type == FileType::File)
            .then_some(LinkId(stat.dev, stat.ino));
        // Extended attributes stay behind: those of a context are the machine's, not the image's.
        let entry = Entry {
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            mtime: stat.mtime,
            ..Entry::new(path.clone(), kind)
        };
        Ok(Some(ViewEntry { entry, link }))
    }

    fn look(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError> {
        let stat = self
            .root()
            .stat(path)
            .map_err(|source| layer_error("read", path, source))?;
        match stat {
            Some(stat) => self.shown(path, &stat),
            None => Ok(None),
        }
    }
}

impl FileView for DirectoryView {
    fn lstat(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError> {
        Ok(self
            .look(path)?
            .filter(|found| !self.hides(path, found.is_dir())))
    }

    fn read_dir(&self, path: &ImagePath) -> Result<Vec<ViewEntry>, ViewError> {
        let children = self
            .root()
            .stat_dir(path)
            .map_err(|source| layer_error("list", path, source))?;
        let mut shown = Vec::with_capacity(children.len());
        for (name, stat) in children {
            let path = path.join(&name);
            if !self.hides(&path, stat.file_type == FileType::Directory) {
                shown.extend(self.shown(&path, &stat)?);
            }
        }
        Ok(shown)
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send + '_>, ViewError> {
        let file = self
            .root()
            .open_file(path, false)
            .map_err(|source| layer_error("open", path, source))?;
        Ok(Box::new(file))
    }

    fn stamp(&self, path: &ImagePath) -> Option<Stamp> {
        let stat = self.root().stat(path).ok().flatten()?;
        Some(Stamp {
            dev: stat.dev,
            ino: stat.ino,
            size: stat.size,
            mtime: (stat.mtime, stat.mtime_nanos),
            ctime: (stat.ctime, stat.ctime_nanos),
        })
    }

    fn is_stable(&self) -> bool {
        self.stable
    }
}

fn layer_error(operation: &'static str, path: &ImagePath, source: LayerError) -> ViewError {
    ViewError::Read {
        operation,
        path: path.to_string(),
        source: Box::new(source),
    }
}

/// The build context: one directory and its ignore file.
#[derive(Debug)]
pub struct Context {
    dir: PathBuf,
    ignore: PatternSet,
    notices: Listener<ContextNotice>,
}

impl Context {
    /// Opens the directory `dir`, or `sub_path` inside it. The ignore file is
    /// `<dockerfile>.dockerignore` if it exists, else `.dockerignore` at the context's root
    /// (conformance A35).
    pub fn open(
        dir: &Path,
        sub_path: Option<&Path>,
        dockerfile: Option<&Path>,
    ) -> Result<Context, ContextError> {
        let open = |path: &Path| {
            std::fs::canonicalize(path).map_err(|source| ContextError::Open {
                path: path.to_owned(),
                source,
            })
        };
        let mut root = open(dir)?;
        if let Some(sub_path) = sub_path {
            let below = root.join(sub_path.strip_prefix("/").unwrap_or(sub_path));
            let inside = std::fs::canonicalize(&below)
                .ok()
                .filter(|found| found.starts_with(&root) && found.is_dir());
            root = inside.ok_or_else(|| ContextError::SubPath {
                sub_path: sub_path.to_owned(),
                context: root.clone(),
            })?;
        }
        // Listing once tells a file from a directory and finds missing permission early.
        std::fs::read_dir(&root).map_err(|source| ContextError::Open {
            path: root.clone(),
            source,
        })?;
        let ignore = read_ignore_file(&root, dockerfile)?;
        Ok(Context {
            dir: root,
            ignore,
            notices: Listener::default(),
        })
    }

    /// Tells `notices` what its views leave out.
    #[must_use]
    pub fn telling(mut self, notices: Listener<ContextNotice>) -> Context {
        self.notices = notices;
        self
    }

    /// Who is told.
    pub fn notices(&self) -> &Listener<ContextNotice> {
        &self.notices
    }

    /// The context's root on the host.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The context as COPY and ADD see it.
    pub fn view(&self) -> Result<DirectoryView, ContextError> {
        self.view_in(&self.dir)
    }

    /// The same while the files are in another directory.
    pub fn view_in(&self, dir: &Path) -> Result<DirectoryView, ContextError> {
        let root =
            Root::open(dir).map_err(|source| layer_error("open", &ImagePath::root(), source))?;
        Ok(DirectoryView::new(root, self.ignore.clone()).telling(self.notices.clone()))
    }

    /// The rules of the ignore file; empty without one.
    pub fn ignore_rules(&self) -> &PatternSet {
        &self.ignore
    }

    /// Whether an ignore file hides anything.
    pub fn has_ignore_rules(&self) -> bool {
        !self.ignore.is_empty()
    }

    /// Whether the ignore file excludes `path`, which is relative to the context's root.
    pub fn ignores(&self, path: &[u8]) -> bool {
        self.ignore.is_excluded(path)
    }
}

fn read_ignore_file(root: &Path, dockerfile: Option<&Path>) -> Result<PatternSet, ContextError> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let candidates = beside.into_iter().chain([root.join(".dockerignore")]);
    for path in candidates {
        match read_text(root, &path, IGNORE_FILE) {
            Ok(text) => {
                return PatternSet::parse_ignore_file(&text)
                    .map_err(|source| ContextError::IgnoreFile { path, source });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ContextError::ReadIgnoreFile { path, source }),
        }
    }
    Ok(PatternSet::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file says later, or that it cannot be understood any more, is nothing to a build that has begun.
    // conformance: A44
    #[test]
    fn the_ignore_file_is_read_and_compiled_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        std::fs::create_dir(dir.join("gone")).unwrap();
        for name in ["gone/file", "kept", "no.log", "yes.log"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        std::fs::write(dir.join(IGNORE), "gone\n*.log\n!yes.log\n").unwrap();
        let context = Context::open(dir, None, None).unwrap();
        std::fs::write(dir.join(IGNORE), "a[\n").unwrap();
        let view = context.view().unwrap();
        for _ in 0..2 {
            let found = view.read_dir(&ImagePath::root()).unwrap();
            let mut names: Vec<String> = found
                .iter()
                .map(|found| found.entry.path.to_string())
                .collect();
            names.sort();
            assert_eq!(names, [IGNORE, "kept", "yes.log"]);
            let gone = ImagePath::from_bytes_cleaned(b"gone/file");
            assert!(view.lstat(&gone).unwrap().is_none());
        }
    }

    const IGNORE: &str = ".dockerignore";
}
