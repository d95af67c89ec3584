//! The body of an upload: a file read ahead on a blocking thread, in pieces that keep memory bounded.

use std::future::Future;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::blob_source::BlobSource;
use crate::error::RegistryError;
use crate::growing_file::GrowingFile;
use crate::progress::Progress;

/// One read of the file. Three of them exist at a time: being read, waiting, being sent.
const READ: usize = 512 << 10;
/// What the connection takes at once; also how finely progress is seen.
const PIECE: usize = 64 << 10;
/// Registries may copy a blob when it is complete; this many bytes per second are granted for it.
const COMMIT_RATE: u64 = 10 << 20;

/// Whether a request makes progress (I17).
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    size: u64,
    sent: AtomicU64,
    /// Bytes of the blob that were sent before.
    before: u64,
    progress: Option<Progress>,
    /// Milliseconds after `start` at which a piece was last taken.
    last: AtomicU64,
    failure: Mutex<Option<RegistryError>>,
}

impl Activity {
    /// Of a request with `size` bytes of a blob, which has `before` bytes ahead of them.
    pub(crate) fn new(size: u64, before: u64, progress: Option<Progress>) -> Self {
        Self {
            start: Instant::now(),
            size,
            sent: AtomicU64::new(0),
            before,
            progress,
            last: AtomicU64::new(0),
            failure: Mutex::default(),
        }
    }

    fn moved(&self, bytes: usize) {
        let sent = self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if let Some(progress) = &self.progress {
            progress.reach(self.before + sent);
        }
        self.last
            .store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn fail(&self, error: RegistryError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why the body could not be produced, if that is what went wrong.
    pub(crate) fn take_failure(&self) -> Option<RegistryError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Until when the next sign of life must come; later once all is sent and the registry has work to do.
    fn deadline(&self, patience: Duration) -> Instant {
        let sent = self.sent.load(Ordering::Relaxed);
        let work = if sent >= self.size {
            Duration::from_secs(self.size / COMMIT_RATE)
        } else {
            Duration::ZERO
        };
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + patience + work
    }

    /// Runs `request` until it ends, or nothing moves for `patience`: then `None`.
    pub(crate) async fn watch<T>(
        &self,
        patience: Duration,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        let mut request = std::pin::pin!(request);
        loop {
            let deadline = self.deadline(patience);
            tokio::select! {
                done = &mut request => return Some(done),
                () = tokio::time::sleep_until(deadline.into()) => {
                    if self.deadline(patience) <= Instant::now() {
                        return None;
                    }
                }
            }
        }
    }
}

/// `size` bytes of the blob from `offset` on, as a request body.
pub(crate) async fn body(
    source: &BlobSource,
    offset: u64,
    size: u64,
    activity: &Arc<Activity>,
) -> Result<reqwest::Body, RegistryError> {
    let (sender, receiver) = mpsc::channel(1);
    match source {
        BlobSource::Bytes(bytes) => {
            let end = (offset + size).min(bytes.len() as u64) as usize;
            let _ = sender.try_send(bytes.slice(offset as usize..end));
        }
        BlobSource::File(path) => read_file(path, offset, size, sender, activity).await?,
        BlobSource::Part(path, start) => {
            read_file(path, start + offset, size, sender, activity).await?;
        }
    }
    let activity = Arc::clone(activity);
    let pieces =
        futures_util::stream::unfold((receiver, Bytes::new()), move |(mut receiver, mut rest)| {
            let activity = Arc::clone(&activity);
            async move {
                if rest.is_empty() {
                    rest = receiver.recv().await?;
                }
                let piece = rest.split_to(rest.len().min(PIECE));
                activity.moved(piece.len());
                Some((Ok::<_, std::io::Error>(piece), (receiver, rest)))
            }
        });
    Ok(reqwest::Body::wrap_stream(pieces))
}

/// A file that is still being written, as a request body that ends where the file does. Breaks off when its
/// writer does.
pub(crate) fn growing_body(file: &GrowingFile, activity: &Arc<Activity>) -> reqwest::Body {
    let state = (file.clone(), Arc::clone(activity), 0_u64);
    let pieces = futures_util::stream::try_unfold(state, |(mut file, activity, at)| async move {
        let Some(end) = file.beyond(at).await? else {
            return Ok::<_, std::io::Error>(None);
        };
        let want = (end - at).min(READ as u64);
        let source = Arc::clone(&file.file);
        let read = tokio::task::spawn_blocking(move || read_piece(&source, at, want));
        let piece = read
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))?;
        activity.moved(piece.len());
        let at = at + piece.len() as u64;
        Ok(Some((piece, (file, activity, at))))
    });
    reqwest::Body::wrap_stream(pieces)
}

fn read_piece(file: &std::fs::File, at: u64, want: u64) -> std::io::Result<Bytes> {
    let mut piece = vec![0; want as usize];
    let read = file.read_at(&mut piece, at)?;
    if read == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(read);
    Ok(piece.into())
}

/// Begins to read a file into the channel.
async fn read_file(
    path: &Path,
    offset: u64,
    size: u64,
    sender: mpsc::Sender<Bytes>,
    activity: &Arc<Activity>,
) -> Result<(), RegistryError> {
    let file = open(path, offset).await?;
    let (path, activity) = (path.to_owned(), Arc::clone(activity));
    tokio::task::spawn_blocking(move || read_ahead(file, &path, size, &sender, &activity));
    Ok(())
}

async fn open(path: &Path, offset: u64) -> Result<std::fs::File, RegistryError> {
    let wanted = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(&wanted)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    });
    let opened = opened
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    opened.map_err(|source| read_error(path, source))
}

fn read_ahead(
    mut file: std::fs::File,
    path: &Path,
    size: u64,
    sender: &mpsc::Sender<Bytes>,
    activity: &Activity,
) {
    let mut left = size;
    while left > 0 {
        let want = left.min(READ as u64);
        let mut piece = Vec::with_capacity(want as usize);
        match file.by_ref().take(want).read_to_end(&mut piece) {
            // Shorter than its descriptor: the request ends early and fails, with the reason noted here.
            Ok(0) => {
                return activity.fail(read_error(path, std::io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(read) => left -= read as u64,
            Err(source) => return activity.fail(read_error(path, source)),
        }
        if sender.blocking_send(piece.into()).is_err() {
            return;
        }
    }
}

fn read_error(path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::Io {
        operation: "read",
        path: PathBuf::from(path),
        source,
    }
}
