//! Packs layers while the build goes on: entries to tar to blob in the work folder, off the stage's thread.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use kiln_layer::{Compression, LayerInfo, LayerWriter, WriterOptions};
use kiln_sandbox::Cancel;

use crate::blob_folder::{blob_file, blob_path};
use crate::early::{EarlyUpload, EarlyUploads, FollowedFile};
use crate::layers::{Layer, Made, PackError, Packed, Packing};
use kiln_copy::{Content, Items};
use kiln_events::{Event, EventSink, Meter, Metered, Subject, Transfer, TransferKind};
use kiln_work::unless_cancelled::UnlessCancelled;
use kiln_work::workers::Workers;

/// How layers of our own are written.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// How the blob is compressed.
    pub compression: Compression,
    /// Threads that compress one layer.
    pub threads: usize,
    /// Every entry gets this time: `--reproducible` (G42).
    pub mtime: Option<i64>,
    /// Times after this one are cut to it: `SOURCE_DATE_EPOCH` with `--reproducible` (G43).
    pub mtime_clamp: Option<i64>,
}

impl PackOptions {
    fn time_in_layer(&self, mtime: i64) -> i64 {
        let mtime = self.mtime.unwrap_or(mtime);
        self.mtime_clamp.map_or(mtime, |latest| mtime.min(latest))
    }
}

/// Starts packing and limits how many layers are packed at once.
pub struct Packer {
    dir: PathBuf,
    options: PackOptions,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
    workers: Workers,
    early: Option<Arc<EarlyUploads>>,
    slots: Arc<Slots>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Packer {
    /// Packs into `dir`, at most `at_once` layers at a time.
    pub fn new(
        dir: PathBuf,
        options: PackOptions,
        at_once: usize,
        events: Arc<dyn EventSink>,
        cancel: Cancel,
        workers: Workers,
        early: Option<EarlyUploads>,
    ) -> Packer {
        let fixed_times = options.mtime.is_some() || options.mtime_clamp.is_some();
        Packer {
            dir,
            options,
            events,
            cancel,
            workers,
            // Without times two builds may well make the same layer, which the registry has then.
            early: early.filter(|_| !fixed_times).map(Arc::new),
            slots: Arc::new(Slots::new(at_once)),
        }
    }

    /// What is done to the times of files, in words that belong into cache keys; `None` if nothing is.
    pub fn times(&self) -> Option<String> {
        match (self.options.mtime, self.options.mtime_clamp) {
            (Some(all), _) => Some(format!("all {all}")),
            (None, Some(latest)) => Some(format!("at most {latest}")),
            (None, None) => None,
        }
    }

    /// Gives entries the times that they will have in the layer.
    pub fn settle_times(&self, items: &mut Items) {
        items.set_times(|mtime| self.options.time_in_layer(mtime));
    }

    /// Begins to pack; the layer is usable at once, its blob when somebody waits for it. `subject` is what made
    /// it.
    pub fn start(&self, mut content: Made, subject: Subject) -> Layer {
        if let Made::Items(items) = &mut content {
            // Before anybody sees them: a command finds the times that the layer has.
            self.settle_times(items);
        }
        let (layer, packing) = Layer::made(content, subject.clone());
        let job = Job {
            layer: layer.clone(),
            subject,
            dir: self.dir.clone(),
            options: self.options.clone(),
            events: Arc::clone(&self.events),
            cancel: self.cancel.clone(),
            early: self.early.clone(),
        };
        let slots = Arc::clone(&self.slots);
        let outcome = Arc::clone(&packing);
        let spawned = self.workers.start("kiln-pack", move || {
            // If packing panics, whoever waits must still hear of it.
            let _lost = FailOnDrop(Arc::clone(&outcome));
            // Before the slot: what has to be fetched may be a layer that still waits for one.
            let ready = job.prefetch();
            let _slot = slots.take();
            let packed = ready.and_then(|()| job.run());
            // Whatever it says, it was stopped.
            let packed = packed.map_err(|error| {
                if job.cancel.is_cancelled() {
                    PackError::Cancelled
                } else {
                    error
                }
            });
            // Nobody else sets it.
            let _ = outcome.set(packed.map_err(Arc::new));
        });
        if let Err(source) = spawned {
            let _ = packing.set(Err(Arc::new(PackError::Io {
                operation: "start a thread for",
                path: self.dir.clone(),
                source,
            })));
        }
        layer
    }

    /// Packs on the calling thread: for content that must not change under a packer in the background.
    pub fn now(&self, content: Made, subject: Subject) -> Result<Layer, Arc<PackError>> {
        let layer = self.start(content, subject);
        layer.describe()?;
        Ok(layer)
    }
}

struct FailOnDrop(Packing);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        // Has no effect when there is an outcome.
        let _ = self.0.set(Err(Arc::new(PackError::Lost)));
    }
}

