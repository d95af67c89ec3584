//! Content that has no file of its own yet: pieces in one temporary file of the work folder.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_layer::append_with_holes;

/// An append-only temporary file without a name; it is gone when the last user of it is.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
    file: Arc<Mutex<File>>,
}

/// One piece of a spool.
#[derive(Debug, Clone)]
pub struct Piece {
    file: Arc<Mutex<File>>,
    offset: u64,
    /// Length in bytes.
    len: u64,
}

impl Spool {
    /// Creates an empty spool on the filesystem of `dir`.
    pub fn create(dir: &Path) -> io::Result<Spool> {
        let file = Arc::new(Mutex::new(tempfile::tempfile_in(dir)?));
        let dir = dir.to_owned();
        Ok(Spool { dir, file })
    }

    /// The directory whose filesystem holds the spool.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends all of `content` and returns where it is.
    pub fn append(&self, content: &mut dyn Read) -> io::Result<Piece> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = file.seek(SeekFrom::End(0))?;
        let len = append_with_holes(content, &mut file)?;
        drop(file);
        Ok(Piece {
            file: Arc::clone(&self.file),
            offset,
            len,
        })
    }
}

impl Piece {
    /// All of a file of its own.
    pub fn whole(file: File, len: u64) -> Piece {
        Piece {
            file: Arc::new(Mutex::new(file)),
            offset: 0,
            len,
        }
    }

    /// Reads the piece from its start.
    pub fn open(&self) -> PieceReader {
        PieceReader {
            file: Arc::clone(&self.file),
            at: self.offset,
            end: self.offset + self.len,
        }
    }
}

/// Reads one piece; several readers of one spool do not disturb each other.
#[derive(Debug)]
pub struct PieceReader {
    file: Arc<Mutex<File>>,
    at: u64,
    end: u64,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.read_at(&mut buffer[..want], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_back_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(dir.path()).unwrap();
        let texts = ["one", "", "three"];
        let pieces: Vec<Piece> = texts
            .iter()
            .map(|text| spool.append(&mut text.as_bytes()).unwrap())
            .collect();
        for (piece, text) in pieces.iter().zip(texts).rev() {
            let mut read = String::new();
            piece.open().read_to_string(&mut read).unwrap();
            assert_eq!(read, text);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
