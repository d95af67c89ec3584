//! The stages on threads of their own, joined by channels that a fixed number of blocks goes round in.
//!
//! ```text
//! caller ── block ──┬──> tar side (diff-id, copy)
//!                   ├──> encoder 1..n ──┐ one reply per block
//!                   └──> out side <─────┘ takes the replies in the order of the blocks
//! ```
//!
//! Only [`Pool::take`] ever waits on the caller's side, and blocks always come back to it: whatever fails drops what
//! it holds and what is queued for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::block::{Block, Pool};
use crate::stage::{Encoder, OutSide, Packed, TarSide, block_size};
use crate::{Compression, LayerError, LayerInfo};

type Reply = Result<Packed, LayerError>;

#[derive(Debug)]
struct Job {
    block: Arc<Block>,
    before: Option<Arc<Block>>,
    reply: Sender<Reply>,
}

/// The running threads; dropping it ends and joins them.
#[derive(Debug)]
pub(crate) struct Pipeline<W> {
    pool: Pool,
    before: Option<Arc<Block>>,
    queues: Option<Queues>,
    tar: Option<JoinHandle<Result<TarSide, LayerError>>>,
    encoders: Vec<JoinHandle<()>>,
    out: Option<JoinHandle<Result<OutSide<W>, LayerError>>>,
}

#[derive(Debug)]
struct Queues {
    tar: Sender<Arc<Block>>,
    jobs: Sender<Job>,
    replies: Sender<Receiver<Reply>>,
}

