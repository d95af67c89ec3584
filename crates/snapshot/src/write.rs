//! Writing a change set into a layer.

use std::fs::File;
use std::io::Write;

use kiln_layer::{EntryKind, ImagePath, LayerError, LayerWriter};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::change::ChangeSet;
use crate::error::SnapshotError;
use crate::filter::split;
use crate::stat::Stat;
use crate::tree::{Tree, is_gone, open_file};

impl ChangeSet {
    /// Appends all entries to `writer`, with the content of the files as it is now.
    ///
    /// One file is open at a time and nothing is held in memory (conformance: G23). The root has to rest: a file whose
    /// size is no longer that of the walk is an error, never a broken layer (conformance: G22, E50), and so is a file
    /// that is gone.
    pub fn write<W: Write + Send + 'static>(
        &self,
        writer: &mut LayerWriter<W>,
    ) -> Result<(), SnapshotError> {
        let mut opener = Opener::new(&self.tree);
        for (entry, detail) in self.entries.iter().zip(&self.details) {
            match entry.kind {
                EntryKind::File { size } if size > 0 => {
                    let path = detail.data.as_ref().unwrap_or(&entry.path);
                    let mut file = opener.open(path, size)?;
                    writer.append(entry, Some(&mut file))
                }
                EntryKind::File { .. } => writer.append(entry, Some(&mut std::io::empty())),
                _ => writer.append(entry, None),
            }
            .map_err(of_writing)?;
        }
        Ok(())
    }
}

fn of_writing(error: LayerError) -> SnapshotError {
    match error {
        LayerError::ContentSize {
            path,
            expected,
            actual,
        } => SnapshotError::SizeChanged {
            path,
            expected,
            actual,
        },
        source => SnapshotError::Layer {
            operation: "write",
            source,
        },
    }
}

/// Opens one file after the other, and the directory of several only once.
pub(crate) struct Opener<'a> {
    tree: &'a Tree,
    dir: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Self { tree, dir: None }
    }

    /// Opens the file at `path`, whatever it is by now.
    pub(crate) fn open_path(&mut self, path: &[u8]) -> Result<File, Errno> {
        let (dir, name) = split(path);
        let fd = match self.dir.take() {
            Some((known, fd)) if known == dir => fd,
            _ => self.tree.open_dir(dir)?,
        };
        let file = open_file(&fd, name);
        self.dir = Some((dir.to_vec(), fd));
        file
    }

    /// Opens the file at `path` and makes sure that it still is one and has `size` bytes.
    pub(crate) fn open(&mut self, path: &ImagePath, size: u64) -> Result<File, SnapshotError> {
        let opened = self
            .open_path(path.as_bytes())
            .and_then(|file| Ok((Stat::of(&file, c"")?, file)));
        match opened {
            Ok((stat, _)) if !stat.is_file() => Err(SnapshotError::Replaced { path: path.clone() }),
            Ok((stat, _)) if stat.size != size => Err(SnapshotError::SizeChanged {
                path: path.clone(),
                expected: size,
                actual: stat.size,
            }),
            Ok((_, file)) => Ok(file),
            Err(errno) if is_gone(errno) => Err(SnapshotError::Replaced { path: path.clone() }),
            Err(errno) => Err(self.tree.error("open", path.as_bytes(), errno)),
        }
    }
}
