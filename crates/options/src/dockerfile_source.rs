//! Where a Dockerfile is read from.

use std::path::{Path, PathBuf};

use kiln_shown::SecretUrl;

use crate::OptionError;
use crate::path::{absolute, is_web};

/// A Dockerfile that was found, or that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// An absolute path that exists.
    Path(PathBuf),
    /// An `http` or `https` address.
    Url(SecretUrl),
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Path(PathBuf::from(Self::DEFAULT))
    }
}

impl DockerfileSource {
    /// The name that is looked for when none is given.
    pub(crate) const DEFAULT: &str = "Dockerfile";

    /// Looks `name` up from the current directory, then from `context` (J10), an absolute one as below it too; the default name also in lower case,
    /// where there is none in its own spelling (A34).
    pub(crate) fn find(name: &str, context: Option<&Path>) -> Result<Self, OptionError> {
        let mut tried = Vec::new();
        let lower = (name == Self::DEFAULT).then_some("dockerfile");
        let names = [Some(name), lower].into_iter().flatten();
        for place in names.flat_map(|name| places(name, context)) {
            let path = absolute(&place)?;
            match std::fs::metadata(&path) {
                Ok(found) if !found.is_dir() => return Ok(Self::Path(path)),
                // Where a link leads is for whoever reads it to find out: in a context, links are followed inside of it.
                Err(source)
                    if source.kind() == std::io::ErrorKind::NotFound && path.is_symlink() =>
                {
                    return Ok(Self::Path(path));
                }
                // It may be there: another place would be another file than the one that is meant.
                Err(source) if !is_nothing_there(&source) => {
                    return Err(OptionError::DockerfileUnreadable { path, source });
                }
                _ if !tried.contains(&path) => tried.push(path),
                _ => {}
            }
        }
        if is_web(name) {
            return Ok(Self::Url(name.into()));
        }
        Err(OptionError::DockerfileNotFound {
            name: name.to_owned(),
            tried,
        })
    }
}

/// Where a name is looked for, in order.
fn places(name: &str, context: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let below = context.map(|context| context.join(name.trim_start_matches('/')));
    [PathBuf::from(name)].into_iter().chain(below)
}

/// No file, or no directory where one would have to be. A name that is too long is that of no file.
fn is_nothing_there(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as E;
    matches!(
        error.kind(),
        E::NotFound | E::NotADirectory | E::InvalidFilename | E::InvalidInput
    )
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
            Some(DockerfileSource::Url("https://x/Dockerfile".into()))
        );
        assert!(find("sub").is_err());
        let OptionError::DockerfileNotFound { tried, .. } = find("missing").unwrap_err() else {
            panic!()
        };
        assert_eq!(tried.len(), 2);
    }

    /// kaniko's users write the path in the context with a leading slash.
    // finding 46
    // conformance: J10
    #[test]
    fn an_absolute_path_counts_below_the_context_too() {
        let temp = tempfile::tempdir().unwrap();
        let (context, elsewhere) = (temp.path().join("ctx"), temp.path().join("Other"));
        std::fs::create_dir_all(context.join("sub")).unwrap();
        std::fs::write(context.join("sub/Dockerfile.xyz"), "").unwrap();
        std::fs::write(&elsewhere, "").unwrap();
        let find = |name: &str| DockerfileSource::find(name, Some(&context));
        let expected = DockerfileSource::Path(context.join("sub/Dockerfile.xyz"));
        assert_eq!(find("/sub/Dockerfile.xyz").unwrap(), expected);
        // What is there as it is written comes first.
        let name = elsewhere.to_str().unwrap();
        assert_eq!(
            find(name).unwrap(),
            DockerfileSource::Path(elsewhere.clone())
        );
        let OptionError::DockerfileNotFound { tried, .. } = find("/no/such").unwrap_err() else {
            panic!()
        };
        assert_eq!(tried, [PathBuf::from("/no/such"), context.join("no/such")]);
    }

    /// Whoever may not look must not be told that there is nothing.
    // finding 49
    // conformance: J10
    #[test]
    fn a_place_that_cannot_be_looked_at_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("Dockerfile");
        std::os::unix::fs::symlink("Dockerfile", &link).unwrap();
        let error = DockerfileSource::find("Dockerfile", Some(temp.path())).unwrap_err();
        assert!(
            matches!(&error, OptionError::DockerfileUnreadable { path, .. } if *path == link),
            "{error:?}"
        );
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
