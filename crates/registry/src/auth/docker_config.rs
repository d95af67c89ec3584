//! Docker's `config.json` as a file: read as far as it is about credentials by `config`, written here, with everything
//! else in it kept (K10).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use kiln_oci::SmallFile;
use serde_json::{Map, Value, json};

/// The size of docker's `config.json`; with a hundred registries it has some kilobytes.
pub(super) const DOCKER_CONFIG: SmallFile = SmallFile::new("a docker configuration", 4 << 20);

/// Why docker's configuration cannot be changed; never quotes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerConfigError {
    /// The file could not be read or replaced.
    #[error("cannot {action} `{path}`", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is there and is not what docker writes.
    #[error("`{path}` is not a docker configuration: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A docker configuration that is changed.
pub struct DockerConfig {
    path: PathBuf,
    members: Map<String, Value>,
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerConfig")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DockerConfig {
    /// Reads the file; one that is empty or not there has no members.
    pub fn read(path: &Path) -> Result<DockerConfig, DockerConfigError> {
        let text = match DOCKER_CONFIG.read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(DockerConfigError::File {
                    action: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let members = members(&text).map_err(|reason| DockerConfigError::Malformed {
            path: path.to_owned(),
            reason,
        })?;
        Ok(DockerConfig {
            path: path.to_owned(),
            members,
        })
    }

    /// Sets who we are to a registry.
    pub fn set_login(
        &mut self,
        registry: &str,
        user: &str,
        password: &str,
    ) -> Result<(), DockerConfigError> {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let auths = self
            .members
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        if auths.is_null() {
            *auths = Value::Object(Map::new());
        }
        let Value::Object(auths) = auths else {
            return Err(DockerConfigError::Malformed {
                path: self.path.clone(),
                reason: "`auths` is not an object".to_owned(),
            });
        };
        auths.insert(key(registry), json!({ "auth": auth }));
        Ok(())
    }

    /// Replaces the file in one step, readable by its owner only.
    pub fn write(&self) -> Result<(), DockerConfigError> {
        let failed = |action| {
            move |source| DockerConfigError::File {
                action,
                path: self.path.clone(),
                source,
            }
        };
        // A link, as Kubernetes makes for mounted secrets, is followed rather than replaced.
        let target = self
            .path
            .canonicalize()
            .unwrap_or_else(|_| self.path.clone());
        let folder = target.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
        let mut text = serde_json::to_vec_pretty(&self.members).map_err(|error| {
            DockerConfigError::Malformed {
                path: self.path.clone(),
                reason: error.to_string(),
            }
        })?;
        text.push(b'\n');
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed("write"))?;
        file.write_all(&text)
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed("write"))?;
        file.persist(&target)
            .map_err(|error| failed("replace")(error.error))?;
        Ok(())
    }
}

fn members(text: &[u8]) -> Result<Map<String, Value>, String> {
    if text.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("it is not an object".to_owned()),
        // Only the position: the parser's text could quote a secret.
        Err(error) => Err(format!(
            "no JSON at line {} column {}",
            error.line(),
            error.column()
        )),
    }
}

/// Docker's own key for Docker Hub; every other registry is its own key.
fn key(registry: &str) -> String {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            "https://index.docker.io/v1/".to_owned()
        }
        other => other.to_owned(),
    }
}
