//! SSH agents that RUN may use.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::OptionError;
use crate::env_vars::Env;
use crate::path::absolute;

/// The variable that names the agent's socket, here and in RUN.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// An agent by name: docker's `--ssh default` or `--ssh NAME=SOCKET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSpec {
    /// The name that `RUN --mount=type=ssh,id=...` uses.
    pub id: String,
    /// The agent's socket, which existed when the options were resolved.
    pub socket: PathBuf,
}

/// Reads every `--ssh`; an id may be given once only.
pub(crate) fn resolve(values: &[String], env: &Env<'_>) -> Result<Vec<SshSpec>, OptionError> {
    let mut agents: Vec<SshSpec> = Vec::new();
    for value in values {
        let invalid = |reason| OptionError::InvalidSsh {
            value: value.clone(),
            reason,
        };
        let agent = parse(value, env).map_err(invalid)?;
        if agents.iter().any(|known| known.id == agent.id) {
            return Err(invalid(format!("the id `{}` is given twice", agent.id)));
        }
        agents.push(agent);
    }
    Ok(agents)
}

fn parse(value: &str, env: &Env<'_>) -> Result<SshSpec, String> {
    let (id, path) = match value.split_once('=') {
        Some((id, path)) => (id, Some(path)),
        None => (value, None),
    };
    if id.is_empty() {
        return Err("the id is missing".to_owned());
    }
    let path = match path {
        Some("") => return Err("the socket is missing".to_owned()),
        Some(path) => PathBuf::from(path),
        None => env(AGENT_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                format!("no agent runs: `{AGENT_VARIABLE}` is not set; write `{id}=SOCKET`, or start `ssh-agent`")
            })?,
    };
    let socket = absolute(&path).map_err(|error| error.to_string())?;
    check(&socket)?;
    Ok(SshSpec {
        id: id.to_owned(),
        socket,
    })
}

fn check(socket: &Path) -> Result<(), String> {
    let shown = socket.display();
    let found = std::fs::metadata(socket).map_err(|error| format!("`{shown}`: {error}"))?;
    if !found.file_type().is_socket() {
        return Err(format!(
            "`{shown}` is not the socket of an agent; give keys to an agent with `ssh-add`, and pass its socket"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn agents_and_mistakes() {
        let temp = tempfile::tempdir().unwrap();
        let socket = temp.path().join("agent");
        let _listener = UnixListener::bind(&socket).unwrap();
        let key = temp.path().join("id_ed25519");
        std::fs::write(&key, "key").unwrap();
        let here = OsString::from(&socket);
        let with = |name: &str| (name == AGENT_VARIABLE).then(|| here.clone());
        let without = |_: &str| None;
        let named = format!("git={}", socket.display());
        for (value, id) in [("default", "default"), ("git", "git"), (&named, "git")] {
            let agent = parse(value, &with).unwrap();
            assert_eq!((agent.id.as_str(), &agent.socket), (id, &socket), "{value}");
        }
        assert!(
            parse("default", &without)
                .unwrap_err()
                .contains("SSH_AUTH_SOCK")
        );
        let table = [
            (format!("a={}", key.display()), "ssh-add"),
            ("a=/not/there".to_owned(), "/not/there"),
            ("=x".to_owned(), "id is missing"),
            ("a=".to_owned(), "socket is missing"),
        ];
        for (value, part) in table {
            let error = parse(&value, &with).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
        let twice = [
            "default".to_owned(),
            format!("default={}", socket.display()),
        ];
        let error = resolve(&twice, &with).unwrap_err().to_string();
        assert!(
            error.contains("twice") && error.contains("--ssh"),
            "{error}"
        );
    }
}
