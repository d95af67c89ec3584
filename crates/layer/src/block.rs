//! Fixed-size pieces of the tar stream, recycled between the threads that look at them.

use std::ops::Deref;

use crossbeam_channel::{Receiver, Sender, bounded};

/// A buffer that goes back to its pool when its last user drops it.
#[derive(Debug)]
pub(crate) struct Block {
    /// Always as long as a full block, so that readers can be pointed at it without filling it with zeros again.
    data: Vec<u8>,
    filled: usize,
    home: Option<Sender<Vec<u8>>>,
}

impl Block {
    /// A block of its own, that belongs to no pool.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            data: vec![0; size],
            filled: 0,
            home: None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.data.len()
    }

    /// The free part; what was put there counts after [`Block::advance`].
    pub(crate) fn free(&mut self) -> &mut [u8] {
        &mut self.data[self.filled..]
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.filled += bytes;
        debug_assert!(self.filled <= self.data.len());
    }

    /// Takes in as much of `bytes` as fits and gives the rest.
    pub(crate) fn put<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let free = self.free();
        let (fits, rest) = bytes.split_at(bytes.len().min(free.len()));
        free[..fits.len()].copy_from_slice(fits);
        self.advance(fits.len());
        rest
    }

    /// Forgets the content.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data[..self.filled]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            // The pool may be gone, or was never this large: then the memory is freed.
            let _ = home.try_send(std::mem::take(&mut self.data));
        }
    }
}

/// At most so many blocks at a time; this is what bounds the memory of a writer.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    left_to_make: usize,
    home: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
}

impl Pool {
    pub(crate) fn new(size: usize, blocks: usize) -> Self {
        let (home, returned) = bounded(blocks);
        Self {
            size,
            left_to_make: blocks,
            home,
            returned,
        }
    }

    /// An empty block; waits until one comes back when all are in use.
    pub(crate) fn take(&mut self) -> Block {
        let data = match self.returned.try_recv() {
            Ok(data) => data,
            Err(_) if self.left_to_make > 0 => {
                self.left_to_make -= 1;
                vec![0; self.size]
            }
            // `home` keeps the channel open, so this waits and does not fail.
            Err(_) => self.returned.recv().unwrap_or_else(|_| vec![0; self.size]),
        };
        Block {
            data,
            filled: 0,
            home: Some(self.home.clone()),
        }
    }
}
