//! The files of a commit of a git repository.

use std::path::Path;
use std::sync::Arc;

use kiln_context::FileView;
use kiln_shown::SecretUrl;

use super::context_source::ContextSource;
use super::{SourceError, Sources};

#[derive(Debug)]
pub(super) struct Commit(pub(super) SecretUrl);

impl ContextSource for Commit {
    fn files(&self, sources: &Sources, _work: &Path) -> Result<Arc<dyn FileView>, SourceError> {
        Ok(sources.repositories.files(self.0.expose(), None, None)?)
    }

    fn is_local(&self) -> bool {
        false
    }
}
