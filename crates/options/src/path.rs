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

/// Whether a text is an address that is spoken HTTP to, in any case.
pub(crate) fn is_web(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Refuses a URL where a path is meant: a file of that name is what nobody asked for.
pub(crate) fn no_url(flag: &str, path: &Path, expected: &str) -> Result<(), OptionError> {
    let text = path.to_string_lossy();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let named = |scheme: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(part)
    };
    match scheme {
        Some(scheme) if named(scheme) => Err(OptionError::InvalidValue {
            flag: flag.to_owned(),
            value: kiln_shown::redact(&text).into_owned(),
            expected: expected.to_owned(),
            nearest: None,
        }),
        _ => Ok(()),
    }
}

/// Takes any path, the empty one too, which clap's own parser refuses.
#[cfg(feature = "clap")]
pub(crate) fn any_path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}
