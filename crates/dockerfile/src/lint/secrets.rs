//! Secrets in the image: `SecretsUsedInArgOrEnv`.

use super::Findings;
use super::rules::SECRETS_USED_IN_ARG_OR_ENV;
use crate::position::Span;

/// Parts of a name, between underscores, that tell of a secret.
const TELLING: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
/// Parts that say it is none after all: a public key, the path of a file, a version.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(super) fn check(instruction: &str, name: &str, span: Span, findings: &mut Findings<'_>) {
    let has = |words: &[&str]| {
        let mut parts = name.split('_');
        parts.any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
    };
    if has(&TELLING) && !has(&HARMLESS) {
        let message = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})"
        );
        findings.add(&SECRETS_USED_IN_ARG_OR_ENV, span, message);
    }
}
