//! Repositories as sources of ADD: resolved and fetched once a build (conformance E47, E48, H11).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_context::{DirectoryView, FileView, Stamp, ViewEntry, ViewError};
use kiln_dockerfile::PatternSet;
use kiln_git::{CheckedOut, Commit, GitReference, Login, Options, Repository, without_login};
use kiln_layer::{EntryKind, ImagePath, Root};
use tokio::runtime::Handle;

use super::SourceError;
use crate::held::Held;
use kiln_work::interrupt::Interrupt;

/// The secret that BuildKit takes a token from, alone or with `.` and a host.
const TOKEN_SECRET: &str = "GIT_AUTH_TOKEN";

/// Who a token logs in; servers look at the token alone.
const TOKEN_USER: &str = "x-access-token";

/// What is known of repositories: commits by name, and files by name and options.
pub(crate) struct Repositories {
    /// Folder for what is checked out.
    work: PathBuf,
    runtime: Handle,
    interrupt: Interrupt,
    /// Tokens may be secrets of the build.
    held: Arc<Held>,
    commits: Mutex<BTreeMap<String, Commit>>,
    trees: Mutex<BTreeMap<(String, bool), Arc<CommitView>>>,
}

impl Repositories {
    pub(crate) fn new(
        work: PathBuf,
        runtime: Handle,
        interrupt: Interrupt,
        held: Arc<Held>,
    ) -> Repositories {
        Repositories {
            work,
            runtime,
            interrupt,
            held,
            commits: Mutex::default(),
            trees: Mutex::default(),
        }
    }

    /// The commit that a name means; `checksum` is what its id has to begin with. Blocks; not for async code.
    pub(crate) fn commit(&self, text: &str, checksum: Option<&str>) -> Result<Commit, SourceError> {
        let known = self.commits.lock();
        let known = known
            .unwrap_or_else(PoisonError::into_inner)
            .get(text)
            .cloned();
        let repository = self.repository(text, checksum)?;
        if let Some(known) = known
            && checksum.is_none_or(|checksum| known.id.starts_with(checksum))
        {
            return Ok(known);
        }
        let commit = self.blocking(move |interrupt| repository.resolve(interrupt))?;
        let mut known = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(text.to_owned(), commit.clone());
        Ok(commit)
    }

    /// The files of the commit that a name means. Blocks; not for async code.
    pub(crate) fn files(
        &self,
        text: &str,
        checksum: Option<&str>,
        keep_git_dir: Option<bool>,
    ) -> Result<Arc<CommitView>, SourceError> {
        let commit = self.commit(text, checksum)?;
        let repository = self.repository(text, checksum)?;
        let wanted = repository.wanted();
        let options = Options {
            keep_git_dir: keep_git_dir.or(wanted.keep_git_dir).unwrap_or(false),
            submodules: wanted.submodules.unwrap_or(true),
        };
        let key = (text.to_owned(), options.keep_git_dir);
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(&key) {
            return Ok(Arc::clone(tree));
        }
        let dir = tempfile::tempdir_in(&self.work)
            .map_err(|source| SourceError::Io {
                operation: "write to",
                path: self.work.clone(),
                source,
            })?
            .keep();
        tracing::debug!(remote = without_login(text), commit = commit.id, "fetching");
        let files = self
            .blocking(move |interrupt| repository.check_out(&commit, &dir, options, interrupt))?;
        let tree = Arc::new(CommitView::new(&files)?);
        trees.insert(key, Arc::clone(&tree));
        Ok(tree)
    }

    fn repository(&self, text: &str, checksum: Option<&str>) -> Result<Repository, SourceError> {
        let mut wanted = GitReference::parse(text)?;
        if let Some(checksum) = checksum {
            wanted.commit = Some(checksum.to_owned());
        }
        let login = self.login_for(&wanted.remote)?;
        let tls = kiln_registry::tls_config().map_err(SourceError::Tls)?;
        Ok(Repository::new(wanted, login, Arc::new(tls), &self.work))
    }

    /// From BuildKit's secrets, then from kaniko's variables (J5).
    fn login_for(&self, remote: &str) -> Result<Option<Login>, SourceError> {
        let host = url::Url::parse(remote)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .and_then(|url| url.host_str().map(str::to_owned));
        let Some(host) = host else {
            return Ok(None);
        };
        for id in [format!("{TOKEN_SECRET}.{host}"), TOKEN_SECRET.to_owned()] {
            if let Some(value) = self.held.secret(&id)? {
                let password = String::from_utf8_lossy(&value).trim_end().to_owned();
                let user = TOKEN_USER.to_owned();
                return Ok(Some(Login { user, password }));
            }
        }
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let token = variable("GIT_TOKEN").map(|password| Login {
            user: TOKEN_USER.to_owned(),
            password,
        });
        Ok(token.or_else(|| {
            Some(Login {
                user: variable("GIT_USERNAME")?,
                password: variable("GIT_PASSWORD")?,
            })
        }))
    }

    /// Does blocking work that looks at a flag, and leaves it behind when the build is cancelled.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> Result<T, kiln_git::GitError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        self.interrupt
            .cancel()
            .on_cancel(move || stop.store(true, Ordering::Relaxed));
        let work = self.runtime.spawn_blocking(move || work(&stopped));
        let done = self.runtime.block_on(self.interrupt.unless_raised(work));
        match done {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(_)) | None => Err(SourceError::Cancelled),
        }
    }
}

/// Files of a commit as ADD takes them: owned by root, with the modes that git knows, and the commit's time.
#[derive(Debug)]
pub(crate) struct CommitView {
    files: DirectoryView,
    time: i64,
}

impl CommitView {
    fn new(files: &CheckedOut) -> Result<CommitView, SourceError> {
        let root = Root::open(&files.path)?;
        Ok(CommitView {
            files: DirectoryView::new(root, PatternSet::default()),
            time: files.time,
        })
    }

    fn normal(&self, mut found: ViewEntry) -> ViewEntry {
        let entry = &mut found.entry;
        entry.mtime = self.time;
        (entry.uid, entry.gid) = (0, 0);
        entry.mode = match entry.kind {
            EntryKind::Symlink { .. } => entry.mode,
            EntryKind::File { .. } if entry.mode & 0o111 == 0 => 0o644,
            _ => 0o755,
        };
        found
    }
}

impl FileView for CommitView {
    fn lstat(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError> {
        let found = self.files.lstat(path)?;
        Ok(found.map(|found| self.normal(found)))
    }

    fn read_dir(&self, path: &ImagePath) -> Result<Vec<ViewEntry>, ViewError> {
        let found = self.files.read_dir(path)?.into_iter();
        Ok(found.map(|found| self.normal(found)).collect())
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send + '_>, ViewError> {
        self.files.open(path)
    }

    fn stamp(&self, path: &ImagePath) -> Option<Stamp> {
        self.files.stamp(path)
    }
}
