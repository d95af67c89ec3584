//! The `auths` table of a docker config: its keys and its entries (I3, I4).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::Credential;

/// Padding is often lost when the value is written by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One value of `auths`.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl Entry {
    /// The credential, or `None` for an empty entry, which means: ask the helper (I4).
    ///
    /// # Errors
    /// Says which field is wrong, without its value.
    pub(super) fn credential(&self) -> Result<Option<Credential>, &'static str> {
        if let Some(token) = filled(self.registrytoken.as_ref()) {
            return Ok(Some(Credential::Bearer(token.to_owned())));
        }
        if let Some(token) = filled(self.identitytoken.as_ref()) {
            return Ok(Some(Credential::Identity(token.to_owned())));
        }
        if let Some(auth) = filled(self.auth.as_ref()) {
            let bytes = BASE64
                .decode(auth.trim())
                .map_err(|_| "`auth` is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "`auth` is not text")?;
            // docker pads the decoded text with NULs in some versions.
            let text = text.trim_end_matches('\0');
            let (user, password) = text.split_once(':').ok_or("`auth` has no `:`")?;
            return Ok(Some(Credential::password(user, password)));
        }
        match (
            filled(self.username.as_ref()),
            filled(self.password.as_ref()),
        ) {
            (Some(user), Some(password)) => Ok(Some(Credential::password(user, password))),
            _ => Ok(None),
        }
    }
}

impl Credential {
    /// `<token>` as a user name marks an identity token (I5).
    pub(super) fn password(user: &str, password: &str) -> Self {
        if user == "<token>" {
            Self::Identity(password.to_owned())
        } else {
            Self::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            }
        }
    }
}

fn filled(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|text| !text.is_empty())
}

/// A key of `auths` as `host[/path]`: scheme, `/v1/`, `/v2/` and trailing slashes taken off, names of
/// docker.io made one (I1, I3).
pub(super) fn normal_key(key: &str) -> String {
    let key = key.trim();
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let mut key = key.trim_end_matches('/');
    for version in ["/v1", "/v2"] {
        key = key.strip_suffix(version).unwrap_or(key);
    }
    let key = key.trim_end_matches('/');
    let (host, path) = key
        .split_once('/')
        .map_or((key, None), |(host, path)| (host, Some(path)));
    let host = canonical_host(host);
    path.map_or_else(|| host.clone(), |path| format!("{host}/{path}"))
}

/// One name for a registry that goes by several (I1); lower-case.
pub(crate) fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            "docker.io".to_owned()
        }
        _ => host,
    }
}

/// The keys that serve a repository, best first: itself, its parents, its host (I3).
pub(super) fn keys_for(host: &str, path: &str) -> Vec<String> {
    let host = canonical_host(host);
    let mut keys = Vec::new();
    let mut rest = path.trim_matches('/');
    while !rest.is_empty() {
        keys.push(format!("{host}/{rest}"));
        rest = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.push(host);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I3
    #[test]
    fn keys_are_compared_without_decoration() {
        let table = [
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("http://localhost:5000/", "localhost:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("https://reg.example/v2/", "reg.example"),
            ("reg.example/v2", "reg.example"),
            ("Reg.Example/team-a/", "reg.example/team-a"),
            ("docker.io/library", "docker.io/library"),
        ];
        assert!(!table.is_empty());
        for (key, expected) in table {
            assert_eq!(normal_key(key), expected, "{key}");
        }
    }

    // conformance: I3
    #[test]
    fn the_most_exact_key_comes_first() {
        assert_eq!(
            keys_for("reg.example:5000", "team/app/web"),
            [
                "reg.example:5000/team/app/web",
                "reg.example:5000/team/app",
                "reg.example:5000/team",
                "reg.example:5000"
            ]
        );
        assert_eq!(keys_for("index.docker.io", ""), ["docker.io"]);
    }

    // conformance: I4
    #[test]
    fn every_kind_of_entry_is_read() {
        let password = |user: &str, password: &str| Ok(Some(Credential::password(user, password)));
        let table: [(&str, Result<Option<Credential>, &str>); 11] = [
            // u:p:w
            (r#"{"auth":"dTpwOnc="}"#, password("u", "p:w")),
            (r#"{"auth":"dTpwOnc"}"#, password("u", "p:w")),
            (r#"{"username":"u","password":"p"}"#, password("u", "p")),
            (
                r#"{"auth":"","username":"u","password":"p"}"#,
                password("u", "p"),
            ),
            (
                r#"{"auth":"dTpw","identitytoken":"t"}"#,
                Ok(Some(Credential::Identity("t".into()))),
            ),
            (
                r#"{"registrytoken":"t"}"#,
                Ok(Some(Credential::Bearer("t".into()))),
            ),
            (
                r#"{"username":"<token>","password":"t"}"#,
                Ok(Some(Credential::Identity("t".into()))),
            ),
            ("{}", Ok(None)),
            (r#"{"email":"x@y"}"#, Ok(None)),
            (r#"{"auth":"***"}"#, Err("`auth` is not base64")),
            (r#"{"auth":"dXA="}"#, Err("`auth` has no `:`")),
        ];
        assert!(!table.is_empty());
        for (json, expected) in table {
            let entry: Entry = serde_json::from_str(json).unwrap();
            assert_eq!(entry.credential(), expected, "{json}");
        }
    }
}
