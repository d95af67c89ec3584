//! The variables `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD` (I7).

use futures_util::future::BoxFuture;

use super::source::{Asked, CredentialSource};
use super::{Credential, Found};

#[derive(Debug)]
pub(super) struct HostVariables;

impl CredentialSource for HostVariables {
    fn find<'a>(&'a self, asked: &'a Asked<'_>) -> BoxFuture<'a, Option<Found>> {
        let found = from_variables(asked.host, &|name| asked.variables.get(name));
        Box::pin(async { found })
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
