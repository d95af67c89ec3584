//! Large layers are sent while they are packed.
//!
//! A registry wants the digest of a blob at the end of an upload only, so the bytes can go as they come. It is done
//! for layers that the registry cannot have already, which are those of RUN: they carry the times of files that
//! were written just now. Nothing waits for such an upload before the image is pushed; if it fails, the layer is
//! pushed as a whole then.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_events::{Event, EventSink, Meter, NoteKind, Subject, Transfer, TransferKind};
use kiln_oci::{Descriptor, Repository};
use kiln_registry::{Client, GrowingFile, Growth, Progress, RegistryError, UnnamedBlob};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Layers below this size are sent quickly enough at the end.
const LARGE: u64 = 32 << 20;

/// Where large layers go as they grow.
#[derive(Debug, Clone)]
pub struct EarlyUploads {
    /// Of the registry.
    pub client: Client,
    /// The repository of the first destination.
    pub repository: Repository,
    /// Where the uploads run.
    pub runtime: Handle,
    /// Told how far they are.
    pub events: Arc<dyn EventSink>,
}

/// An upload that began before its layer was packed.
#[derive(Debug)]
pub struct EarlyUpload {
    repository: Repository,
    events: Arc<dyn EventSink>,
    /// Taken by whoever pushes the layer.
    task: Mutex<Option<JoinHandle<Result<UnnamedBlob, RegistryError>>>>,
}

impl EarlyUploads {
    fn start(&self, file: GrowingFile, subject: Option<Subject>) -> EarlyUpload {
        let uploads = self.clone();
        let transfer = Transfer::new(TransferKind::Push)
            .on_behalf_of(subject)
            .with_repository(&self.repository);
        let meter = Arc::new(Meter::new(&self.events, transfer));
        let task = self.runtime.spawn(async move {
            let client = uploads.client.reporting(progress_of(&meter));
            let blob = client.open_upload(&uploads.repository).await?;
            let sent = client.send_growing(blob, &file).await?;
            meter.done();
            Ok(sent)
        });
        EarlyUpload {
            events: Arc::clone(&self.events),
            repository: self.repository.clone(),
            task: Mutex::new(Some(task)),
        }
    }
}

impl EarlyUpload {
    /// Ends the upload if it went to `repository`; false when the layer has to be pushed in the usual way.
    pub async fn complete(
        &self,
        client: &Client,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> bool {
        if *repository != self.repository {
            return false;
        }
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(task) = task else { return false };
        let sent = match task.await {
            Ok(Ok(blob)) => client.name_upload(blob, descriptor).await.map(drop),
            Ok(Err(error)) => Err(error),
            Err(_) => return false,
        };
        if let Err(error) = &sent {
            let text = format!("layer {} is sent once more: {error}", descriptor.digest());
            self.events.event(Event::note(NoteKind::Push, text));
        }
        sent.is_ok()
    }
}

/// What a meter hears of an upload.
pub fn progress_of(meter: &Arc<Meter>) -> Progress {
    let meter = Arc::clone(meter);
    Progress::new(move |sent| meter.reach(sent))
}

impl Drop for EarlyUpload {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            // The image was not pushed; registries forget uploads that do not go on.
            task.abort();
        }
    }
}

/// The file of a layer that is being packed; says how far it has got once somebody follows.
#[derive(Debug)]
pub(crate) struct FollowedFile {
    file: File,
    path: PathBuf,
    written: u64,
    uploads: Option<Arc<EarlyUploads>>,
    growth: Option<Growth>,
    upload: Option<EarlyUpload>,
    subject: Option<Subject>,
}

impl FollowedFile {
    /// `uploads` is for layers that are worth it, `subject` what made the layer.
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        uploads: Option<Arc<EarlyUploads>>,
        subject: &Subject,
    ) -> Self {
        FollowedFile {
            file,
            path,
            written: 0,
            uploads,
            growth: None,
            upload: None,
            subject: Some(subject.clone()),
        }
    }

    /// The file is whole: gives the upload that began meanwhile.
    pub(crate) fn end(self) -> Option<EarlyUpload> {
        if let Some(growth) = self.growth {
            growth.end();
        }
        self.upload
    }

    fn follow(&mut self) {
        if let Some(growth) = &self.growth {
            return growth.grew(self.written);
        }
        if self.written < LARGE {
            return;
        }
        let Some(uploads) = self.uploads.take() else {
            return;
        };
        // A reader of its own; without one the layer is sent at the end, as the small ones are.
        if let Ok(reader) = File::open(&self.path) {
            let (file, growth) = GrowingFile::new(reader, self.written);
            self.growth = Some(growth);
            self.upload = Some(uploads.start(file, self.subject.take()));
        }
    }
}

impl io::Write for FollowedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        self.follow();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
