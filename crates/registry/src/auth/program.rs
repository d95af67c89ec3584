//! Programs that speak docker's protocol for credential helpers (I5).

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::entry::canonical_host;
use super::source::Asked;
use super::{Credential, Found};
use crate::notice::RegistryNotice;

/// A program may have to ask a cloud, but nobody should wait for it for ever.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What a program that a docker config names has for a registry; what is wrong with it is told.
pub(super) async fn ask(program: &str, asked: &Asked<'_>) -> Option<Found> {
    let host = canonical_host(asked.host);
    // The store is asked for what docker login would have filed the credential under.
    let server = if host == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        &host
    };
    let search_path = asked.variables.search_path();
    match get(program, server, search_path.as_deref()).await {
        Ok(credential) => Some(Found {
            credential: credential?,
            origin: format!("credential helper `docker-credential-{program}`"),
        }),
        Err(reason) => {
            asked.notices.tell(RegistryNotice::CredentialHelper {
                program: program.to_owned(),
                host: host.clone(),
                reason,
            });
            None
        }
    }
}

/// Asks `docker-credential-<program> get`; `None` if it has nothing for the server.
///
/// # Errors
/// What went wrong, without anything the program printed on its output.
async fn get(
    program: &str,
    server: &str,
    search_path: Option<&str>,
) -> Result<Option<Credential>, String> {
    let mut command = tokio::process::Command::new(format!("docker-credential-{program}"));
    if let Some(path) = search_path {
        command.env("PATH", path);
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such program in PATH".to_owned(),
            other => other.to_string(),
        })?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input closes the pipe; its answer still counts.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(PATIENCE, talk).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(error.kind().to_string()),
        Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    if !output.status.success() {
        // "Not found" is how the protocol says so; helpers print it on stdout with status 1.
        let text = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(output.status.to_string());
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| "its answer is not JSON".to_owned())?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credential::password(&answer.username, &answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I5
    #[tokio::test]
    async fn a_missing_program_is_an_error_to_be_warned_about() {
        let error = get("kiln-test-surely-missing", "h", None)
            .await
            .unwrap_err();
        assert_eq!(error, "there is no such program in PATH");
    }
}
