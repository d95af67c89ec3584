//! A file that is read while it is still being written.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::watch;

/// How far a file has got.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    bytes: u64,
    whole: bool,
}

/// A file that somebody still writes to, for reading.
#[derive(Debug, Clone)]
pub struct GrowingFile {
    pub(crate) file: Arc<File>,
    progress: watch::Receiver<Progress>,
}

/// The writer's side of a [`GrowingFile`]. Dropped before [`end`](Self::end), it breaks the reading off.
#[derive(Debug)]
pub struct Growth(watch::Sender<Progress>);

impl GrowingFile {
    /// A file that is open for reading and holds `bytes` by now, and will only be appended to. Its name may change.
    pub fn new(file: File, bytes: u64) -> (Self, Growth) {
        let (sender, progress) = watch::channel(Progress {
            bytes,
            whole: false,
        });
        let file = Arc::new(file);
        (Self { file, progress }, Growth(sender))
    }

    /// Waits until the file is longer than `at` and gives its length; `None` if it ends there.
    pub(crate) async fn beyond(&mut self, at: u64) -> std::io::Result<Option<u64>> {
        let grown = self
            .progress
            .wait_for(|progress| progress.bytes > at || progress.whole)
            .await;
        match grown {
            Ok(progress) if progress.bytes > at => Ok(Some(progress.bytes)),
            Ok(_) => Ok(None),
            Err(_) => Err(std::io::Error::other("the file was given up")),
        }
    }
}

impl Growth {
    /// The file holds `bytes` now.
    pub fn grew(&self, bytes: u64) {
        self.0.send_modify(|progress| progress.bytes = bytes);
    }

    /// The file is whole.
    pub fn end(self) {
        self.0.send_modify(|progress| progress.whole = true);
    }
}
