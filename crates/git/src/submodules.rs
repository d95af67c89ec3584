//! Submodules of a commit, from `.gitmodules` and the tree (conformance J8).

use std::path::{Component, Path, PathBuf};

use gix::bstr::ByteSlice;

use crate::error::{Cause, GitError};
use crate::reference::{GitReference, submodule_url};

/// One submodule: where it lies, and which commit of which repository it is.
pub(crate) struct Submodule {
    /// Its URL, made absolute.
    pub(crate) url: String,
    /// The commit that the tree names.
    pub(crate) commit: String,
    path: String,
}

/// The submodules that the tree of a commit has.
pub(crate) fn find(
    repo: &gix::Repository,
    commit: &str,
    remote: &str,
) -> Result<Vec<Submodule>, GitError> {
    list(repo, commit, remote).map_err(|source| GitError::Checkout {
        remote: remote.to_owned(),
        commit: commit.to_owned(),
        source,
    })
}

fn list(repo: &gix::Repository, commit: &str, remote: &str) -> Result<Vec<Submodule>, Cause> {
    let id = gix::ObjectId::from_hex(commit.as_bytes())?;
    let tree = repo.find_object(id)?.peel_to_tree()?;
    let Some(file) = tree.lookup_entry_by_path(".gitmodules")? else {
        return Ok(Vec::new());
    };
    let file = file.object()?;
    let modules =
        gix::submodule::File::from_bytes(&file.data, None, &gix::config::File::default())?;
    let mut found = Vec::new();
    for name in modules.names() {
        let (Ok(path), Ok(url)) = (modules.path(name), modules.url(name)) else {
            continue;
        };
        let path = path.to_str()?.to_owned();
        let Some(entry) = tree.lookup_entry_by_path(&path)? else {
            continue;
        };
        if entry.mode().is_commit() {
            let url = url.to_bstring();
            found.push(Submodule {
                url: submodule_url(remote, url.to_str()?),
                commit: entry.object_id().to_string(),
                path,
            });
        }
    }
    Ok(found)
}

impl Submodule {
    pub(crate) fn reference(&self) -> GitReference {
        GitReference {
            remote: self.url.clone(),
            login: None,
            reference: Some(self.commit.clone()),
            subdir: None,
            commit: None,
            keep_git_dir: None,
            submodules: None,
        }
    }

    /// Where its files go: a directory below `dir`, reached through no link.
    pub(crate) fn place(&self, dir: &Path, remote: &str) -> Result<PathBuf, GitError> {
        let unusable = |reason: &str| GitError::Submodule {
            remote: remote.to_owned(),
            path: self.path.clone(),
            reason: reason.to_owned(),
        };
        let mut place = dir.to_owned();
        for part in Path::new(&self.path).components() {
            let Component::Normal(part) = part else {
                return Err(unusable("its path leads out of the repository"));
            };
            place.push(part);
            match place.symlink_metadata() {
                Ok(found) if !found.is_dir() => {
                    return Err(unusable("a file or link is in its way"));
                }
                _ => {}
            }
        }
        Ok(place)
    }
}
