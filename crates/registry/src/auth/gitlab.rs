//! The job variables of GitLab CI, for the registry that `CI_REGISTRY` names (I6).

use futures_util::future::BoxFuture;

use super::source::{Asked, CredentialSource};
use super::{Credential, Found};

#[derive(Debug)]
pub(super) struct GitlabJob;

impl CredentialSource for GitlabJob {
    fn find<'a>(&'a self, asked: &'a Asked<'_>) -> BoxFuture<'a, Option<Found>> {
        let found = from_gitlab(asked.host, &|name| asked.variables.get(name));
        Box::pin(async { found })
    }
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
