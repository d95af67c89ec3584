//! Streams that end when the build does, wherever it is in them.

use std::io;

use kiln_sandbox::Cancel;

/// Bytes on their way, until the build is cancelled: then the next read or write fails, so that packing, unpacking and
/// copying stop in the middle of a file, whatever its size.
#[derive(Debug)]
pub struct UnlessCancelled<T> {
    inner: T,
    cancel: Cancel,
}

impl<T> UnlessCancelled<T> {
    /// Reads and writes `inner` until `cancel` is raised.
    pub fn new(inner: T, cancel: &Cancel) -> UnlessCancelled<T> {
        UnlessCancelled {
            inner,
            cancel: cancel.clone(),
        }
    }

    /// What was read or written.
    pub fn into_inner(self) -> T {
        self.inner
    }

    fn check(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the build was interrupted"));
        }
        Ok(())
    }
}

impl<R: io::Read> io::Read for UnlessCancelled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<W: io::Write> io::Write for UnlessCancelled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn bytes_flow_until_the_build_is_cancelled() {
        let cancel = Cancel::new();
        let mut reader = UnlessCancelled::new(io::repeat(1), &cancel);
        let mut writer = UnlessCancelled::new(Vec::new(), &cancel);
        reader.read_exact(&mut [0; 8]).unwrap();
        writer.write_all(b"before").unwrap();
        cancel.cancel();
        assert!(reader.read_exact(&mut [0; 8]).is_err());
        assert!(writer.write_all(b"after").is_err());
        assert_eq!(writer.into_inner(), b"before");
    }
}
