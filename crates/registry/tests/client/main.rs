//! The client against registries: the test kit's, which misbehaves on demand, and Debian's.
//!
//! One module per subject; a test names the conformance entry it holds.
#![expect(clippy::unwrap_used, reason = "a panic in a test is its failure")]

mod auth;
mod debian;
mod errors;
mod mirrors;
mod pull;
mod push;
mod rude;
mod tls;

use std::time::Duration;

use kiln_registry::{AuthConfig, Client, RegistrySettings, Retries};

/// Settings that wait for nobody.
fn settings() -> RegistrySettings {
    RegistrySettings {
        retries: Retries {
            delay: Duration::from_millis(1),
            request_delay: Duration::from_millis(1),
            ..Retries::default()
        },
        ..RegistrySettings::default()
    }
}

/// A client with them.
fn client() -> Client {
    Client::new(settings()).unwrap()
}

/// Credentials for one key of `auths`.
fn login(key: &str, user: &str, password: &str) -> AuthConfig {
    let text =
        format!(r#"{{"auths":{{"{key}":{{"username":"{user}","password":"{password}"}}}}}}"#);
    AuthConfig::from_json(text.as_bytes(), "`test.json`").unwrap()
}

/// An error with its causes, as a binary would print it; addresses of this run replaced.
fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("127.0.0.1:") {
        out = format!("{out}{before}HOST");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}
