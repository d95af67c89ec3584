//! Stores credentials for a registry where docker keeps them.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_registry::{DockerConfig, DockerConfigError};

use crate::OptionError;
use crate::env_vars::{self, Env};

/// Options of `executor login`.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct LoginOptions {
    /// Registry to store the credentials for.
    #[cfg_attr(feature = "clap", arg(value_name = "REGISTRY"))]
    pub registry: String,
    /// Name of the user.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "NAME"))]
    pub username: Option<String>,
    /// Password or token; everyone on this machine can see it, so prefer --password-stdin.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "PASSWORD"))]
    pub password: Option<String>,
    /// Read the password from standard input.
    #[cfg_attr(feature = "clap", arg(long))]
    pub password_stdin: bool,
}

impl fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginOptions")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .field("password_stdin", &self.password_stdin)
            .finish()
    }
}

/// Why credentials could not be stored; never quotes them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The command line is incomplete.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Both or none of the two ways to give a password.
    #[error("give the password with exactly one of `--password-stdin` and `--password`")]
    OnePassword,
    /// Standard input could not be read.
    #[error("cannot read the password from standard input")]
    Stdin(#[source] std::io::Error),
    /// Standard input had no password.
    #[error("the password on standard input is blank")]
    Blank,
    /// Neither variable says where the file is.
    #[error("cannot tell where credentials are kept: neither `DOCKER_CONFIG` nor `HOME` is set")]
    NoPlace,
    /// The file could not be read, understood or replaced.
    #[error(transparent)]
    Config(#[from] DockerConfigError),
}

impl LoginOptions {
    /// Stores the credentials in docker's `config.json`, keeping everything else in it, and says where that is.
    pub fn store(&self, env: &Env<'_>, stdin: &mut dyn Read) -> Result<PathBuf, LoginError> {
        let missing = |what: &str| OptionError::MissingArgument {
            what: what.to_owned(),
        };
        let user = self.username.as_deref().filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| missing("`--username`"))?;
        if self.registry.is_empty() {
            return Err(missing("the registry").into());
        }
        let password = self.password(stdin)?;
        let path = config_path(env)?;
        let mut config = DockerConfig::read(&path)?;
        config.set_login(&self.registry, user, &password)?;
        config.write()?;
        Ok(path)
    }

    fn password(&self, stdin: &mut dyn Read) -> Result<String, LoginError> {
        match (&self.password, self.password_stdin) {
            (Some(password), false) => Ok(password.clone()),
            (None, true) => {
                let mut text = String::new();
                stdin.read_to_string(&mut text).map_err(LoginError::Stdin)?;
                let password = text.strip_suffix('\n').unwrap_or(&text);
                let password = password.strip_suffix('\r').unwrap_or(password);
                if password.trim().is_empty() {
                    Err(LoginError::Blank)
                } else {
                    Ok(password.to_owned())
                }
            }
            _ => Err(LoginError::OnePassword),
        }
    }
}

fn config_path(env: &Env<'_>) -> Result<PathBuf, LoginError> {
    let set = |name| env(name).filter(|value: &OsString| !value.is_empty());
    let folder = match (set(env_vars::DOCKER_CONFIG), set(env_vars::HOME)) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(".docker"),
        (None, None) => return Err(LoginError::NoPlace),
    };
    Ok(folder.join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(registry: &str, password: Option<&str>, stdin: bool) -> LoginOptions {
        LoginOptions {
            registry: registry.to_owned(),
            username: Some("me".to_owned()),
            password: password.map(str::to_owned),
            password_stdin: stdin,
        }
    }

    // conformance: K10
    #[test]
    fn entries_are_added_and_the_rest_stays() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("docker");
        let env = |name: &str| (name == "DOCKER_CONFIG").then(|| folder.clone().into_os_string());
        let path = login("docker.io", Some("a:b"), false)
            .store(&env, &mut "".as_bytes())
            .unwrap();
        assert_eq!(path, folder.join("config.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', r#"{"credsStore":"x","#, 1)).unwrap();
        login("reg:5000", None, true)
            .store(&env, &mut "s3 cret\r\n".as_bytes())
            .unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let back = kiln_registry::AuthConfig::from_file(&path);
        assert!(back.is_ok());
    }

    #[test]
    fn home_is_the_second_choice() {
        let temp = tempfile::tempdir().unwrap();
        let env = |name: &str| (name == "HOME").then(|| temp.path().as_os_str().to_owned());
        let path = login("r", Some("p"), false)
            .store(&env, &mut "".as_bytes())
            .unwrap();
        assert_eq!(path, temp.path().join(".docker/config.json"));
    }

    #[test]
    fn mistakes() {
        let temp = tempfile::tempdir().unwrap();
        let env =
            |name: &str| (name == "DOCKER_CONFIG").then(|| temp.path().as_os_str().to_owned());
        let store = |options: LoginOptions, stdin: &str| {
            options
                .store(&env, &mut stdin.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert!(store(login("r", None, false), "").contains("exactly one"));
        assert!(store(login("r", Some("p"), true), "x").contains("exactly one"));
        assert!(store(login("r", None, true), " \n").contains("blank"));
        assert!(
            store(
                LoginOptions {
                    username: None,
                    ..login("r", Some("p"), false)
                },
                ""
            )
            .contains("--username")
        );
        std::fs::write(temp.path().join("config.json"), "{\"auths\": secret}").unwrap();
        let message = store(login("r", Some("p"), false), "");
        assert!(
            message.contains("line 1") && !message.contains("secret"),
            "{message}"
        );
        assert!(!format!("{:?}", login("r", Some("hunter2"), false)).contains("hunter2"));
    }
}
