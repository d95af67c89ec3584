//! Credential helpers: programs that speak docker's protocol (I5), and the built-in ones (I6, I7).

use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::{Credential, Found};

/// A program may have to ask a cloud, but nobody should wait for it for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// A helper that `--credential-helpers` can name (I6).
///
/// Those of cloud providers are accepted and ask nobody: their programs work through `credHelpers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialHelper {
    /// `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD` (I7).
    Env,
    /// Google registries; not built in.
    Google,
    /// Amazon ECR; not built in.
    Ecr,
    /// Azure ACR; not built in.
    Acr,
    /// The job variables of GitLab CI, for the registry that `CI_REGISTRY` names.
    Gitlab,
}

impl CredentialHelper {
    /// All of them, which is the default.
    pub const ALL: [Self; 5] = [Self::Env, Self::Google, Self::Ecr, Self::Acr, Self::Gitlab];

    pub(super) fn credential(
        self,
        host: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Found> {
        match self {
            Self::Env => from_variables(host, variable),
            Self::Gitlab => from_gitlab(host, variable),
            Self::Google | Self::Ecr | Self::Acr => None,
        }
    }
}

impl FromStr for CredentialHelper {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "env" => Ok(Self::Env),
            "google" => Ok(Self::Google),
            "ecr" => Ok(Self::Ecr),
            "acr" => Ok(Self::Acr),
            "gitlab" => Ok(Self::Gitlab),
            _ => Err(format!(
                "`{text}` is not a credential helper (expected `env`, `google`, `ecr`, `acr` or `gitlab`)"
            )),
        }
    }
}

/// Host, then its parent domains; with the port first, then without it.
fn from_variables(host: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<Found> {
    let bare = host.split_once(':').map_or(host, |(name, _)| name);
    let parents = std::iter::successors(Some(bare), |name| {
        name.split_once('.').map(|(_, parent)| parent)
    });
    let names = std::iter::once(host).chain(parents);
    for name in names {
        let stem: String = name.to_ascii_uppercase().replace(['.', '-', ':'], "_");
        let user = variable(&format!("KANIKO_{stem}_USER"));
        let password = variable(&format!("KANIKO_{stem}_PASSWORD"));
        if let (Some(user), Some(password)) = (user, password) {
            return Some(Found {
                credential: Credential::password(&user, &password),
                origin: format!("variables `KANIKO_{stem}_USER` and `KANIKO_{stem}_PASSWORD`"),
            });
        }
    }
    None
}

fn from_gitlab(host: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<Found> {
    // Only the exact host: a job token must not reach anybody else.
    variable("CI_REGISTRY").filter(|registry| registry.eq_ignore_ascii_case(host))?;
    let user = variable("CI_REGISTRY_USER");
    let password = variable("CI_REGISTRY_PASSWORD");
    let (user, password) = match (user, password) {
        (Some(user), Some(password)) => (user, password),
        _ => ("gitlab-ci-token".to_owned(), variable("CI_JOB_TOKEN")?),
    };
    Some(Found {
        credential: Credential::password(&user, &password),
        origin: "the job variables of GitLab CI".to_owned(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-<program> get`; `None` if it has nothing for the server.
///
/// # Errors
/// What went wrong, without anything the program printed on its output.
pub(super) async fn ask(
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

    fn find(
        helper: CredentialHelper,
        host: &str,
        variables: &[(&str, &str)],
    ) -> Option<Credential> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        helper
            .credential(host, &lookup)
            .map(|found| found.credential)
    }

    // conformance: I7
    #[test]
    fn variables_are_named_after_the_host_or_a_parent() {
        let both = |stem: &str| {
            [
                (format!("KANIKO_{stem}_USER"), "u".to_owned()),
                (format!("KANIKO_{stem}_PASSWORD"), "p".to_owned()),
            ]
        };
        let table = [
            ("reg-1.example.com", "REG_1_EXAMPLE_COM", true),
            ("reg-1.example.com", "EXAMPLE_COM", true),
            ("reg-1.example.com", "OTHER_COM", false),
            ("localhost:5000", "LOCALHOST_5000", true),
            ("localhost:5000", "LOCALHOST", true),
        ];
        assert!(!table.is_empty());
        for (host, stem, found) in table {
            let variables = both(stem);
            let variables: Vec<_> = variables
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            let expected = found.then(|| Credential::password("u", "p"));
            assert_eq!(
                find(CredentialHelper::Env, host, &variables),
                expected,
                "{host} {stem}"
            );
        }
        assert_eq!(
            find(CredentialHelper::Env, "h", &[("KANIKO_H_USER", "u")]),
            None
        );
    }

    // conformance: I6
    #[test]
    fn gitlab_serves_its_own_registry_only() {
        let job = [
            ("CI_REGISTRY", "registry.gitlab.example"),
            ("CI_JOB_TOKEN", "t"),
        ];
        let found = find(CredentialHelper::Gitlab, "registry.gitlab.example", &job);
        assert_eq!(found, Some(Credential::password("gitlab-ci-token", "t")));
        for host in [
            "registry.gitlab.example.evil.tld",
            "gitlab.example",
            "xregistry.gitlab.example",
        ] {
            assert_eq!(find(CredentialHelper::Gitlab, host, &job), None, "{host}");
        }
        // Those of clouds are accepted, and their programs are what answers (I5).
        for helper in [
            CredentialHelper::Google,
            CredentialHelper::Ecr,
            CredentialHelper::Acr,
        ] {
            for host in [
                "gcr.io",
                "1.dkr.ecr.eu-west-1.amazonaws.com",
                "x.azurecr.io",
            ] {
                assert_eq!(find(helper, host, &job), None, "{helper:?} {host}");
            }
        }
    }

    // conformance: I5
    #[tokio::test]
    async fn a_missing_program_is_an_error_to_be_warned_about() {
        let error = ask("kiln-test-surely-missing", "h", None)
            .await
            .unwrap_err();
        assert_eq!(error, "there is no such program in PATH");
    }
}
