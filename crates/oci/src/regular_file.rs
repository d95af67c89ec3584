//! Opening what has to be a file where somebody else may have put something else: opening a pipe waits for its other
//! end, for ever if nobody comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::small_file::{NONBLOCK, must_be_file};

/// Opens a file to be read, and nothing but a file. Links are followed.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags(NONBLOCK)
        .open(path)?;
    must_be_file(&file.metadata()?)?;
    Ok(file)
}

/// Opens a file to be written or locked, as `open` says but for what is no file: that is an error.
pub fn open_file_to_write(path: &Path, open: &mut std::fs::OpenOptions) -> io::Result<File> {
    let file = open.write(true).custom_flags(NONBLOCK).open(path)?;
    must_be_file(&file.metadata()?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 15
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert_eq!(
            open_file(&path).unwrap_err().to_string(),
            "it is a pipe, and a file is needed"
        );
        assert!(open_file_to_write(&path, &mut File::options()).is_err());
        assert!(open_file(dir.path()).is_err());
        assert!(open_file(Path::new("/dev/null")).is_err());
        let path = dir.path().join("file");
        assert!(open_file(&path).is_err());
        open_file_to_write(&path, File::options().create(true)).unwrap();
        open_file(&path).unwrap();
    }
}
