//! Where files come from that a Dockerfile names and that are in no image: the build context, downloads, repositories,
//! and what the caller gave names. Each is had once a build.

mod archive;
mod context_source;
mod directory;
mod downloads;
mod git;
mod named;
mod repositories;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kiln_context::{Context, ContextError, FileView};
use kiln_layer::LayerError;
use kiln_shown::SecretUrl;

use crate::held::SecretError;
use kiln_download::FetchError;
use kiln_rootfs::{Aside, RootError, Roots};

pub(crate) use downloads::Downloads;
pub(crate) use named::NamedFiles;
pub(crate) use repositories::Repositories;

/// Why files that a Dockerfile names cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A named context whose URL gives no archive.
    #[error("`{url}` is not a tar archive")]
    NoArchive {
        /// The URL.
        url: SecretUrl,
    },
    /// There is no way to speak https.
    #[error("cannot set up https")]
    Tls(#[source] kiln_registry::SettingsError),
    /// A repository cannot be had.
    #[error(transparent)]
    Git(#[from] kiln_git::GitError),
    /// The token for a repository cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A directory cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A directory cannot be kept away from a command in place.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An archive cannot be unpacked.
    #[error(transparent)]
    Files(#[from] LayerError),
    /// The work folder refuses.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// There is no such source in this build.
    #[error("there is no such source")]
    Unknown,
    /// The build was interrupted.
    #[error("interrupted")]
    Cancelled,
}

/// The sources of one build.
pub(crate) struct Sources {
    context: Arc<Context>,
    view: OnceLock<Arc<dyn FileView>>,
    /// The context's directory, which in place may have to make room for the image.
    aside: Arc<Aside>,
    pub(crate) downloads: Arc<Downloads>,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) named: NamedFiles,
    roots: Arc<Roots>,
}

impl Sources {
    pub(crate) fn new(
        context: Arc<Context>,
        aside: Arc<Aside>,
        downloads: Arc<Downloads>,
        repositories: Arc<Repositories>,
        named: NamedFiles,
        roots: Arc<Roots>,
    ) -> Sources {
        Sources {
            context,
            view: OnceLock::new(),
            aside,
            downloads,
            repositories,
            named,
            roots,
        }
    }

    /// The build context as COPY and ADD see it.
    pub(crate) fn context_view(&self) -> Result<Arc<dyn FileView>, SourceError> {
        if let Some(view) = self.view.get() {
            return Ok(Arc::clone(view));
        }
        let in_place = self.roots.one_at_a_time();
        let view = self.aside.view(|dir| {
            let view = self.context.view_in(dir)?;
            // A command in place could reach the context while it is packed.
            Ok::<_, SourceError>(if in_place { view.unstable() } else { view })
        })?;
        Ok(Arc::clone(self.view.get_or_init(|| view)))
    }

    /// The context's directory, if all that is in it belongs to the context.
    pub(crate) fn whole_context_dir(&self) -> Option<&Path> {
        (!self.context.has_ignore_rules()).then(|| self.context.dir())
    }

    /// The files of the named context with this number. Blocks; not for async code.
    pub(crate) fn named_view(&self, number: usize) -> Result<Arc<dyn FileView>, SourceError> {
        self.named.view(number, self)
    }

    /// Looks the named directories up that a command in place could reach before they are used. Blocks; not for async
    /// code.
    pub(crate) fn hold_named(&self) -> Result<(), SourceError> {
        if !self.roots.one_at_a_time() {
            return Ok(());
        }
        for number in self.named.directories() {
            self.named_view(number)?;
        }
        Ok(())
    }

    pub(super) fn roots(&self) -> &Roots {
        &self.roots
    }
}
