//! Entries in, packed layer out.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::block::Block;
use crate::frame::Framer;
use crate::header::RECORD;
use crate::limits::Limit;
use crate::pipeline::Pipeline;
use crate::stage::{Encoder, OutSide, TarSide, block_size};
use crate::{Compression, Entry, EntryKind, LayerError, LayerInfo};

/// Encoders started for `threads: 0` at most: each holds some MiB, and reading and hashing keep up with no more.
const MAX_DEFAULT_THREADS: usize = 8;

/// How a [`LayerWriter`] works; no field but the two about times changes a byte of the layer.
#[derive(Default)]
pub struct WriterOptions {
    /// Compressing threads; 0 means one per available core (at most 8), 1 does everything on the caller's thread.
    pub threads: usize,
    /// Every entry gets this time, in seconds since 1970.
    pub mtime_override: Option<i64>,
    /// Entries that are newer get this time, in seconds since 1970 (conformance: G43).
    pub mtime_clamp: Option<i64>,
    /// Receives the uncompressed tar as well.
    pub tee: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterOptions")
            .field("threads", &self.threads)
            .field("mtime_override", &self.mtime_override)
            .field("mtime_clamp", &self.mtime_clamp)
            .field("tee", &self.tee.is_some())
            .finish()
    }
}

/// Packs entries into a layer and writes it to `W` as it grows.
///
/// One pass, and a few MiB of memory per thread whatever the size of the layer (conformance: G23). The bytes depend
/// on the entries, their content and the compression only (conformance: G2, G44, G45).
#[derive(Debug)]
pub struct LayerWriter<W> {
    work: Work<W>,
    block: Block,
    compression: Compression,
    threads: usize,
    mtime_override: Option<i64>,
    mtime_clamp: Option<i64>,
    framer: Framer,
}

/// Who does the work.
#[derive(Debug)]
enum Work<W> {
    /// The caller's thread: small layers, one thread.
    Here(Box<Here<W>>),
    /// Other threads.
    Threads(Pipeline<W>),
    /// Nobody any more.
    Failed,
}

#[derive(Debug)]
struct Here<W> {
    tar: TarSide,
    encoder: Option<Encoder>,
    out: OutSide<W>,
    before: Option<Arc<Block>>,
    spare: Vec<u8>,
}

