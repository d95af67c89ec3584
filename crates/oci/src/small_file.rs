//! Reading a file whole that is small when all is well. Who wrote it may mean harm: it may be a pipe that nobody writes
//! to, a device without end, or larger than the memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// `O_NONBLOCK`: opening a pipe does not wait for its other end.
pub(crate) const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Why a file is not read whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSmall {
    /// It is something else than a file.
    #[error("it is {what}, and a file is needed")]
    NoFile {
        /// What it is.
        what: &'static str,
    },
    /// It is larger than such a file may be.
    #[error("it is larger than {limit} bytes, the limit for {what}")]
    TooLarge {
        /// The most bytes it may have.
        limit: u64,
        /// What is being read, as `a Dockerfile`.
        what: &'static str,
    },
}

impl From<NotSmall> for io::Error {
    fn from(error: NotSmall) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

/// What is read, and the most bytes it may have.
#[derive(Debug, Clone, Copy)]
pub struct SmallFile {
    what: &'static str,
    limit: u64,
}

impl SmallFile {
    /// `what` is for messages: `a Dockerfile`.
    pub const fn new(what: &'static str, limit: u64) -> Self {
        Self { what, limit }
    }

    /// The most bytes it may have.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Reads a file that the caller named. Links are followed. Pipes are read only where the caller holds their other
    /// end: `/dev/stdin` and `/dev/fd/N`.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let handed_over = ["/dev/stdin", "/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|dir| path.starts_with(dir));
        if handed_over && std::fs::metadata(path)?.file_type().is_fifo() {
            return self.read_to_end(File::open(path)?);
        }
        let file = File::options()
            .read(true)
            .custom_flags(NONBLOCK)
            .open(path)?;
        self.read_open(file)
    }

    /// Reads an open file from where it stands. It must have been opened so that a pipe did not make it wait.
    pub fn read_open(&self, file: File) -> io::Result<Vec<u8>> {
        let found = file.metadata()?;
        must_be_file(&found)?;
        self.check(found.len())?;
        self.read_to_end(file)
    }

    /// Reads a stream to its end.
    pub fn read_to_end(&self, stream: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One more than allowed tells a file that has grown from one that has just fitted.
        stream.take(self.limit + 1).read_to_end(&mut bytes)?;
        self.check(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Whether this many bytes are allowed.
    pub fn check(&self, bytes: u64) -> Result<(), NotSmall> {
        let (limit, what) = (self.limit, self.what);
        if bytes > limit {
            return Err(NotSmall::TooLarge { limit, what });
        }
        Ok(())
    }
}

/// An error that says what is there, unless it is a file.
pub(crate) fn must_be_file(found: &std::fs::Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(NotSmall::NoFile { what }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: SmallFile = SmallFile::new("a note", 4);

    fn said(path: &Path) -> String {
        NOTE.read(path)
            .map_err(|error| error.to_string())
            .unwrap_err()
    }

    // finding 2
    #[test]
    fn only_files_of_the_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(NOTE.read(&path).unwrap(), b"1234");
        std::fs::write(&path, "12345").unwrap();
        let large = "it is larger than 4 bytes, the limit for a note";
        assert_eq!(said(&path), large);
        // Says that it is empty, and is not.
        assert_eq!(said(Path::new("/proc/self/environ")), large);
        let huge = File::create(dir.path().join("huge")).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert_eq!(said(&dir.path().join("huge")), large);
        assert_eq!(
            said(Path::new("/dev/zero")),
            "it is a device, and a file is needed"
        );
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(said(&pipe), "it is a pipe, and a file is needed");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(NOTE.read(&dir.path().join("socket")).is_err());
        assert_eq!(
            NOTE.read(dir.path()).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        std::fs::write(&path, "12").unwrap();
        assert_eq!(NOTE.read(&dir.path().join("link")).unwrap(), b"12");
    }

    #[test]
    fn a_pipe_that_was_handed_over_is_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"abc").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(NOTE.read(Path::new(&path)).unwrap(), b"abc");
    }
}
