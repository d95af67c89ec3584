//! What stands for a repository in a program that was built without the feature `fetch`: every question is an error.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::commit::{CheckedOut, Commit, Options};
use crate::error::GitError;
use crate::reference::{GitReference, Login};

/// A repository on a server, which this program cannot ask.
#[derive(Debug, Clone)]
pub struct Repository {
    wanted: GitReference,
}

impl Repository {
    /// Only `wanted` is kept.
    pub fn new(
        wanted: GitReference,
        _login: Option<Login>,
        _tls: Arc<rustls::ClientConfig>,
        _scratch: &Path,
    ) -> Self {
        Self { wanted }
    }

    /// What it was made from.
    pub fn wanted(&self) -> &GitReference {
        &self.wanted
    }

    /// Always [`GitError::BuiltWithout`].
    pub fn resolve(&self, _interrupt: &AtomicBool) -> Result<Commit, GitError> {
        Err(self.refusal())
    }

    /// Always [`GitError::BuiltWithout`].
    pub fn check_out(
        &self,
        _commit: &Commit,
        _dir: &Path,
        _options: Options,
        _interrupt: &AtomicBool,
    ) -> Result<CheckedOut, GitError> {
        Err(self.refusal())
    }

    fn refusal(&self) -> GitError {
        GitError::BuiltWithout {
            remote: self.wanted.remote.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_refused_without_the_login() {
        let wanted = GitReference::parse("https://user:word@h/r.git#main").unwrap();
        let repository = Repository { wanted };
        let refused = repository.resolve(&AtomicBool::new(false)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot get files from the git repository `https://h/r.git`: this program was built without git"
        );
    }
}
