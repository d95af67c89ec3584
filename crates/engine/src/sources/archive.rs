//! A tar archive at a URL, unpacked into the work folder.

use std::path::Path;
use std::sync::Arc;

use kiln_context::{DirectoryView, FileView, open_tar};
use kiln_dockerfile::PatternSet;
use kiln_layer::{ExtractOptions, LayerReader, ReadAs, Root, extract};
use kiln_shown::SecretUrl;

use super::context_source::ContextSource;
use super::{SourceError, Sources};

#[derive(Debug)]
pub(super) struct RemoteArchive(pub(super) SecretUrl);

impl ContextSource for RemoteArchive {
    fn files(&self, sources: &Sources, work: &Path) -> Result<Arc<dyn FileView>, SourceError> {
        let url = &self.0;
        let fetched = sources.downloads.get(url, None)?;
        let io = |source| SourceError::Io {
            operation: "write to",
            path: work.to_owned(),
            source,
        };
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
            .ok_or_else(|| SourceError::NoArchive { url: url.clone() })?;
        let dir = tempfile::tempdir_in(work).map_err(io)?.keep();
        let root = Root::open(&dir)?;
        let reader = LayerReader::new(stream).read_as(ReadAs::Archive);
        let options = ExtractOptions {
            keep_listing: false,
            ..ExtractOptions::default()
        };
        extract(reader, &root, &options)?;
        Ok(Arc::new(DirectoryView::new(root, PatternSet::default())))
    }

    fn is_local(&self) -> bool {
        false
    }
}