struct Job {
    layer: Layer,
    /// What made it.
    subject: Subject,
    dir: PathBuf,
    options: PackOptions,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
    early: Option<Arc<EarlyUploads>>,
}

impl Job {
    /// Has views unpack everything they will be asked for in one pass.
    fn prefetch(&self) -> Result<(), PackError> {
        let Some(Made::Items(items)) = self.layer.content() else {
            return Ok(());
        };
        Content::prefetch(items.values()).map_err(|(path, source)| PackError::Read {
            path: path.to_string(),
            source,
        })
    }

    fn run(&self) -> Result<Packed, PackError> {
        let Some(content) = self.layer.content() else {
            return Err(PackError::Lost);
        };
        let failed = |operation| {
            let path = self.dir.clone();
            move |source| PackError::Io {
                operation,
                path,
                source,
            }
        };
        let file = blob_file(&self.dir).map_err(failed("write to"))?;
        let transfer = Transfer::new(TransferKind::Pack)
            .on_behalf_of(Some(self.subject.clone()))
            .wanting(content.tar_size());
        let meter = Arc::new(Meter::new(&self.events, transfer));
        let options = WriterOptions {
            threads: self.options.threads,
            mtime_override: self.options.mtime,
            mtime_clamp: self.options.mtime_clamp,
            tee: Some(Box::new(Metered::new(io::sink(), Some(Arc::clone(&meter))))),
        };
        let out = file.reopen().map_err(failed("write to"))?;
        let early = match content {
            Made::Items(_) => None,
            Made::Changes(_) => self.early.clone(),
        };
        let out = FollowedFile::new(out, file.path().to_owned(), early, &self.subject);
        let sink = BufWriter::with_capacity(256 * 1024, out);
        let sink = UnlessCancelled::new(sink, &self.cancel);
        let mut writer = LayerWriter::new(sink, self.options.compression, options);
        match content {
            Made::Items(items) => write_items(items, &mut writer)?,
            Made::Changes(changes) => changes.write(&mut writer).map_err(PackError::Changes)?,
        }
        let (info, sink) = writer.finish().map_err(PackError::Write)?;
        let out = sink.into_inner().into_inner();
        let out = out.map_err(|error| failed("write to")(error.into_error()))?;
        meter.done();
        self.adopt(file, info, out.end())
    }

    /// Gives the blob its name; the same blob may be there already from an equal step.
    fn adopt(
        &self,
        file: tempfile::NamedTempFile,
        info: LayerInfo,
        early: Option<EarlyUpload>,
    ) -> Result<Packed, PackError> {
        let path = blob_path(&self.dir, &info.digest);
        file.persist(&path).map_err(|error| PackError::Io {
            operation: "rename a layer to",
            path: path.clone(),
            source: error.error,
        })?;
        self.events.event(Event::LayerPacked {
            subject: Some(self.subject.clone()),
            digest: info.digest,
            size: info.size,
            uncompressed_size: info.uncompressed_size,
        });
        Ok(Packed {
            info,
            path,
            early: early.map(Arc::new),
        })
    }
}

/// Writes all items into a layer, with their content.
pub fn write_items<W: io::Write + Send + 'static>(
    items: &Items,
    writer: &mut LayerWriter<W>,
) -> Result<(), PackError> {
    for item in items.values() {
        let mut content = item.content.open().map_err(|source| PackError::Read {
            path: item.entry.path.to_string(),
            source,
        })?;
        writer
            .append(&item.entry, Some(&mut *content))
            .map_err(PackError::Write)?;
    }
    Ok(())
}

/// A counting semaphore for threads.
#[derive(Debug)]
struct Slots {
    free: Mutex<usize>,
    wake: Condvar,
}

impl Slots {
    fn new(count: usize) -> Slots {
        Slots {
            free: Mutex::new(count.max(1)),
            wake: Condvar::new(),
        }
    }

    fn take(self: &Arc<Self>) -> Slot {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.wake.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot(Arc::clone(self))
    }
}

struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free += 1;
        self.0.wake.notify_one();
    }
}