impl<W: Write + Send + 'static> LayerWriter<W> {
    /// Starts a layer; nothing is written and no thread is started before the first block is full.
    pub fn new(out: W, compression: Compression, options: WriterOptions) -> Self {
        let threads = match options.threads {
            0 => std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().min(MAX_DEFAULT_THREADS)),
            threads => threads,
        };
        Self {
            work: Work::Here(Box::new(Here {
                tar: TarSide::new(options.tee),
                encoder: None,
                out: OutSide::new(out, compression.format()),
                before: None,
                spare: Vec::new(),
            })),
            block: Block::new(block_size(compression)),
            compression,
            threads,
            mtime_override: options.mtime_override,
            mtime_clamp: options.mtime_clamp,
            framer: Framer::default(),
        }
    }

    /// Adds one entry; `content` must give exactly the size of a file and is not looked at for other kinds.
    ///
    /// Entries are written in the order they come; the root directory is left out (conformance: G1, G3). After an
    /// error the layer is lost and every further call fails.
    pub fn append(
        &mut self,
        entry: &Entry,
        content: Option<&mut dyn Read>,
    ) -> Result<(), LayerError> {
        if matches!(self.work, Work::Failed) {
            return Err(LayerError::WriterFailed);
        }
        let result = self.try_append(entry, content);
        if result.is_err() {
            self.work = Work::Failed;
        }
        result
    }

    fn try_append(
        &mut self,
        entry: &Entry,
        content: Option<&mut dyn Read>,
    ) -> Result<(), LayerError> {
        if entry.path.is_root() && entry.kind == EntryKind::Directory {
            return Ok(());
        }
        let mtime = self.mtime(entry);
        let mut framer = std::mem::take(&mut self.framer);
        self.put(framer.frame(entry, mtime)?)?;
        self.framer = framer;
        if let EntryKind::File { size } = entry.kind {
            Limit::FILE.check(size)?;
            self.put_content(entry, size, content.unwrap_or(&mut io::empty()))?;
        }
        Ok(())
    }

    fn mtime(&self, entry: &Entry) -> i64 {
        let mtime = self.mtime_override.unwrap_or(entry.mtime);
        self.mtime_clamp.map_or(mtime, |latest| mtime.min(latest))
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        loop {
            bytes = self.block.put(bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            self.next_block()?;
        }
    }

    /// Reads the content straight into the blocks.
    fn put_content(
        &mut self,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let mut done = 0;
        while done < size {
            if self.block.is_full() {
                self.next_block()?;
            }
            let free = self.block.free();
            let wanted =
                usize::try_from(size - done).map_or(free.len(), |left| left.min(free.len()));
            let read = read_some(content, &mut free[..wanted], entry)?;
            if read == 0 {
                return Err(wrong_size(entry, size, done));
            }
            self.block.advance(read);
            done += read as u64;
        }
        if read_some(content, &mut [0], entry)? > 0 {
            return Err(wrong_size(entry, size, size + 1));
        }
        let padding = size.next_multiple_of(RECORD as u64) - size;
        self.put(&[0; RECORD][..padding as usize])
    }

    /// Sends the full block on and gets an empty one.
    fn next_block(&mut self) -> Result<(), LayerError> {
        if self.threads > 1
            && let Work::Here(_) = &self.work
        {
            self.start_threads();
        }
        match &mut self.work {
            Work::Here(here) => {
                let full = std::mem::replace(&mut self.block, Block::new(0));
                let used = here.push(full, self.compression)?;
                self.block = used.unwrap_or_else(|| Block::new(block_size(self.compression)));
                Ok(())
            }
            Work::Threads(pipeline) => {
                let full = std::mem::replace(&mut self.block, Block::new(0));
                pipeline.push(full)?;
                self.block = pipeline.take();
                Ok(())
            }
            Work::Failed => Err(LayerError::WriterFailed),
        }
    }

    fn start_threads(&mut self) {
        let Work::Here(here) = std::mem::replace(&mut self.work, Work::Failed) else {
            return;
        };
        // Only the first full block comes here, so there is no block before it.
        let Here { tar, out, .. } = *here;
        self.work = match Pipeline::start(self.compression, self.threads, tar, out) {
            Ok(pipeline) => Work::Threads(pipeline),
            Err((tar, out)) => {
                tracing::debug!("no threads left, packing the layer on one");
                self.threads = 1;
                Work::Here(Box::new(Here {
                    tar,
                    encoder: None,
                    out,
                    before: None,
                    spare: Vec::new(),
                }))
            }
        };
    }

    /// Ends the tar, waits for all threads, and gives back the flushed `W`.
    pub fn finish(mut self) -> Result<(LayerInfo, W), LayerError> {
        self.put(&[0; 2 * RECORD])?;
        let last = std::mem::replace(&mut self.block, Block::new(0));
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Here(mut here) => {
                here.push(last, self.compression)?;
                here.out.finish(here.tar)
            }
            Work::Threads(mut pipeline) => {
                pipeline.push(last)?;
                pipeline.finish()
            }
            Work::Failed => Err(LayerError::WriterFailed),
        }
    }
}

impl<W: Write> Here<W> {
    /// Does all the work for `block`, and gives back the one before it, emptied.
    fn push(
        &mut self,
        block: Block,
        compression: Compression,
    ) -> Result<Option<Block>, LayerError> {
        self.tar.take(&block)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(Encoder::new(compression)?),
        };
        let block = Arc::new(block);
        let spare = std::mem::take(&mut self.spare);
        let packed = encoder.encode(Arc::clone(&block), self.before.as_deref(), spare)?;
        self.spare = self.out.take(packed)?.unwrap_or_default();
        let mut used = self.before.replace(block).and_then(Arc::into_inner);
        if let Some(used) = &mut used {
            used.clear();
        }
        Ok(used)
    }
}

fn read_some(content: &mut dyn Read, into: &mut [u8], entry: &Entry) -> Result<usize, LayerError> {
    loop {
        match content.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => {
                return result.map_err(|source| LayerError::Content {
                    path: entry.path.clone(),
                    source,
                });
            }
        }
    }
}

fn wrong_size(entry: &Entry, expected: u64, actual: u64) -> LayerError {
    LayerError::ContentSize {
        path: entry.path.clone(),
        expected,
        actual,
    }
}
