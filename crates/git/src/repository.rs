//! Asking a server, and fetching and writing the files of one commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix::bstr::ByteSlice;
use gix::progress::Discard;
use gix::remote::fetch::Shallow;
use gix::remote::{Direction, ref_map};

use crate::commit::{CheckedOut, Commit, Options};
use crate::error::{Cause, GitError};
use crate::http::Http;
use crate::reference::{GitReference, Login, is_commit_id};
use crate::submodules;

/// A repository on a server.
#[derive(Debug, Clone)]
pub struct Repository {
    wanted: GitReference,
    http: Http,
    scratch: PathBuf,
}

impl Repository {
    /// `login` counts if the URL has none; `tls` says which certificates are believed; `scratch` is a directory for
    /// what is needed for a moment.
    pub fn new(
        wanted: GitReference,
        login: Option<Login>,
        tls: Arc<rustls::ClientConfig>,
        scratch: &Path,
    ) -> Self {
        let login = wanted.login.clone().or(login);
        Self {
            wanted,
            http: Http { login, tls },
            scratch: scratch.to_owned(),
        }
    }

    /// What it was made from.
    pub fn wanted(&self) -> &GitReference {
        &self.wanted
    }

    /// Finds the commit, asking the server unless the name is a whole id. Branches come before tags of the same name.
    pub fn resolve(&self, interrupt: &AtomicBool) -> Result<Commit, GitError> {
        let remote = &self.wanted.remote;
        let name = self.wanted.reference.as_deref().unwrap_or("HEAD");
        let commit = if is_commit_id(name) {
            Commit {
                id: name.to_ascii_lowercase(),
                reference: None,
                tag: None,
            }
        } else {
            let listed = self.list().map_err(|source| GitError::List {
                remote: remote.clone(),
                source,
            })?;
            let found = find(&listed, name);
            match found {
                Some(commit) => commit,
                None => self.look_for(name, interrupt)?,
            }
        };
        self.check(&commit)?;
        Ok(commit)
    }

