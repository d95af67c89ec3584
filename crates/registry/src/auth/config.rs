//! Where credentials are looked for, in which order (I2-I7).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_notice::Listener;

use super::file::AuthFile;
use super::helper::CredentialHelper;
use super::source::{Asked, CredentialSource, Variables};
use super::{Credential, Found};
use crate::notice::RegistryNotice;
use crate::settings_error::SettingsError;

/// Credentials of one run: docker configs, the first that knows a host decides, and the helpers that are asked when
/// none has an answer.
#[derive(Clone, Default)]
pub struct AuthConfig {
    files: Vec<Arc<AuthFile>>,
    helpers: Vec<CredentialHelper>,
    variables: Variables,
    /// What was noticed while it was read.
    troubles: Vec<RegistryNotice>,
    /// Told what is noticed later.
    notices: Listener<RegistryNotice>,
}

/// The variable that holds a docker config, or names a file with one.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

impl AuthConfig {
    /// `DOCKER_AUTH_CONFIG`, and for hosts that it does not know the first file that exists (I2), with all built-in
    /// helpers on, reading the process's variables.
    pub fn from_env(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let variable = env(VARIABLE).filter(|value| !value.is_empty());
        let mut files: Vec<AuthFile> = variable
            .map(|value| from_variable(&value))
            .transpose()?
            .into_iter()
            .collect();
        let mut troubles = Vec::new();
        for path in candidate_files(env) {
            match AuthFile::read(&path) {
                Ok(None) => continue,
                Ok(Some(file)) => files.push(file),
                // What the variable says may be all that is needed.
                Err(error) if !files.is_empty() => {
                    let cause = std::error::Error::source(&error);
                    let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
                    troubles.push(RegistryNotice::CredentialsFile {
                        reason: format!("{error}{cause}"),
                        variable: VARIABLE,
                    });
                }
                Err(error) => return Err(error),
            }
            break;
        }
        Ok(Self {
            files: files.into_iter().map(Arc::new).collect(),
            helpers: CredentialHelper::ALL.to_vec(),
            troubles,
            ..Self::default()
        })
    }

    /// Exactly this docker config, and no helpers beside those it names.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        let file = AuthFile::read(path)?.ok_or_else(|| SettingsError::AuthUnreadable {
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        Ok(Self {
            files: vec![Arc::new(file)],
            ..Self::default()
        })
    }

    /// Exactly this text of a docker config; `origin` names it in messages.
    pub fn from_json(text: &[u8], origin: &str) -> Result<Self, SettingsError> {
        Ok(Self {
            files: vec![Arc::new(AuthFile::parse(text, origin)?)],
            ..Self::default()
        })
    }

    /// Tells `notices` what was noticed when it was read, and what will be.
    pub(crate) fn telling(mut self, notices: &Listener<RegistryNotice>) -> Self {
        for trouble in self.troubles.drain(..) {
            notices.tell(trouble);
        }
        self.notices = notices.clone();
        self
    }

    /// Chooses the built-in helpers that are asked (`--credential-helpers`, I6).
    #[must_use]
    pub fn with_helpers(mut self, helpers: impl IntoIterator<Item = CredentialHelper>) -> Self {
        self.helpers = helpers.into_iter().collect();
        self
    }

    /// Lets helpers read variables through `lookup` instead of from the process; `PATH` is where programs are.
    #[must_use]
    pub fn with_environment(
        mut self,
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        self.variables = Variables::of(lookup);
        self
    }

    /// The credential for a repository: each file and the helpers that it names, built-in helpers, anonymous.
    pub(crate) async fn find(&self, host: &str, path: &str) -> Found {
        let asked = Asked {
            host,
            path,
            variables: &self.variables,
            notices: &self.notices,
        };
        for file in &self.files {
            if let Some(found) = file.find(&asked).await {
                return found;
            }
        }
        for source in self.helpers.iter().filter_map(|helper| helper.source()) {
            if let Some(found) = source.find(&asked).await {
                return found;
            }
        }
        Found {
            credential: Credential::Anonymous,
            origin: self.looked_in(host),
        }
    }

    fn looked_in(&self, host: &str) -> String {
        let origins: Vec<&str> = self.files.iter().map(|file| file.origin.as_str()).collect();
        match origins.as_slice() {
            [] => format!("no credentials for `{host}` were found"),
            origins => format!("no credentials for `{host}` in {}", origins.join(" and ")),
        }
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("files", &self.files)
            .field("helpers", &self.helpers)
            .finish_non_exhaustive()
    }
}

