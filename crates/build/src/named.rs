//! Files that the caller gave a name: `--build-context NAME=DIRECTORY`, a repository, or an archive.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kiln_context::{Context, DirectoryView, FileView, open_tar};
use kiln_dockerfile::PatternSet;
use kiln_layer::{ExtractOptions, LayerReader, ReadAs, Root, extract};
use kiln_shown::SecretUrl;

use crate::copy::Items;
use crate::settings::BuildContextSource;
use crate::shop::Shop;
use crate::step::StepError;

/// The files behind the names, each looked up once.
#[derive(Debug, Default)]
pub(crate) struct NamedFiles {
    views: Vec<OnceLock<Arc<dyn FileView>>>,
}

impl NamedFiles {
    pub(crate) fn new(count: usize) -> NamedFiles {
        NamedFiles {
            views: (0..count).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl Shop {
    /// The files of the named context with this number. Blocks; not for async code.
    pub(crate) fn named_view(&self, number: usize) -> Result<Arc<dyn FileView>, StepError> {
        let (Some(slot), Some(context)) =
            (self.named.views.get(number), self.plan.contexts.get(number))
        else {
            return Err(StepError::Dependency);
        };
        if let Some(view) = slot.get() {
            return Ok(Arc::clone(view));
        }
        let view: Arc<dyn FileView> = match &context.source {
            BuildContextSource::Directory(dir) => Arc::new(self.directory(dir)?),
            BuildContextSource::Remote(url) if kiln_git::is_git(url.expose()) => {
                self.git_tree(url.expose(), None, None)?
            }
            BuildContextSource::Remote(url) => Arc::new(self.archive(url)?),
            // These are images.
            BuildContextSource::Layout { .. } | BuildContextSource::Image(_) => {
                return Err(StepError::Dependency);
            }
        };
        Ok(Arc::clone(slot.get_or_init(|| view)))
    }

    /// A directory of this machine; in place a copy of it, since commands could reach it.
    fn directory(&self, dir: &Path) -> Result<DirectoryView, StepError> {
        let context = Context::open(dir, None, None)?;
        if !self.roots.one_at_a_time() {
            return Ok(context.view()?);
        }
        let copy = self.roots.copy_of(context.dir(), &self.work)?;
        Ok(context.view_in(&copy)?)
    }

    /// Looks the named directories up that a command in place could reach before they are used. Blocks; not for async
    /// code.
    pub(crate) fn hold_named(&self) -> Result<(), StepError> {
        if !self.roots.one_at_a_time() {
            return Ok(());
        }
        for (number, context) in self.plan.contexts.iter().enumerate() {
            if let BuildContextSource::Directory(_) = &context.source {
                self.named_view(number)?;
            }
        }
        Ok(())
    }

    /// Fetches an archive and unpacks it into the work folder.
    fn archive(&self, url: &SecretUrl) -> Result<DirectoryView, StepError> {
        let fetched = self.fetch(url, None)?;
        let io = |source| StepError::Io {
            operation: "write to",
            path: self.work.clone(),
            source,
        };
        let not = || StepError::NoArchive { url: url.clone() };
        let opened = open_tar(fetched.content.open());
        let stream = opened
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::OutOfMemory => StepError::Io {
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

    /// The files as the layer that `FROM` a named context begins with.
    pub(crate) fn named_items(&self, number: usize) -> Result<Items, StepError> {
        self.items_of(&self.named_view(number)?, "/", false)
    }
}
