//! Deciding about files that were touched, by comparing them with the layer they came from.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use kiln_layer::{EntryKind, ImagePath, LayerReader};

use crate::change::{ChangeSet, Role};
use crate::error::SnapshotError;
use crate::write::Opener;
use crate::xattr::is_kept;

impl ChangeSet {
    /// Leaves out the [`doubtful`](Self::doubtful) files that turn out to be as the layer they came from has them,
    /// and gives their number.
    ///
    /// A scan knows the metadata of every file from before, but not its content. After `chmod` to the same value,
    /// `mv` and back, or the removal of one of two hard links, only the kernel's change time differs, and a safe scan
    /// has to record the file. The earlier content is in the layers, so whoever has those can be exact (conformance
    /// G11, G13): `names` gives, for each entry of the layer in `reader`, the paths in the root whose data it is (two
    /// paths after a hard link). The layer is read to its end once, however many files are in doubt.
    pub fn settle<R: Read>(
        &mut self,
        mut reader: LayerReader<R>,
        names: &BTreeMap<ImagePath, Vec<ImagePath>>,
    ) -> Result<usize, SnapshotError> {
        let of_reading = |source| SnapshotError::Layer {
            operation: "read",
            source,
        };
        let mut verdicts = HashMap::new();
        while let Some((entry, mut content)) = reader.next_entry().map_err(of_reading)? {
            let EntryKind::File { size } = entry.kind else {
                continue;
            };
            let in_doubt = names.get(&entry.path).map_or(&[][..], Vec::as_slice);
            let in_doubt: Vec<usize> = in_doubt
                .iter()
                .filter_map(|path| self.find_doubtful(path))
                .collect();
            // All names of one entry are one file or copies that a further comparison may handle: compare the first.
            let Some(first) = in_doubt.first().copied() else {
                continue;
            };
            let xattrs = entry.xattrs.iter().filter(|(name, _)| is_kept(name));
            let equal = self.details[first].size == size
                && self.entries[first].xattrs.iter().eq(xattrs)
                && self.same_content(first, &mut content)?;
            for at in in_doubt {
                // A later entry of the same name wins, as it does when the layer is unpacked.
                verdicts.insert(at, equal && self.same_file(first, at));
            }
        }
        reader.finish().map_err(of_reading)?;
        let mut dropped = 0;
        for at in verdicts
            .into_iter()
            .filter_map(|(at, equal)| equal.then_some(at))
        {
            self.details[at].role = Role::Equal;
            dropped += 1;
        }
        self.tidy();
        Ok(dropped)
    }

    fn find_doubtful(&self, path: &ImagePath) -> Option<usize> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()?;
        (self.details[at].role == Role::Touched).then_some(at)
    }

    fn same_file(&self, a: usize, b: usize) -> bool {
        a == b
            || self.details[a]
                .inode
                .is_some_and(|inode| self.details[b].inode == Some(inode))
    }

    /// Compares the file of an entry with `earlier`, which has the same length.
    fn same_content(&self, at: usize, earlier: &mut dyn Read) -> Result<bool, SnapshotError> {
        let entry = &self.entries[at];
        let mut left = self.details[at].size;
        let mut file = Opener::new(&self.tree).open(&entry.path, left)?;
        let failed = |source| SnapshotError::Io {
            operation: "compare",
            path: self.tree.host_path(entry.path.as_bytes()),
            source,
        };
        let mut now = vec![0; left.min(64 * 1024) as usize];
        let mut before = now.clone();
        while left > 0 {
            let length = left.min(now.len() as u64) as usize;
            file.read_exact(&mut now[..length]).map_err(failed)?;
            earlier.read_exact(&mut before[..length]).map_err(failed)?;
            if now[..length] != before[..length] {
                return Ok(false);
            }
            left -= length as u64;
        }
        Ok(true)
    }
}
