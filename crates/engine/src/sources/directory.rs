//! A directory of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_context::{Context, FileView};

use super::context_source::ContextSource;
use super::{SourceError, Sources};

#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl ContextSource for Directory {
    /// In place a copy of it, since commands could reach it.
    fn files(&self, sources: &Sources, work: &Path) -> Result<Arc<dyn FileView>, SourceError> {
        let context = Context::open(&self.0, None, None)?;
        let context = context.telling(sources.context.notices().clone());
        if !sources.roots().one_at_a_time() {
            return Ok(Arc::new(context.view()?));
        }
        let copy = sources.roots().copy_of(context.dir(), work)?;
        Ok(Arc::new(context.view_in(&copy)?))
    }

    fn is_local(&self) -> bool {
        true
    }
}
