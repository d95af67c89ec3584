//! From a pipe to whole lines.

use std::io;
use std::os::fd::OwnedFd;

use crate::Stream;

/// A line longer than this is passed on in pieces, so that output without newlines cannot fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// One output of the command.
pub(crate) struct Output {
    pipe: Option<OwnedFd>,
    stream: Stream,
    buffer: Vec<u8>,
    pending: Vec<u8>,
}

impl Output {
    /// Takes the reading end of a pipe and makes it non-blocking.
    pub(crate) fn new(pipe: OwnedFd, stream: Stream) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&pipe)?;
        rustix::fs::fcntl_setfl(&pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self {
            pipe: Some(pipe),
            stream,
            buffer: vec![0; 32 * 1024],
            pending: Vec::new(),
        })
    }

    /// The pipe, until its end was seen.
    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Passes on what is there now; `true` if there may be more.
    pub(crate) fn read(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<bool> {
        let Some(pipe) = &self.pipe else {
            return Ok(false);
        };
        match rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut self.buffer[..])) {
            Ok(0) => {
                self.pipe = None;
                self.flush(sink);
                Ok(false)
            }
            Ok(count) => {
                split(&mut self.pending, &self.buffer[..count], &mut |line| {
                    sink(self.stream, line);
                });
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Passes on everything that is left, without waiting for whoever may still hold the other end.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        while self.read(sink)? {}
        self.flush(sink);
        Ok(())
    }

    fn flush(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) {
        if !self.pending.is_empty() {
            sink(self.stream, &self.pending);
            self.pending.clear();
        }
    }
}

/// Hands every complete line of `pending` + `data` to `sink` and keeps the rest in `pending`.
fn split(pending: &mut Vec<u8>, data: &[u8], sink: &mut dyn FnMut(&[u8])) {
    for piece in data.split_inclusive(|byte| *byte == b'\n') {
        if pending.is_empty() && piece.ends_with(b"\n") {
            sink(piece);
            continue;
        }
        pending.extend_from_slice(piece);
        if piece.ends_with(b"\n") || pending.len() >= LONGEST_LINE {
            sink(pending);
            pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: D10
    #[test]
    fn lines_come_whole() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&["a\nb\n"], &["a\n", "b\n"], ""),
            (&["a", "b", "\nc"], &["ab\n"], "c"),
            (&["\n\n", "x"], &["\n", "\n"], "x"),
            (&["one\rtwo\r\n"], &["one\rtwo\r\n"], ""),
        ];
        assert!(!cases.is_empty());
        for (chunks, lines, rest) in cases {
            let mut pending = Vec::new();
            let mut seen = Vec::new();
            for chunk in *chunks {
                split(&mut pending, chunk.as_bytes(), &mut |line| {
                    seen.push(String::from_utf8(line.to_vec()).unwrap());
                });
            }
            assert_eq!(&seen, lines, "{chunks:?}");
            assert_eq!(pending, rest.as_bytes(), "{chunks:?}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow() {
        let mut pending = Vec::new();
        let mut total = 0;
        for _ in 0..100 {
            split(&mut pending, &[b'x'; 10_000], &mut |piece| {
                total += piece.len();
            });
            assert!(pending.len() < LONGEST_LINE);
        }
        assert_eq!(total + pending.len(), 1_000_000);
    }
}
