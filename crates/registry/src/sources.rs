//! Where else an image may be had: mirrors of docker.io and maps of any registry (I19-I22).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use kiln_oci::Repository;

use crate::auth::canonical_host;
use crate::settings::RegistrySettings;
use crate::settings_error::SettingsError;

/// The sources of every registry that has some besides itself.
pub(crate) struct Sources {
    /// By canonical registry, in the order to be tried.
    by_registry: BTreeMap<String, Vec<Prefix>>,
    skip_default: bool,
    /// For repositories that served something in the name of another: that other.
    origins: Mutex<HashMap<Repository, Repository>>,
}

/// `host[/path]` to put before a repository's path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    host: String,
    path: Option<String>,
}

impl Sources {
    pub(crate) fn new(settings: &RegistrySettings) -> Result<Self, SettingsError> {
        let mut by_registry: BTreeMap<String, Vec<Prefix>> = BTreeMap::new();
        let mirrors = [("docker.io".to_owned(), settings.mirrors.clone())];
        let maps = settings
            .maps
            .iter()
            .map(|(from, to)| (canonical_host(from), to.clone()));
        for (from, targets) in maps.chain(mirrors) {
            let known = by_registry.entry(from).or_default();
            for target in targets {
                let prefix = Prefix::parse(&target)?;
                if !known.contains(&prefix) {
                    known.push(prefix);
                }
            }
        }
        Ok(Self {
            by_registry,
            skip_default: settings.skip_default_fallback,
            origins: Mutex::default(),
        })
    }

    /// The repositories that may serve `repo`, in the order to be tried.
    pub(crate) fn of(&self, repo: &Repository) -> Vec<Repository> {
        let Some(prefixes) = self
            .by_registry
            .get(&repo.registry)
            .filter(|prefixes| !prefixes.is_empty())
        else {
            return vec![repo.clone()];
        };
        let mut sources: Vec<Repository> =
            prefixes.iter().map(|prefix| prefix.apply(repo)).collect();
        if !self.skip_default && !sources.contains(repo) {
            sources.push(repo.clone());
        }
        sources
    }

    /// Notes that `from` served something of `origin`.
    pub(crate) fn remember(&self, from: &Repository, origin: &Repository) {
        if from != origin {
            let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
            origins.insert(from.clone(), origin.clone());
        }
    }

    /// `repo`, then the others that may have the same content.
    pub(crate) fn of_content(&self, repo: &Repository) -> Vec<Repository> {
        let origin = self
            .origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(repo)
            .cloned();
        let mut sources = vec![repo.clone()];
        if let Some(origin) = origin {
            sources.extend(self.of(&origin).into_iter().filter(|other| other != repo));
        }
        sources
    }
}

impl Prefix {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let bad = || SettingsError::BadMirror {
            value: text.to_owned(),
        };
        let trimmed = text.trim();
        let trimmed = trimmed
            .strip_prefix("https://")
            .unwrap_or(trimmed)
            .trim_end_matches('/');
        let (host, path) = trimmed
            .split_once('/')
            .map_or((trimmed, None), |(host, path)| (host, Some(path)));
        let host_fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        let path_fits =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let fits = !host.is_empty()
            && host.chars().all(host_fits)
            && path.is_none_or(|path| path.chars().all(path_fits) && !path.starts_with('/'));
        if !fits || host.ends_with(':') {
            return Err(bad());
        }
        Ok(Self {
            host: canonical_host(host),
            path: path.map(str::to_owned),
        })
    }

    fn apply(&self, repo: &Repository) -> Repository {
        let path = match &self.path {
            Some(path) => format!("{path}/{}", repo.path),
            None => repo.path.clone(),
        };
        Repository {
            registry: self.host.clone(),
            path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(mirrors: &[&str], maps: &[(&str, &[&str])], skip: bool) -> Sources {
        let owned = |list: &[&str]| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        Sources::new(&RegistrySettings {
            mirrors: owned(mirrors),
            maps: maps
                .iter()
                .map(|(from, to)| ((*from).to_owned(), owned(to)))
                .collect(),
            skip_default_fallback: skip,
            ..RegistrySettings::default()
        })
        .unwrap()
    }

    fn of(sources: &Sources, repo: &str) -> Vec<String> {
        let (registry, path) = repo.split_once('/').unwrap();
        let repo = Repository {
            registry: registry.to_owned(),
            path: path.to_owned(),
        };
        sources
            .of(&repo)
            .iter()
            .map(|repo| format!("{}/{}", repo.registry, repo.path))
            .collect()
    }

    // conformance: I19
    #[test]
    fn mirrors_serve_docker_io_in_order() {
        let both = sources(&["m.example", "n.example:5000/hub/"], &[], false);
        assert_eq!(
            of(&both, "docker.io/library/busybox"),
            [
                "m.example/library/busybox",
                "n.example:5000/hub/library/busybox",
                "docker.io/library/busybox"
            ]
        );
        assert_eq!(of(&both, "ghcr.io/a/b"), ["ghcr.io/a/b"]);
        let only = sources(&["m.example"], &[], true);
        assert_eq!(
            of(&only, "docker.io/library/busybox"),
            ["m.example/library/busybox"]
        );
        assert_eq!(of(&only, "ghcr.io/a/b"), ["ghcr.io/a/b"]);
    }

    // conformance: I20
    #[test]
    fn maps_serve_any_registry() {
        let maps = sources(
            &["m.example"],
            &[
                ("a.io", &["b.io/prefix", "c.io"]),
                ("index.docker.io", &["d.io"]),
            ],
            false,
        );
        assert_eq!(
            of(&maps, "a.io/x/y"),
            ["b.io/prefix/x/y", "c.io/x/y", "a.io/x/y"]
        );
        assert_eq!(
            of(&maps, "docker.io/x/y"),
            ["d.io/x/y", "m.example/x/y", "docker.io/x/y"]
        );
    }

    #[test]
    fn nonsense_is_refused_at_start() {
        for text in ["", "http://m.example", "m example", "m/UPPER", "m:", "/x"] {
            assert!(Prefix::parse(text).is_err(), "{text}");
        }
    }
}
