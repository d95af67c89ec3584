//! Files that the caller gave a name with `--build-context`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kiln_context::FileView;

use super::archive::RemoteArchive;
use super::context_source::ContextSource;
use super::directory::Directory;
use super::git::Commit;
use super::{SourceError, Sources};
use crate::settings::{BuildContext, BuildContextSource};

/// The files behind the names, each looked up once.
pub(crate) struct NamedFiles {
    /// `None` for those that are images.
    contexts: Vec<Option<Box<dyn ContextSource>>>,
    views: Vec<OnceLock<Arc<dyn FileView>>>,
    /// Folder for copies and for what archives hold.
    work: PathBuf,
}

impl NamedFiles {
    pub(crate) fn new(contexts: &[BuildContext], work: PathBuf) -> NamedFiles {
        NamedFiles {
            contexts: contexts.iter().map(|one| source_of(&one.source)).collect(),
            views: contexts.iter().map(|_| OnceLock::new()).collect(),
            work,
        }
    }

    /// The numbers of those that are directories of this machine.
    pub(super) fn directories(&self) -> impl Iterator<Item = usize> + '_ {
        let all = self.contexts.iter().enumerate();
        all.filter(|(_, context)| context.as_ref().is_some_and(|source| source.is_local()))
            .map(|(number, _)| number)
    }

    /// The files of the context with this number. Blocks; not for async code.
    pub(super) fn view(
        &self,
        number: usize,
        sources: &Sources,
    ) -> Result<Arc<dyn FileView>, SourceError> {
        let (Some(slot), Some(Some(source))) = (self.views.get(number), self.contexts.get(number))
        else {
            return Err(SourceError::Unknown);
        };
        if let Some(view) = slot.get() {
            return Ok(Arc::clone(view));
        }
        let view = source.files(sources, &self.work)?;
        Ok(Arc::clone(slot.get_or_init(|| view)))
    }
}

/// The kind of source that an option names; `None` for an image, which is looked up like those of FROM.
fn source_of(source: &BuildContextSource) -> Option<Box<dyn ContextSource>> {
    match source {
        BuildContextSource::Directory(dir) => Some(Box::new(Directory(dir.clone()))),
        BuildContextSource::Remote(url) if kiln_git::is_git(url.expose()) => {
            Some(Box::new(Commit(url.clone())))
        }
        BuildContextSource::Remote(url) => Some(Box::new(RemoteArchive(url.clone()))),
        BuildContextSource::Layout { .. } | BuildContextSource::Image(_) => None,
    }
}
