//! Moving broken files out of the way.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::CacheError;
use crate::error::failed;
use crate::notice::VolumeNotice;
use crate::volume::{Volume, is_nothing_there};

/// Moves `path` to `damaged/`, where someone may look at it; one found there under the same name is dropped, so that
/// a disk that keeps breaking files does not fill up. A file that is gone already is fine.
pub(crate) fn set_aside(volume: &Volume, path: &Path) -> Result<(), CacheError> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    match fs::symlink_metadata(path) {
        Err(error) if is_nothing_there(&error) => return Ok(()),
        _ => {}
    }
    let to = volume.damaged().join(name);
    // Files and directories do not replace one another.
    let result = match fs::rename(path, &to) {
        Err(_) if to.is_dir() => fs::remove_dir_all(&to).and_then(|()| fs::rename(path, &to)),
        Err(_) if to.exists() => fs::remove_file(&to).and_then(|()| fs::rename(path, &to)),
        other => other,
    };
    match result {
        // Someone else was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("set aside", path))?,
    }
    let from = path.to_owned();
    volume.notices.tell(VolumeNotice::SetAside { from, to });
    Ok(())
}

/// Makes sure that a rename to `path` can work and that what it would replace is not lost when it is broken: sets
/// aside anything but a regular file, and one of another length than `size`, when that is known.
pub(crate) fn make_way(volume: &Volume, path: &Path, size: Option<u64>) -> Result<(), CacheError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && size.is_none_or(|size| size == found.len()) => Ok(()),
        Ok(_) => set_aside(volume, path),
        Err(error) if is_nothing_there(&error) => Ok(()),
        Err(error) => Err(failed("read", path)(error)),
    }
}
