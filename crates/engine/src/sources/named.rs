//! Files that the caller gave a name: `--build-context NAME=DIRECTORY`, a repository, or an archive.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kiln_context::{Context, DirectoryView, FileView, open_tar};
use kiln_dockerfile::PatternSet;
use kiln_layer::{ExtractOptions, LayerReader, ReadAs, Root, extract};
use kiln_shown::SecretUrl;

use super::{SourceError, Sources};
use crate::settings::{BuildContext, BuildContextSource};

/// The files behind the names, each looked up once.
pub(crate) struct NamedFiles {
    contexts: Vec<BuildContext>,
    views: Vec<OnceLock<Arc<dyn FileView>>>,
    /// Folder for copies and for what archives hold.
    work: PathBuf,
}

impl NamedFiles {
    pub(crate) fn new(contexts: &[BuildContext], work: PathBuf) -> NamedFiles {
        NamedFiles {
            contexts: contexts.to_vec(),
            views: contexts.iter().map(|_| OnceLock::new()).collect(),
            work,
        }
    }

    /// The numbers of those that are directories of this machine.
    pub(super) fn directories(&self) -> impl Iterator<Item = usize> + '_ {
        let all = self.contexts.iter().enumerate();
        all.filter(|(_, context)| matches!(context.source, BuildContextSource::Directory(_)))
            .map(|(number, _)| number)
    }

    /// The files of the context with this number. Blocks; not for async code.
    pub(super) fn view(
        &self,
        number: usize,
        sources: &Sources,
    ) -> Result<Arc<dyn FileView>, SourceError> {
        let (Some(slot), Some(context)) = (self.views.get(number), self.contexts.get(number))
        else {
            return Err(SourceError::Unknown);
        };
        if let Some(view) = slot.get() {
            return Ok(Arc::clone(view));
        }
        let view: Arc<dyn FileView> = match &context.source {
            BuildContextSource::Directory(dir) => Arc::new(self.directory(dir, sources)?),
            BuildContextSource::Remote(url) if kiln_git::is_git(url.expose()) => {
                sources.repositories.files(url.expose(), None, None)?
            }
            BuildContextSource::Remote(url) => Arc::new(self.archive(url, sources)?),
            // These are images.
            BuildContextSource::Layout { .. } | BuildContextSource::Image(_) => {
                return Err(SourceError::Unknown);
            }
        };
        Ok(Arc::clone(slot.get_or_init(|| view)))
    }

    /// A directory of this machine; in place a copy of it, since commands could reach it.
    fn directory(&self, dir: &Path, sources: &Sources) -> Result<DirectoryView, SourceError> {
        let context = Context::open(dir, None, None)?;
        if !sources.roots().one_at_a_time() {
            return Ok(context.view()?);
        }
        let copy = sources.roots().copy_of(context.dir(), &self.work)?;
        Ok(context.view_in(&copy)?)
    }

    /// Fetches an archive and unpacks it into the work folder.
    fn archive(&self, url: &SecretUrl, sources: &Sources) -> Result<DirectoryView, SourceError> {
        let fetched = sources.downloads.get(url, None)?;
        let io = |source| SourceError::Io {
            operation: "write to",
            path: self.work.clone(),
            source,
        };
        let not = || SourceError::NoArchive { url: url.clone() };
        let opened = open_tar(fetched.content.open());
        let stream = opened
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::OutOfMemory => SourceError::Io {
                    operation: "unpack",
                    path: url.to_string().into(),
                    source,
                },
                _ => io(source),
            })?
            .ok_or_else(not)?;
        let dir = tempfile::tempdir_in(&self.work).map_err(io)?.keep();
        let root = Root::open(&dir)?;
        let reader = LayerReader::new(stream).read_as(ReadAs::Archive);
        let options = ExtractOptions {
            keep_listing: false,
            ..ExtractOptions::default()
        };
        extract(reader, &root, &options)?;
        Ok(DirectoryView::new(root, PatternSet::default()))
    }
}
