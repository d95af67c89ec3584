//! Where a Dockerfile is read from.

use std::path::{Path, PathBuf};

use crate::OptionError;
use crate::path::absolute;

/// A Dockerfile that was found, or that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// An absolute path that exists.
    Path(PathBuf),
    /// An `http` or `https` address.
    Url(String),
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Path(PathBuf::from(Self::DEFAULT))
    }
}

impl DockerfileSource {
    /// The name that is looked for when none is given.
    pub(crate) const DEFAULT: &str = "Dockerfile";

    /// Looks `name` up from the current directory, then from `context` (J10); the default name also in lower case,
    /// where there is none in its own spelling (A34).
    pub(crate) fn find(name: &str, context: Option<&Path>) -> Result<Self, OptionError> {
        let mut tried = Vec::new();
        let lower = (name == Self::DEFAULT).then_some("dockerfile");
        let names = [Some(name), lower].into_iter().flatten();
        let bases = [Some(Path::new("")), context].into_iter().flatten();
        for place in names.flat_map(|name| bases.clone().map(move |base| base.join(name))) {
            let path = absolute(&place)?;
            if std::fs::metadata(&path).is_ok_and(|found| !found.is_dir()) {
                return Ok(Self::Path(path));
            }
            if !tried.contains(&path) {
                tried.push(path);
            }
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Ok(Self::Url(name.to_owned()));
        }
        Err(OptionError::DockerfileNotFound {
            name: name.to_owned(),
            tried,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: J10
    #[test]
    fn places() {
        let temp = tempfile::tempdir().unwrap();
        let context = temp.path().join("ctx");
        std::fs::create_dir_all(context.join("sub")).unwrap();
        std::fs::write(context.join("Dockerfile"), "").unwrap();
        std::fs::write(temp.path().join("Other"), "").unwrap();

        let find = |name: &str| DockerfileSource::find(name, Some(&context));
        let other = temp.path().join("Other");
        let path = |path: PathBuf| Some(DockerfileSource::Path(path));
        assert_eq!(find("Dockerfile").ok(), path(context.join("Dockerfile")));
        assert_eq!(find(other.to_str().unwrap()).ok(), path(other));
        assert_eq!(
            find("https://x/Dockerfile").ok(),
            Some(DockerfileSource::Url("https://x/Dockerfile".to_owned()))
        );
        assert!(find("sub").is_err());
        let OptionError::DockerfileNotFound { tried, .. } = find("missing").unwrap_err() else {
            panic!()
        };
        assert_eq!(tried.len(), 2);
    }

    // conformance: A34
    #[test]
    fn the_default_name_may_be_in_lower_case() {
        let temp = tempfile::tempdir().unwrap();
        let find = |name: &str| DockerfileSource::find(name, Some(temp.path())).ok();
        let path = |name: &str| Some(DockerfileSource::Path(temp.path().join(name)));
        std::fs::write(temp.path().join("dockerfile"), "").unwrap();
        std::fs::write(temp.path().join("other"), "").unwrap();
        assert_eq!(find("Dockerfile"), path("dockerfile"));
        assert_eq!(find("Other"), None);
        std::fs::write(temp.path().join("Dockerfile"), "").unwrap();
        assert_eq!(find("Dockerfile"), path("Dockerfile"));
    }

    #[test]
    fn context_does_not_hide_the_current_directory() {
        // Cargo runs tests in the crate's own folder.
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("Cargo.toml"), "").unwrap();
        let found = DockerfileSource::find("Cargo.toml", Some(temp.path())).unwrap();
        assert_eq!(
            found,
            DockerfileSource::Path(std::env::current_dir().unwrap().join("Cargo.toml"))
        );
    }
}
