//! Sources of files and images that FROM and `--from` may name besides stages and images: `--build-context`.

use std::path::{Path, PathBuf};

use kiln_oci::Reference;
use kiln_shown::SecretUrl;

use crate::OptionError;
use crate::path::absolute;

/// A name, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildContext {
    /// As FROM and `--from` write it.
    pub name: String,
    /// What is meant.
    pub source: BuildContextSource,
}

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildContextSource {
    /// A directory, which existed when the options were resolved.
    Directory(PathBuf),
    /// An image in an OCI layout.
    Layout {
        /// The layout's directory.
        dir: PathBuf,
        /// The name of the image there, if it is not the only one.
        name: Option<String>,
    },
    /// An image of a registry.
    Image(Reference),
    /// A git repository or the archive at a URL.
    Remote(SecretUrl),
}

/// Reads every `--build-context NAME=SOURCE`; a name may be given once only.
pub(crate) fn resolve(values: &[String]) -> Result<Vec<BuildContext>, OptionError> {
    let mut contexts: Vec<BuildContext> = Vec::new();
    for value in values {
        let invalid = |reason| OptionError::InvalidBuildContext {
            value: value.clone(),
            reason,
        };
        let context = parse(value).map_err(invalid)?;
        if contexts.iter().any(|known| known.is(&context.name)) {
            return Err(invalid(format!("`{}` is given twice", context.name)));
        }
        contexts.push(context);
    }
    Ok(contexts)
}

impl BuildContext {
    /// Whether this is what a name in a Dockerfile means: the same text in any case, or another way to write the same
    /// image (`alpine` is `docker.io/library/alpine:latest`).
    pub fn is(&self, name: &str) -> bool {
        if self.name.eq_ignore_ascii_case(name) {
            return true;
        }
        match (Reference::parse(&self.name), Reference::parse(name)) {
            (Ok(own), Ok(other)) => own == other,
            _ => false,
        }
    }
}

fn parse(value: &str) -> Result<BuildContext, String> {
    let Some((name, source)) = value.split_once('=') else {
        return Err("write NAME=SOURCE".to_owned());
    };
    if name.is_empty() || source.is_empty() {
        return Err("write NAME=SOURCE".to_owned());
    }
    Ok(BuildContext {
        name: name.to_owned(),
        source: parse_source(source)?,
    })
}

fn parse_source(source: &str) -> Result<BuildContextSource, String> {
    if let Some(image) = source.strip_prefix("docker-image://") {
        let reference = Reference::parse(image).map_err(|error| error.to_string())?;
        return Ok(BuildContextSource::Image(reference));
    }
    let layout = source
        .strip_prefix("oci-layout://")
        .or_else(|| source.strip_prefix("oci-layout:"));
    if let Some(path) = layout {
        return parse_layout(path);
    }
    let remote = ["http://", "https://", "git://", "ssh://", "git@"];
    if remote.iter().any(|prefix| source.starts_with(prefix)) {
        return Ok(BuildContextSource::Remote(source.into()));
    }
    if let Some((scheme, _)) = source.split_once("://") {
        return Err(format!(
            "`{scheme}://` is none of docker-image://, oci-layout://, https://, git://; a directory has no scheme"
        ));
    }
    directory(source).map(BuildContextSource::Directory)
}

/// `PATH`, `PATH:NAME` or `PATH@DIGEST`.
fn parse_layout(path: &str) -> Result<BuildContextSource, String> {
    let cut = path
        .find('@')
        .or_else(|| path.rfind(':').filter(|at| !path[*at..].contains('/')));
    let (dir, name) = match cut {
        Some(at) => (&path[..at], Some(path[at + 1..].to_owned())),
        None => (path, None),
    };
    Ok(BuildContextSource::Layout {
        dir: directory(dir)?,
        name: name.filter(|name| !name.is_empty()),
    })
}

fn directory(path: &str) -> Result<PathBuf, String> {
    let path = absolute(Path::new(path)).map_err(|error| error.to_string())?;
    let shown = path.display();
    let found = std::fs::metadata(&path).map_err(|error| format!("`{shown}`: {error}"))?;
    if !found.is_dir() {
        return Err(format!("`{shown}` is not a directory"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_mistakes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().display().to_string();
        let layout = |name: Option<&str>| BuildContextSource::Layout {
            dir: temp.path().to_owned(),
            name: name.map(str::to_owned),
        };
        let image = |name: &str| BuildContextSource::Image(Reference::parse(name).unwrap());
        let remote = |url: &str| BuildContextSource::Remote(url.into());
        let table = [
            (
                dir.clone(),
                BuildContextSource::Directory(temp.path().to_owned()),
            ),
            (format!("oci-layout://{dir}"), layout(None)),
            (format!("oci-layout:{dir}:v1"), layout(Some("v1"))),
            (
                format!("oci-layout://{dir}@sha256:ab"),
                layout(Some("sha256:ab")),
            ),
            ("docker-image://alpine:3".to_owned(), image("alpine:3")),
            (
                "https://h/r.git#main".to_owned(),
                remote("https://h/r.git#main"),
            ),
            (
                "https://h/a.tar.gz".to_owned(),
                remote("https://h/a.tar.gz"),
            ),
            ("git@h:r".to_owned(), remote("git@h:r")),
        ];
        for (source, expected) in table {
            assert_eq!(parse_source(&source), Ok(expected), "{source}");
        }
        let mistakes = [
            ("name".to_owned(), "NAME=SOURCE"),
            ("=x".to_owned(), "NAME=SOURCE"),
            ("name=".to_owned(), "NAME=SOURCE"),
            ("name=/not/there".to_owned(), "/not/there"),
            ("name=/etc/passwd".to_owned(), "not a directory"),
            ("name=s3://b/k".to_owned(), "s3://"),
            ("name=docker-image://A B".to_owned(), "A B"),
        ];
        for (value, part) in mistakes {
            let error = parse(&value).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
        let twice = [
            format!("alpine={dir}"),
            format!("docker.io/library/alpine={dir}"),
        ];
        let error = resolve(&twice).unwrap_err().to_string();
        assert!(
            error.contains("twice") && error.contains("--build-context"),
            "{error}"
        );
    }
}
