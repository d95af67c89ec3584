//! The receiving end of a download: a blocking thread that writes and hashes in one pass.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kiln_oci::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::RegistryError;

/// Pieces that may wait for the disk; the connection delivers at most some hundred KiB in one.
const WAITING: usize = 4;
/// As in all stores of images: not for other users.
const MODE: u32 = kiln_oci::atomic::FILE_MODE;

/// Takes pieces in order; the temporary file is gone if it is dropped.
pub(super) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    writer: JoinHandle<Result<(Digest, NamedTempFile), RegistryError>>,
    taken: u64,
}

impl Sink {
    /// A sink for the file `to` of this size, in the same directory.
    pub(super) async fn new(to: &Path, size: u64) -> Result<Self, RegistryError> {
        let wanted = to.to_owned();
        let file = blocking(move || {
            use std::os::unix::fs::PermissionsExt as _;
            let dir = wanted
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            check_room(dir, size)?;
            tempfile::Builder::new()
                .prefix(".kiln-")
                .suffix(".part")
                .permissions(std::fs::Permissions::from_mode(MODE))
                .tempfile_in(dir)
                .map_err(|source| io("create a temporary file beside", &wanted, source))
        })
        .await?;
        let (pieces, waiting) = mpsc::channel(WAITING);
        let path = to.to_owned();
        let writer = tokio::task::spawn_blocking(move || write_all(file, &path, waiting));
        Ok(Self {
            pieces,
            writer,
            taken: 0,
        })
    }

    /// Bytes taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// `false` if the writer has given up; [`finish`](Self::finish) tells why.
    pub(super) async fn take(&mut self, piece: Bytes) -> bool {
        self.taken += piece.len() as u64;
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until all is written; the digest of it, and the file still under its temporary name.
    pub(super) async fn finish(self) -> Result<(Digest, NamedTempFile), RegistryError> {
        drop(self.pieces);
        match self.writer.await {
            Ok(result) => result,
            Err(panic) => Err(io(
                "write",
                Path::new("a temporary file"),
                std::io::Error::other(panic),
            )),
        }
    }
}

/// Gives the file its name.
pub(super) async fn keep(file: NamedTempFile, to: &Path) -> Result<(), RegistryError> {
    let to = to.to_owned();
    blocking(move || {
        file.persist(&to)
            .map(|_| ())
            .map_err(|error| io("rename a temporary file to", &to, error.error))
    })
    .await
}

fn write_all(
    mut file: NamedTempFile,
    path: &Path,
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<(Digest, NamedTempFile), RegistryError> {
    let mut hasher = Sha256::new();
    while let Some(piece) = pieces.blocking_recv() {
        hasher.update(&piece);
        file.as_file_mut()
            .write_all(&piece)
            .map_err(|source| io("write", path, source))?;
    }
    Ok((Digest::from_bytes(hasher.finalize().into()), file))
}

/// A blob that cannot fit is not begun: filling the disk to find out would hurt others.
fn check_room(dir: &Path, size: u64) -> Result<(), RegistryError> {
    // Where the system does not tell, writing will.
    let Ok(found) = rustix::fs::statvfs(dir) else {
        return Ok(());
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if size <= free {
        return Ok(());
    }
    let reason = format!("No space left: it has {size} bytes, and {free} are free there");
    let source = std::io::Error::new(std::io::ErrorKind::StorageFull, reason);
    Err(io("keep a blob in", dir, source))
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(panic) => Err(io(
            "use",
            Path::new("a temporary file"),
            std::io::Error::other(panic),
        )),
    }
}

fn io(operation: &'static str, path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::Io {
        operation,
        path: PathBuf::from(path),
        source,
    }
}
