//! One place of the layer cache, as it is spelled on the command line.

use std::path::{Path, PathBuf};

use kiln_oci::{Reference, Repository};

use crate::OptionError;
use crate::path::absolute;

/// What tells a folder from a repository.
pub(crate) const FOLDER_PREFIX: &str = "oci:";

/// One place of the layer cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository, with a tag for each step.
    Repository(Repository),
    /// A folder of this machine, absolute.
    Folder(PathBuf),
}

impl CachePlace {
    /// Reads `oci:DIR`, made absolute, or the name of a repository.
    pub(crate) fn parse(flag: &'static str, value: &str) -> Result<Self, OptionError> {
        match value.strip_prefix(FOLDER_PREFIX) {
            Some("") => Err(OptionError::InvalidValue {
                flag: flag.to_owned(),
                value: value.to_owned(),
                expected: format!("a folder after `{FOLDER_PREFIX}`"),
                nearest: None,
            }),
            Some(dir) => absolute(Path::new(dir)).map(Self::Folder),
            None => repository(flag, value).map(Self::Repository),
        }
    }
}

/// A name without tag and digest: a step's tag is its key, so one from the command line has no meaning.
fn repository(flag: &'static str, value: &str) -> Result<Repository, OptionError> {
    if let Ok(repository) = Repository::parse(value) {
        return Ok(repository);
    }
    match Reference::parse(value) {
        Ok(image) => Err(OptionError::CacheRepoIsImage {
            flag,
            value: value.to_owned(),
            repository: image.repo().familiar(),
        }),
        Err(source) => Err(OptionError::InvalidReference {
            flag,
            value: value.to_owned(),
            source,
        }),
    }
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(repository) => write!(f, "{repository}"),
            Self::Folder(dir) => write!(f, "{FOLDER_PREFIX}{}", dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: H24, H26
    #[test]
    fn places() {
        let here = std::env::current_dir().unwrap();
        let table = [
            ("reg.example/app/cache", "reg.example/app/cache".to_owned()),
            ("localhost:5000/c", "localhost:5000/c".to_owned()),
            ("user/cache", "docker.io/user/cache".to_owned()),
            ("oci:/x/y", "oci:/x/y".to_owned()),
            ("oci:x", format!("oci:{}/x", here.display())),
            ("oci:./x", format!("oci:{}/x", here.display())),
            ("oci:/x:1", "oci:/x:1".to_owned()),
        ];
        assert!(!table.is_empty());
        for (value, expected) in table {
            let place = CachePlace::parse("--cache-repo", value).unwrap();
            assert_eq!(place.to_string(), expected, "{value}");
            // What is shown can be given again.
            assert_eq!(
                CachePlace::parse("--cache-repo", &expected).unwrap(),
                place,
                "{value}"
            );
        }
    }

    #[test]
    fn images_are_not_places() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let with_digest = format!("reg.example/c@{digest}");
        let table = [
            ("reg.example/c:1", "reg.example/c"),
            ("localhost:5000/c:latest", "localhost:5000/c"),
            (with_digest.as_str(), "reg.example/c"),
            ("cache:1", "cache"),
        ];
        assert!(!table.is_empty());
        for (value, expected) in table {
            match CachePlace::parse("--cache-from", value) {
                Err(OptionError::CacheRepoIsImage { repository, .. }) => {
                    assert_eq!(repository, expected, "{value}");
                }
                other => panic!("{value}: {other:?}"),
            }
        }
        for value in ["oci:", "UPPER/x", "a b/c", "reg.example/c@sha256:0"] {
            assert!(CachePlace::parse("--cache-from", value).is_err(), "{value}");
        }
    }
}
