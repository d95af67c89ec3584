//! Where credentials are looked for, in which order (I2-I7).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_notice::Listener;
use serde::Deserialize;

use super::docker_config::DOCKER_CONFIG;
use super::entry::{Entry, canonical_host, keys_for, normal_key};
use super::helper::{self, CredentialHelper};
use super::{Credential, Found};
use crate::notice::RegistryNotice;
use crate::settings_error::SettingsError;

/// How the credential helpers that read variables see the environment.
type Environment = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// Credentials of one run: docker configs, the first that knows a host decides, and the helpers that are asked when
/// none has an answer.
#[derive(Clone, Default)]
pub struct AuthConfig {
    files: Vec<Arc<AuthFile>>,
    helpers: Vec<CredentialHelper>,
    environment: Option<Environment>,
    /// What was noticed while it was read.
    troubles: Vec<RegistryNotice>,
    /// Told what is noticed later.
    notices: Listener<RegistryNotice>,
}

/// The variable that holds a docker config, or names a file with one.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// The part of a docker config that is about credentials.
#[derive(Default)]
struct AuthFile {
    /// For messages: a path or the name of a variable.
    origin: String,
    /// By normal key.
    auths: BTreeMap<String, Entry>,
    /// Program by host.
    programs: BTreeMap<String, String>,
    /// The program for all other hosts.
    store: Option<String>,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default, rename = "credHelpers")]
    programs: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

impl AuthConfig {
    /// `DOCKER_AUTH_CONFIG`, and for hosts that it does not know the first file that exists (I2), with all built-in
    /// helpers on, reading the process's variables.
    pub fn from_env(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let variable = env(VARIABLE).filter(|value| !value.is_empty());
        let mut files: Vec<AuthFile> = variable
            .map(|value| AuthFile::from_variable(&value))
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
        self.environment = Some(Arc::new(lookup));
        self
    }

    /// The credential for a repository: each file and the helpers that it names, built-in helpers, anonymous.
    pub(crate) async fn find(&self, host: &str, path: &str) -> Found {
        for file in &self.files {
            if let Some(found) = file.entry(host, path, &self.notices) {
                return found;
            }
            let search_path = self.search_path();
            let asking = file.ask_program(host, search_path.as_deref(), &self.notices);
            if let Some(found) = asking.await {
                return found;
            }
        }
        for helper in &self.helpers {
            if let Some(found) = helper.credential(host, &|name| self.variable(name)) {
                return found;
            }
        }
        Found {
            credential: Credential::Anonymous,
            origin: self.looked_in(host),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = match &self.environment {
            Some(lookup) => lookup(name),
            None => std::env::var_os(name),
        };
        value
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.is_empty())
    }

    /// Where programs are searched, if somebody chose the environment.
    fn search_path(&self) -> Option<String> {
        self.environment
            .as_ref()
            .and_then(|_| self.variable("PATH"))
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
        let files = self.files.iter();
        let keys = files.map(|file| (&file.origin, file.auths.keys().collect::<Vec<_>>()));
        f.debug_struct("AuthConfig")
            .field("files", &keys.collect::<Vec<_>>())
            .field("helpers", &self.helpers)
            .finish_non_exhaustive()
    }
}

impl AuthFile {
    /// The config that the variable holds, or that of the file that it names. A value that is neither is not quoted: it
    /// may be half of a config.
    fn from_variable(value: &OsStr) -> Result<Self, SettingsError> {
        let text = value.as_encoded_bytes();
        if text.trim_ascii_start().starts_with(b"{") {
            return Self::parse(text, &format!("`{VARIABLE}`"));
        }
        let path = Path::new(value);
        let unreadable = |source| SettingsError::AuthUnreadable {
            path: path.to_owned(),
            source,
        };
        match Self::read(path) {
            Ok(Some(file)) => Ok(file),
            Ok(None) if path.is_absolute() => Err(unreadable(std::io::ErrorKind::NotFound.into())),
            Err(error) if path.is_absolute() => Err(error),
            Ok(None) | Err(_) => Err(SettingsError::AuthMalformed {
                origin: format!("`{VARIABLE}`"),
                reason: "it is neither JSON nor the path of a file".to_owned(),
            }),
        }
    }

    /// `None` if there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, SettingsError> {
        match DOCKER_CONFIG.read(path) {
            Ok(text) => Self::parse(&text, &format!("`{}`", path.display())).map(Some),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(SettingsError::AuthUnreadable {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn parse(text: &[u8], origin: &str) -> Result<Self, SettingsError> {
        // An empty file is what `touch` and some secret mounts leave; docker reads it as no credentials.
        let text = if text.trim_ascii().is_empty() {
            b"{}"
        } else {
            text
        };
        let raw: RawFile =
            serde_json::from_slice(text).map_err(|error| SettingsError::AuthMalformed {
                origin: origin.to_owned(),
                // serde's own text can quote a value of the file, which may be a password.
                reason: format!("line {}, column {}", error.line(), error.column()),
            })?;
        let by_host = |table: Option<BTreeMap<String, String>>| {
            let table = table.unwrap_or_default().into_iter();
            table
                .map(|(host, program)| (normal_key(&host), program))
                .collect()
        };
        let auths = raw.auths.unwrap_or_default();
        Ok(Self {
            origin: origin.to_owned(),
            auths: auths
                .into_iter()
                .map(|(key, entry)| (normal_key(&key), entry))
                .collect(),
            programs: by_host(raw.programs),
            store: raw.store.filter(|program| !program.is_empty()),
        })
    }

    fn entry(&self, host: &str, path: &str, notices: &Listener<RegistryNotice>) -> Option<Found> {
        for key in keys_for(host, path) {
            let Some(entry) = self.auths.get(&key) else {
                continue;
            };
            match entry.credential() {
                Ok(Some(credential)) => {
                    let origin = format!("{}, entry `{key}`", self.origin);
                    return Some(Found { credential, origin });
                }
                Ok(None) => {}
                Err(reason) => {
                    notices.tell(RegistryNotice::CredentialsEntry {
                        key,
                        origin: self.origin.clone(),
                        reason: reason.to_string(),
                    });
                }
            }
        }
        None
    }

    async fn ask_program(
        &self,
        host: &str,
        search_path: Option<&str>,
        notices: &Listener<RegistryNotice>,
    ) -> Option<Found> {
        let host = canonical_host(host);
        // The store is asked for what docker login would have filed the credential under.
        let server = if host == "docker.io" {
            "https://index.docker.io/v1/"
        } else {
            &host
        };
        for program in self.programs.get(&host).into_iter().chain(&self.store) {
            match helper::ask(program, server, search_path).await {
                Ok(Some(credential)) => {
                    let origin = format!("credential helper `docker-credential-{program}`");
                    return Some(Found { credential, origin });
                }
                Ok(None) => {}
                Err(reason) => {
                    notices.tell(RegistryNotice::CredentialHelper {
                        program: program.clone(),
                        host: host.clone(),
                        reason,
                    });
                }
            }
        }
        None
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
