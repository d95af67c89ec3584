//! The credential helpers that are built in: their names, and what answers for each (I6, I7).

use std::str::FromStr;

use super::gitlab::GitlabJob;
use super::source::CredentialSource;
use super::variables::HostVariables;

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

    /// What answers for it, if that is built in.
    pub(super) fn source(self) -> Option<Box<dyn CredentialSource>> {
        match self {
            Self::Env => Some(Box::new(HostVariables)),
            Self::Gitlab => Some(Box::new(GitlabJob)),
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

#[cfg(test)]
mod tests {
    use kiln_notice::Listener;

    use super::super::Credential;
    use super::super::source::{Asked, Variables};
    use super::*;

    async fn find(
        helper: CredentialHelper,
        host: &str,
        variables: &[(&str, &str)],
    ) -> Option<Credential> {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let variables = Variables::of(move |name| {
            let found = variables.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into())
        });
        let asked = Asked {
            host,
            path: "a/b",
            variables: &variables,
            notices: &Listener::default(),
        };
        let found = helper.source()?.find(&asked).await;
        found.map(|found| found.credential)
    }

    // conformance: I7
    #[tokio::test]
    async fn variables_are_named_after_the_host_or_a_parent() {
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
                find(CredentialHelper::Env, host, &variables).await,
                expected,
                "{host} {stem}"
            );
        }
        assert_eq!(
            find(CredentialHelper::Env, "h", &[("KANIKO_H_USER", "u")]).await,
            None
        );
    }

    // conformance: I6
    #[tokio::test]
    async fn gitlab_serves_its_own_registry_only() {
        let job = [
            ("CI_REGISTRY", "registry.gitlab.example"),
            ("CI_JOB_TOKEN", "t"),
        ];
        let found = find(CredentialHelper::Gitlab, "registry.gitlab.example", &job).await;
        assert_eq!(found, Some(Credential::password("gitlab-ci-token", "t")));
        for host in [
            "registry.gitlab.example.evil.tld",
            "gitlab.example",
            "xregistry.gitlab.example",
        ] {
            assert_eq!(
                find(CredentialHelper::Gitlab, host, &job).await,
                None,
                "{host}"
            );
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
                assert_eq!(find(helper, host, &job).await, None, "{helper:?} {host}");
            }
        }
    }
}
