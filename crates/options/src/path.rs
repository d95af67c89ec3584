//! Paths of the host as they come from the command line.

use std::path::{Path, PathBuf};

use crate::OptionError;

/// The path seen from the current directory; symlinks and `..` stay.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, OptionError> {
    std::path::absolute(path).map_err(|source| OptionError::NoCurrentDirectory {
        path: path.to_owned(),
        source,
    })
}

/// The absolute form of an optional path; an empty one counts as not given, as in `--tar-path=$UNSET`.
pub(crate) fn given(path: Option<&PathBuf>) -> Result<Option<PathBuf>, OptionError> {
    match path {
        Some(path) if !path.as_os_str().is_empty() => absolute(path).map(Some),
        _ => Ok(None),
    }
}

/// Takes any path, the empty one too, which clap's own parser refuses.
#[cfg(feature = "clap")]
pub(crate) fn any_path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}