/// The config that the variable holds, or that of the file that it names. A value that is neither is not quoted: it
/// may be half of a config.
fn from_variable(value: &OsStr) -> Result<AuthFile, SettingsError> {
    let text = value.as_encoded_bytes();
    if text.trim_ascii_start().starts_with(b"{") {
        return AuthFile::parse(text, &format!("`{VARIABLE}`"));
    }
    let path = Path::new(value);
    let unreadable = |source| SettingsError::AuthUnreadable {
        path: path.to_owned(),
        source,
    };
    match AuthFile::read(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) if path.is_absolute() => Err(unreadable(std::io::ErrorKind::NotFound.into())),
        Err(error) if path.is_absolute() => Err(error),
        Ok(None) | Err(_) => Err(SettingsError::AuthMalformed {
            origin: format!("`{VARIABLE}`"),
            reason: "it is neither JSON nor the path of a file".to_owned(),
        }),
    }
}

/// The files of I2 in order.
fn candidate_files(env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = path("HOME");
    let mut files = Vec::new();
    match path("DOCKER_CONFIG") {
        // kaniko also takes the file itself.
        Some(config) if config.is_file() => files.push(config),
        Some(config) => files.push(config.join("config.json")),
        None => files.extend(home.as_ref().map(|home| home.join(".docker/config.json"))),
    }
    files.extend(path("REGISTRY_AUTH_FILE"));
    files.extend(path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")));
    let config_home = path("XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")));
    files.extend(config_home.map(|dir| dir.join("containers/auth.json")));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str) -> Credential {
        Credential::password(user, "p")
    }

    async fn user_for(config: &AuthConfig, host: &str, path: &str) -> Credential {
        config.find(host, path).await.credential
    }

    // conformance: I3
    #[tokio::test]
    async fn the_longest_matching_path_wins() {
        let text = br#"{"auths":{
            "https://reg.example/v2/": {"username":"host","password":"p"},
            "reg.example/team": {"username":"team","password":"p"},
            "reg.example/team/app": {"username":"app","password":"p"},
            "index.docker.io": {"username":"hub","password":"p"},
            "other.example/team-a": {"username":"a","password":"p"},
            "empty.example": {}
        }}"#;
        let config = AuthConfig::from_json(text, "test").unwrap();
        let table = [
            ("reg.example", "team/app", password("app")),
            ("reg.example", "team/app/web", password("app")),
            ("reg.example", "team/application", password("team")),
            ("reg.example", "else", password("host")),
            ("docker.io", "library/busybox", password("hub")),
            ("other.example", "team-b/x", Credential::Anonymous),
            ("other.example", "team-a/x", password("a")),
            ("other.example", "team-ab", Credential::Anonymous),
            ("empty.example", "x", Credential::Anonymous),
            ("reg.example:5000", "x", Credential::Anonymous),
        ];
        assert!(!table.is_empty());
        for (host, path, expected) in table {
            assert_eq!(
                user_for(&config, host, path).await,
                expected,
                "{host}/{path}"
            );
        }
    }

    /// A variable that knows one registry does not take the logins of others away.
    // finding 43
    // conformance: I2
    #[tokio::test]
    async fn the_variable_comes_first_and_a_file_has_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let auths = |entries: &[(&str, &str)]| {
            let entries: Vec<String> = entries
                .iter()
                .map(|(host, user)| format!(r#""{host}":{{"username":"{user}","password":"p"}}"#))
                .collect();
            format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
        };
        let home = dir.path().join(".docker/config.json");
        std::fs::create_dir_all(home.parent().unwrap()).unwrap();
        std::fs::write(&home, auths(&[("a", "file-a"), ("b", "file-b")])).unwrap();
        let named = dir.path().join("named.json");
        std::fs::write(&named, auths(&[("a", "named-a")])).unwrap();
        let with = |value: &str| {
            let value = OsString::from(value);
            let env = |name: &str| match name {
                "DOCKER_AUTH_CONFIG" => Some(value.clone()),
                "HOME" => Some(dir.path().into()),
                _ => None,
            };
            AuthConfig::from_env(&env)
        };
        let inline = auths(&[("a", "inline-a")]);
        let table = [
            (inline.as_str(), "a", "inline-a"),
            (&inline, "b", "file-b"),
            (named.to_str().unwrap(), "a", "named-a"),
            (named.to_str().unwrap(), "b", "file-b"),
            ("{}", "a", "file-a"),
            ("", "a", "file-a"),
        ];
        for (value, host, expected) in table {
            let found = user_for(&with(value).unwrap(), host, "x").await;
            assert_eq!(found, password(expected), "{value} {host}");
        }
        for (value, expected) in [
            ("/no/such/file", "`/no/such/file`"),
            ("c2VjcmV0", "`DOCKER_AUTH_CONFIG`"),
            ("{\"auths\":s3cret}", "`DOCKER_AUTH_CONFIG`"),
        ] {
            let text = with(value).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("s3cret") && !text.contains("c2Vj"), "{text}");
        }
        // A file that nobody can use is a warning where the variable is there.
        std::fs::write(&home, "{").unwrap();
        let found = user_for(&with(&inline).unwrap(), "a", "x").await;
        assert_eq!(found, password("inline-a"));
        assert!(with("").is_err());
    }

    // conformance: I2
    #[tokio::test]
    async fn the_first_file_that_exists_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let auth =
            |user: &str| format!(r#"{{"auths":{{"h":{{"username":"{user}","password":"p"}}}}}}"#);
        let places = [
            ("docker/config.json", "docker"),
            ("home/.docker/config.json", "home"),
            ("auth.json", "file"),
            ("run/containers/auth.json", "run"),
            ("chosen/containers/auth.json", "chosen"),
            ("home/.config/containers/auth.json", "xdg"),
        ];
        for (path, user) in places {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, auth(user)).unwrap();
        }
        let all = [
            ("DOCKER_AUTH_CONFIG", auth("inline")),
            (
                "DOCKER_CONFIG",
                dir.path().join("docker").display().to_string(),
            ),
            ("HOME", dir.path().join("home").display().to_string()),
            (
                "REGISTRY_AUTH_FILE",
                dir.path().join("auth.json").display().to_string(),
            ),
            (
                "XDG_RUNTIME_DIR",
                dir.path().join("run").display().to_string(),
            ),
            (
                "XDG_CONFIG_HOME",
                dir.path().join("chosen").display().to_string(),
            ),
        ];
        let table: [(&[&str], &str); 8] = [
            (&[], "inline"),
            (&["DOCKER_AUTH_CONFIG"], "docker"),
            (&["DOCKER_AUTH_CONFIG", "DOCKER_CONFIG"], "home"),
            (
                &[
                    "DOCKER_AUTH_CONFIG",
                    "DOCKER_CONFIG",
                    "home/.docker/config.json",
                ],
                "file",
            ),
            (&["REGISTRY_AUTH_FILE"], "run"),
            (&["XDG_RUNTIME_DIR"], "chosen"),
            (&["XDG_CONFIG_HOME"], "xdg"),
            (&["home/.config/containers/auth.json"], ""),
        ];
        let mut gone: Vec<&str> = Vec::new();
        for (remove, expected) in table {
            for name in remove {
                if name.contains('/') {
                    std::fs::remove_file(dir.path().join(name)).unwrap();
                }
                gone.push(name);
            }
            let env = |name: &str| {
                let found = all
                    .iter()
                    .find(|(key, _)| *key == name && !gone.contains(key));
                found.map(|(_, value)| OsString::from(value))
            };
            let config = AuthConfig::from_env(&env).unwrap();
            let expected = if expected.is_empty() {
                Credential::Anonymous
            } else {
                password(expected)
            };
            assert_eq!(
                user_for(&config, "h", "x").await,
                expected,
                "without {gone:?}"
            );
        }
    }

    // conformance: I39
    #[test]
    fn a_malformed_file_is_an_error_without_its_content() {
        let error =
            AuthConfig::from_json(br#"{"auths":{"h":{"auth": s3cret}}}"#, "`x`").unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("line 1"), "{text}");
        let config = AuthConfig::from_json(
            br#"{"auths":{"h":{"username":"u","password":"s3cret"}}}"#,
            "`x`",
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