    fn check(&self, commit: &Commit) -> Result<(), GitError> {
        match &self.wanted.commit {
            Some(expected) if !commit.is(expected) => Err(GitError::Commit {
                remote: self.wanted.remote.clone(),
                actual: commit.id.clone(),
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// An abbreviated commit id is known only to who has all commits.
    fn look_for(&self, name: &str, interrupt: &AtomicBool) -> Result<Commit, GitError> {
        let missing = || GitError::NoReference {
            remote: self.wanted.remote.clone(),
            reference: name.to_owned(),
        };
        if name.len() < 4 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let dir = tempfile::tempdir_in(&self.scratch).map_err(|source| GitError::Io {
            operation: "write to",
            path: self.scratch.clone(),
            source,
        })?;
        let repo = self.fetch(dir.path(), None, interrupt)?;
        let prefix = gix::hash::Prefix::from_hex(name).map_err(|_| missing())?;
        let found = repo.objects.lookup_prefix(prefix, None);
        let Ok(Some(Ok(id))) = found else {
            return Err(missing());
        };
        Ok(Commit {
            id: id.to_string(),
            reference: None,
            tag: None,
        })
    }

    fn list(&self) -> Result<Vec<Listed>, Cause> {
        let dir = tempfile::tempdir_in(&self.scratch)?;
        let options = gix::create::Options::default();
        let repo = gix::ThreadSafeRepository::init_opts(
            dir.path(),
            gix::create::Kind::Bare,
            options,
            isolated(),
        )?
        .to_thread_local();
        let remote = repo.remote_at(self.wanted.remote.as_str())?;
        let mut connection = remote.connect(Direction::Fetch)?;
        connection.set_credentials(|_| Ok(None));
        connection.set_transport_options(Box::new(self.http.options()));
        let options = ref_map::Options {
            prefix_from_spec_as_filter_on_remote: false,
            ..ref_map::Options::default()
        };
        let (map, _) = connection.ref_map(Discard, options)?;
        let listed = map.remote_refs.iter().filter_map(|listed| {
            let (name, target, peeled) = listed.unpack();
            let id = peeled.or(target)?.to_string();
            let tag = peeled.and(target).map(|tag| tag.to_string());
            let name = name.to_str().ok()?.to_owned();
            Some(Listed { name, id, tag })
        });
        Ok(listed.collect())
    }

    /// Fetches the commit into a repository in `dir`: alone if the server gives it alone, else with everything.
    fn fetch(
        &self,
        dir: &Path,
        commit: Option<&Commit>,
        interrupt: &AtomicBool,
    ) -> Result<gix::Repository, GitError> {
        let what = match commit {
            Some(commit) => commit
                .reference
                .clone()
                .unwrap_or_else(|| commit.id.clone()),
            None => "all references".to_owned(),
        };
        let clone = || -> Result<gix::Repository, Cause> {
            let mut clone = gix::clone::PrepareFetch::new(
                self.wanted.remote.as_str(),
                dir,
                gix::create::Kind::WithWorktree,
                gix::create::Options::default(),
                isolated(),
            )?;
            if commit.is_some() {
                let depth = std::num::NonZeroU32::MIN;
                clone = clone
                    .with_shallow(Shallow::DepthAtRemote(depth))
                    .with_revision(Some(what.as_str()))?;
            }
            let http = self.http.clone();
            clone = clone.configure_connection(move |connection| {
                // Who has no login is not asked for one.
                connection.set_credentials(|_| Ok(None));
                connection.set_transport_options(Box::new(http.options()));
                Ok(())
            });
            Ok(clone.fetch_only(Discard, interrupt)?.0)
        };
        clone().map_err(|source| GitError::Fetch {
            remote: self.wanted.remote.clone(),
            what: what.clone(),
            source,
        })
    }

    /// Writes the files of a commit into `dir`, which must not exist or be empty.
    pub fn check_out(
        &self,
        commit: &Commit,
        dir: &Path,
        options: Options,
        interrupt: &AtomicBool,
    ) -> Result<CheckedOut, GitError> {
        let fetched = self.fetch(dir, Some(commit), interrupt);
        let repo = match fetched {
            Ok(repo) if has(&repo, commit) => repo,
            // Servers may refuse what no reference points to, or a shallow history.
            _ => {
                remove(dir)?;
                self.fetch(dir, None, interrupt)?
            }
        };
        let failed = |source| GitError::Checkout {
            remote: self.wanted.remote.clone(),
            commit: commit.id.clone(),
            source,
        };
        let time = write_files(&repo, &commit.id, interrupt).map_err(failed)?;
        if options.submodules {
            for module in submodules::find(&repo, &commit.id, &self.wanted.remote)? {
                let login = self.http.login.clone();
                let login = login.filter(|_| same_host(&module.url, &self.wanted.remote));
                let place = module.place(dir, &self.wanted.remote)?;
                let repository = Repository::new(
                    module.reference(),
                    login,
                    Arc::clone(&self.http.tls),
                    &self.scratch,
                );
                let commit = Commit {
                    id: module.commit.clone(),
                    reference: None,
                    tag: None,
                };
                repository.check_out(&commit, &place, options, interrupt)?;
            }
        }
        if !options.keep_git_dir {
            remove(&dir.join(".git"))?;
        }
        Ok(CheckedOut {
            commit: commit.id.clone(),
            time,
            path: self.directory(dir)?,
        })
    }

    /// The directory that was asked for; links may lead through the tree, but not out of it (E48).
    fn directory(&self, dir: &Path) -> Result<PathBuf, GitError> {
        let Some(subdir) = &self.wanted.subdir else {
            return Ok(dir.to_owned());
        };
        let missing = || GitError::Subdirectory {
            remote: self.wanted.remote.clone(),
            subdir: subdir.clone(),
        };
        let top = dir.canonicalize().map_err(|_| missing())?;
        let wanted = top.join(subdir.trim_start_matches('/'));
        let found = wanted.canonicalize().map_err(|_| missing())?;
        if !found.starts_with(&top) || !found.is_dir() || found.starts_with(top.join(".git")) {
            return Err(missing());
        }
        Ok(found)
    }
}

impl Commit {
    /// Whether `expected` is the beginning of its id, or of that of the tag it was found by (E47).
    fn is(&self, expected: &str) -> bool {
        let expected = expected.to_ascii_lowercase();
        let tag = self.tag.as_ref();
        self.id.starts_with(&expected) || tag.is_some_and(|tag| tag.starts_with(&expected))
    }
}

/// A reference of a server.
struct Listed {
    name: String,
    id: String,
    /// The annotated tag's own id.
    tag: Option<String>,
}

/// What git means by a name.
fn find(listed: &[Listed], name: &str) -> Option<Commit> {
    let names = [
        name.to_owned(),
        format!("refs/{name}"),
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
    ];
    let found = names
        .iter()
        .find_map(|name| listed.iter().find(|listed| listed.name == *name))?;
    Some(Commit {
        id: found.id.clone(),
        reference: Some(found.name.clone()),
        tag: found.tag.clone(),
    })
}

/// Nobody's settings but ours.
fn isolated() -> gix::open::Options {
    gix::open::Options::isolated()
}

fn has(repo: &gix::Repository, commit: &Commit) -> bool {
    gix::ObjectId::from_hex(commit.id.as_bytes()).is_ok_and(|id| repo.find_object(id).is_ok())
}

/// Writes a commit's files into the work tree; gives its time in seconds.
fn write_files(repo: &gix::Repository, commit: &str, interrupt: &AtomicBool) -> Result<i64, Cause> {
    let id = gix::ObjectId::from_hex(commit.as_bytes())?;
    let commit = repo.find_object(id)?.peel_to_commit()?;
    let time = commit.time()?.seconds;
    let tree = commit.tree_id()?;
    let mut index = repo.index_from_tree(&tree)?;
    let attributes = gix::worktree::stack::state::attributes::Source::IdMapping;
    let mut options = repo.checkout_options(attributes)?;
    options.destination_is_initially_empty = true;
    let workdir = repo.workdir().ok_or("the repository has no work tree")?;
    let outcome = gix::worktree::state::checkout(
        &mut index,
        workdir,
        repo.objects.clone().into_arc()?,
        &Discard,
        &Discard,
        interrupt,
        options,
    )?;
    if let Some(error) = outcome.errors.into_iter().next() {
        return Err(format!("`{}`: {}", error.path, error.error).into());
    }
    if let Some(collision) = outcome.collisions.first() {
        return Err(format!("`{}` cannot be written", collision.path).into());
    }
    index.write(gix::index::write::Options::default())?;
    Ok(time)
}

fn same_host(one: &str, other: &str) -> bool {
    let host = |text: &str| {
        url::Url::parse(text).ok().and_then(|url| {
            url.host_str()
                .map(|host| (host.to_owned(), url.port_or_known_default()))
        })
    };
    host(one).is_some_and(|host_of| host(other) == Some(host_of))
}

fn remove(dir: &Path) -> Result<(), GitError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(GitError::Io {
            operation: "remove",
            path: dir.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
