//! Files that are mostly nothing: zeros become holes where content is written to a disk.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

/// Runs of zeros that are shorter are written: a hole in a part of a page saves nothing.
const SHORTEST_HOLE: usize = 4096;

/// Writes pieces of content one after the other and leaves out those that are nothing but zeros (conformance: G18).
///
/// An archive of a KiB can claim a sparse file of gigabytes, and a packed layer can hold as many zeros: neither takes
/// room on the disk.
#[derive(Debug)]
pub(crate) struct HoleWriter<'a> {
    file: &'a mut File,
    /// Zeros that were left out since the last bytes written.
    hole: u64,
}

impl<'a> HoleWriter<'a> {
    /// Writes from where the file stands; nothing may follow there.
    pub(crate) fn new(file: &'a mut File) -> Self {
        Self { file, hole: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() >= SHORTEST_HOLE && is_zero(bytes) {
            self.hole += bytes.len() as u64;
            return Ok(());
        }
        self.pass_hole()?;
        self.file.write_all(bytes)
    }

    fn pass_hole(&mut self) -> io::Result<()> {
        if self.hole > 0 {
            let hole = i64::try_from(self.hole).map_err(io::Error::other)?;
            self.file.seek(SeekFrom::Current(hole))?;
            self.hole = 0;
        }
        Ok(())
    }

    /// Gives the file its length if it ends in a hole.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.hole > 0 {
            self.pass_hole()?;
            let end = self.file.stream_position()?;
            self.file.set_len(end)?;
        }
        Ok(())
    }
}

/// Appends all of `content` to `file`, which stands at its end, with holes for zeros; gives the bytes that came.
pub fn append_with_holes(content: &mut dyn Read, file: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut writer = HoleWriter::new(file);
    let mut total = 0;
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                writer.put(&buffer[..read])?;
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    writer.finish()?;
    Ok(total)
}

/// Most content shows in its first bytes that it is no hole; the rest is one comparison of memory.
fn is_zero(bytes: &[u8]) -> bool {
    const STEP: usize = 16;
    bytes.starts_with(&[0; STEP]) && bytes[..bytes.len() - STEP] == bytes[STEP..]
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::os::unix::fs::MetadataExt as _;

    use super::append_with_holes;

    // conformance: G18
    #[test]
    fn zeros_take_no_room_and_read_back() {
        let zeros = |count: usize| vec![0_u8; count];
        let rows = [
            ("nothing", vec![]),
            ("short", b"short".to_vec()),
            ("a few zeros", zeros(100)),
            ("zeros only", zeros(4 << 20)),
            ("zeros at the end", [b"x".to_vec(), zeros(4 << 20)].concat()),
            (
                "zeros at the start",
                [zeros(4 << 20), b"x".to_vec()].concat(),
            ),
            (
                "zeros between",
                [vec![1; 200_000], zeros(4 << 20), vec![2; 200_000]].concat(),
            ),
            ("zeros but for one", {
                let mut most = zeros(4 << 20);
                most[2 << 20] = 1;
                most
            }),
        ];
        for (name, content) in rows {
            let mut file = tempfile::tempfile().unwrap();
            // Twice, as a spool has it: the second piece begins where the first one ends.
            for _ in 0..2 {
                file.seek(std::io::SeekFrom::End(0)).unwrap();
                let written = append_with_holes(&mut &content[..], &mut file).unwrap();
                assert_eq!(written, content.len() as u64, "{name}");
            }
            file.rewind().unwrap();
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, [&content[..], &content[..]].concat(), "{name}");
            let room = file.metadata().unwrap().blocks() * 512;
            assert!(room <= 2 * 700_000, "{name}: {room}");
        }
    }
}
