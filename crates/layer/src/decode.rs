//! The packed stream unpacked: gzip with any number of members, zstd with any number of frames, or plain.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use kiln_oci::LayerCompression;

use crate::LayerError;
use crate::limits::ZSTD_WINDOW_LOG;

/// Input is read in pieces of this many bytes.
const BUFFER: usize = 64 * 1024;

/// Where packed bytes come from; counts them, and remembers that a failure was the source's and not the stream's.
#[derive(Debug)]
struct Packed<R> {
    inner: R,
    /// The first bytes, looked at to tell what the stream is and not yet given out.
    head: Vec<u8>,
    read: u64,
    failed: bool,
}

impl<R: Read> Packed<R> {
    /// The first four bytes, or fewer if there are no more.
    fn head(&mut self) -> io::Result<&[u8]> {
        while self.head.len() < 4 {
            let mut bytes = [0; 4];
            let wanted = 4 - self.head.len();
            let read = self.read_inner(&mut bytes[..wanted])?;
            if read == 0 {
                break;
            }
            self.head.extend_from_slice(&bytes[..read]);
        }
        Ok(&self.head)
    }

    fn read_inner(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buf);
        match &result {
            Ok(bytes) => self.read += *bytes as u64,
            Err(error) => self.failed = error.kind() != io::ErrorKind::Interrupted,
        }
        result
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            return self.read_inner(buf);
        }
        let bytes = buf.len().min(self.head.len());
        buf[..bytes].copy_from_slice(&self.head[..bytes]);
        self.head.drain(..bytes);
        Ok(bytes)
    }
}

type Source<R> = BufReader<Packed<R>>;

/// Decompresses what its first bytes say it is (conformance: I26).
pub(crate) struct Decoder<R> {
    state: State<R>,
}

enum State<R> {
    /// Nothing read yet.
    New(Source<R>),
    Plain(Source<R>),
    Gzip(Box<GzDecoder<Source<R>>>),
    /// Between two members; the last one is complete.
    GzipEnd(Source<R>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
    /// Only while changing from one to another.
    Moving,
}

impl<R> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression())
            .finish_non_exhaustive()
    }
}

impl<R> Decoder<R> {
    pub(crate) fn compression(&self) -> Option<LayerCompression> {
        match self.state {
            State::New(_) | State::Moving => None,
            State::Plain(_) => Some(LayerCompression::None),
            State::Gzip(_) | State::GzipEnd(_) => Some(LayerCompression::Gzip),
            State::Zstd(_) => Some(LayerCompression::Zstd),
        }
    }
}

impl<R: Read> Decoder<R> {
    fn source(&self) -> Option<&Packed<R>> {
        Some(match &self.state {
            State::New(source) | State::Plain(source) | State::GzipEnd(source) => source.get_ref(),
            State::Gzip(decoder) => decoder.get_ref().get_ref(),
            State::Zstd(decoder) => decoder.get_ref().get_ref(),
            State::Moving => return None,
        })
    }

    pub(crate) fn new(inner: R) -> Self {
        let packed = Packed {
            inner,
            head: Vec::new(),
            read: 0,
            failed: false,
        };
        Self {
            state: State::New(BufReader::with_capacity(BUFFER, packed)),
        }
    }

    /// Unpacks some bytes; none at the end of a stream that is whole.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, LayerError> {
        loop {
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.explain(error)),
            }
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::New(source) => {
                    let format = format_of(source.get_mut().head()?);
                    self.detect(format)?;
                }
                State::Plain(source) => return source.read(buf),
                State::Zstd(decoder) => return decoder.read(buf),
                State::Gzip(decoder) => {
                    let bytes = decoder.read(buf)?;
                    if bytes > 0 || buf.is_empty() {
                        return Ok(bytes);
                    }
                    if let State::Gzip(decoder) = self.change() {
                        self.state = State::GzipEnd(decoder.into_inner());
                    }
                }
                State::GzipEnd(source) => {
                    if !next_member(source)? {
                        return Ok(0);
                    }
                    if let State::GzipEnd(source) = self.change() {
                        self.state = State::Gzip(Box::new(GzDecoder::new(source)));
                    }
                }
                State::Moving => return Err(io::Error::other("the stream failed before")),
            }
        }
    }

    fn change(&mut self) -> State<R> {
        std::mem::replace(&mut self.state, State::Moving)
    }

    fn detect(&mut self, format: LayerCompression) -> io::Result<()> {
        let State::New(source) = self.change() else {
            return Ok(());
        };
        self.state = match format {
            LayerCompression::Gzip => State::Gzip(Box::new(GzDecoder::new(source))),
            LayerCompression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
            LayerCompression::None => State::Plain(source),
        };
        Ok(())
    }

    fn explain(&self, source: io::Error) -> LayerError {
        let (offset, failed) = self
            .source()
            .map_or((0, false), |source| (source.read, source.failed));
        match self.compression() {
            Some(compression) if !failed && compression != LayerCompression::None => {
                LayerError::Decompress {
                    compression,
                    offset,
                    source,
                }
            }
            _ => LayerError::Read { offset, source },
        }
    }
}

fn format_of(head: &[u8]) -> LayerCompression {
    match head {
        [0x1f, 0x8b, ..] => LayerCompression::Gzip,
        // A frame, or a skippable frame before one.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => LayerCompression::Zstd,
        _ => LayerCompression::None,
    }
}

/// Is there a further gzip member? Zeros after the last are padding, as from tapes; anything else is damage.
fn next_member<R: Read>(source: &mut Source<R>) -> io::Result<bool> {
    loop {
        let start = source.fill_buf()?;
        let zeros = start.iter().take_while(|&&b| b == 0).count();
        match start.get(zeros) {
            None if start.is_empty() => return Ok(false),
            None => source.consume(zeros),
            Some(&byte) if zeros == 0 && byte == 0x1f => return Ok(true),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "bytes that are not gzip follow the compressed data",
                ));
            }
        }
    }
}