impl<W: Write + Send + 'static> Pipeline<W> {
    /// Starts `threads` encoders and the two sides.
    ///
    /// # Errors
    ///
    /// Gives everything back when the system has no threads left, so that the caller can do the work itself.
    #[expect(
        clippy::result_large_err,
        reason = "the sides come back unchanged, nothing is lost"
    )]
    pub(crate) fn start(
        compression: Compression,
        threads: usize,
        tar: TarSide,
        out: OutSide<W>,
    ) -> Result<Self, (TarSide, OutSide<W>)> {
        // Each encoder works on one block while the next waits; the others are with the caller (two, with the
        // dictionary), the sides, and on their way.
        let blocks = 2 * threads + 4;
        let (tar_queue, tar_blocks) = bounded::<Arc<Block>>(blocks);
        let (job_queue, jobs) = bounded::<Job>(blocks);
        let (reply_queue, replies) = bounded::<Receiver<Reply>>(blocks);
        let (spare_queue, spares) = bounded::<Vec<u8>>(blocks);

        let mut encoders = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (jobs, spares) = (jobs.clone(), spares.clone());
            let encoder = spawn("encode", move || encode_all(compression, &jobs, &spares));
            match encoder {
                Ok(handle) => encoders.push(handle),
                // Fewer encoders give the same bytes.
                Err(_) if !encoders.is_empty() => break,
                Err(_) => return Err((tar, out)),
            }
        }
        // The sides travel through a channel, so that a thread that cannot start does not take its side with it.
        let (hand_tar, take_tar) = bounded(1);
        let (hand_out, take_out) = bounded(1);
        let tar_thread = spawn("hash", move || hash_all(&take_tar, &tar_blocks));
        let out_thread = spawn("write", move || {
            write_all(&take_out, &replies, &spare_queue)
        });
        let (Ok(tar_thread), Ok(out_thread)) = (tar_thread, out_thread) else {
            return Err((tar, out));
        };
        // Both receivers are alive: their threads wait for nothing else.
        let _ = hand_tar.send(tar);
        let _ = hand_out.send(out);
        Ok(Self {
            pool: Pool::new(block_size(compression), blocks),
            before: None,
            queues: Some(Queues {
                tar: tar_queue,
                jobs: job_queue,
                replies: reply_queue,
            }),
            tar: Some(tar_thread),
            encoders,
            out: Some(out_thread),
        })
    }

    /// An empty block.
    pub(crate) fn take(&mut self) -> Block {
        self.pool.take()
    }

    /// Sends a block on its way; the error is that of whichever thread failed first.
    pub(crate) fn push(&mut self, block: Block) -> Result<(), LayerError> {
        let block = Arc::new(block);
        let before = self.before.replace(Arc::clone(&block));
        let (reply, answer) = bounded(1);
        let Some(queues) = &self.queues else {
            return Err(LayerError::WriterFailed);
        };
        let job = Job {
            block: Arc::clone(&block),
            before,
            reply,
        };
        // Each queue has room for every block of the pool, so none of these waits.
        let running = queues.replies.send(answer).is_ok()
            && queues.jobs.send(job).is_ok()
            && queues.tar.send(block).is_ok();
        if running {
            return Ok(());
        }
        Err(self.join().err().unwrap_or(LayerError::WriterFailed))
    }

    /// Waits until everything is written.
    pub(crate) fn finish(mut self) -> Result<(LayerInfo, W), LayerError> {
        let (tar, out) = self.join()?;
        out.finish(tar)
    }

    fn join(&mut self) -> Result<(TarSide, OutSide<W>), LayerError> {
        self.queues = None;
        self.before = None;
        let out = self.out.take().map(JoinHandle::join);
        let tar = self.tar.take().map(JoinHandle::join);
        let encoders: Vec<_> = self.encoders.drain(..).map(JoinHandle::join).collect();
        // A panic in a thread is a bug of ours; it goes on in the caller, as it would without threads.
        if let Some(panic) = encoders.into_iter().find_map(Result::err) {
            std::panic::resume_unwind(panic);
        }
        let out = out.map(|out| out.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let tar = tar.map(|tar| tar.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        match (tar, out) {
            (Some(tar), Some(out)) => Ok((tar?, out?)),
            _ => Err(LayerError::WriterFailed),
        }
    }
}

impl<W> Drop for Pipeline<W> {
    fn drop(&mut self) {
        self.queues = None;
        self.before = None;
        // Only when the layer is given up: nobody asks for these results any more, but the threads must have let go
        // of `W` when this returns.
        for encoder in self.encoders.drain(..) {
            let _ = encoder.join();
        }
        if let Some(tar) = self.tar.take() {
            let _ = tar.join();
        }
        if let Some(out) = self.out.take() {
            let _ = out.join();
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(format!("layer-{name}"))
        .spawn(work)
}

fn encode_all(compression: Compression, jobs: &Receiver<Job>, spares: &Receiver<Vec<u8>>) {
    let mut encoder = None;
    for job in jobs {
        let spare = spares.try_recv().unwrap_or_default();
        let before = job.before.as_deref();
        let encoded = match &mut encoder {
            Some(encoder) => Encoder::encode(encoder, job.block, before, spare),
            None => Encoder::new(compression)
                .and_then(|new| encoder.insert(new).encode(job.block, before, spare)),
        };
        // Nobody waits when the out side has failed.
        let _ = job.reply.send(encoded);
    }
}

fn hash_all(
    side: &Receiver<TarSide>,
    blocks: &Receiver<Arc<Block>>,
) -> Result<TarSide, LayerError> {
    let mut side = side.recv().map_err(|_| LayerError::WriterFailed)?;
    for block in blocks {
        side.take(&block)?;
    }
    Ok(side)
}

fn write_all<W: Write>(
    side: &Receiver<OutSide<W>>,
    replies: &Receiver<Receiver<Reply>>,
    spares: &Sender<Vec<u8>>,
) -> Result<OutSide<W>, LayerError> {
    let mut side = side.recv().map_err(|_| LayerError::WriterFailed)?;
    for reply in replies {
        let packed = reply.recv().map_err(|_| LayerError::WriterFailed)??;
        if let Some(spare) = side.take(packed)? {
            // Full only when no encoder wants one.
            let _ = spares.try_send(spare);
        }
    }
    Ok(side)
}
