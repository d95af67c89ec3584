//! Moving broken files out of the way.

use std::fs;
use std::path::Path;

use crate::CacheError;
use crate::error::failed;
use crate::volume::{Volume, is_nothing_there};

/// Moves `path` to `damaged/`, where someone may look at it; one found there under the same name is dropped, so that
/// a disk that keeps breaking files does not fill up. A file that is gone already is fine.
pub(crate) fn set_aside(volume: &Volume, path: &Path) -> Result<(), CacheError> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    let to = volume.damaged().join(name);
    let result = match fs::rename(path, &to) {
        Err(error) if is_nothing_there(&error) => return Ok(()),
        // Files and directories do not replace one another.
        Err(_) if to.is_dir() => fs::remove_dir_all(&to).and_then(|()| fs::rename(path, &to)),
        Err(_) if to.exists() => fs::remove_file(&to).and_then(|()| fs::rename(path, &to)),
        other => other,
    };
    result.map_err(failed("set aside", path))?;
    tracing::warn!(from = %path.display(), to = %to.display(), "set aside a damaged file of the image cache");
    Ok(())
}

/// Makes sure nothing but a regular file of `size` bytes is at `path`; says whether one is.
pub(crate) fn make_way(volume: &Volume, path: &Path, size: u64) -> Result<bool, CacheError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == size => Ok(true),
        Ok(_) => set_aside(volume, path).map(|()| false),
        Err(error) if is_nothing_there(&error) => Ok(false),
        Err(error) => Err(failed("read", path)(error)),
    }
}
