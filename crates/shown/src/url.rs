//! URLs, and what of them is nobody's business.

use std::borrow::Cow;
use std::fmt;

/// What stands for a secret; the same text as in BuildKit's messages.
pub const MASK: &str = "xxxxx";

/// What every URL has after its scheme.
const SEPARATOR: &str = "://";

/// Parts of a query that say what is meant and never who may have it: those of git names and of the distribution
/// protocol. What other servers put into a query may be a signature, whatever it is called.
const HARMLESS: [&str; 15] = [
    "ref",
    "branch",
    "tag",
    "subdir",
    "commit",
    "checksum",
    "keep-git-dir",
    "submodules",
    "digest",
    "mount",
    "from",
    "n",
    "last",
    "service",
    "scope",
];

/// A URL, or what was given as one. Whenever it is printed, user, password and what a query may hide are masked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL as it was given, for use and not for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for SecretUrl {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&redact(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact(&self.0))
    }
}

/// Masks what is secret in every URL of a text: all of a login but the user that an SSH name needs, and the values of
/// a query unless they are known to be harmless.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains(SEPARATOR) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SEPARATOR) {
        let (before, after) = rest.split_at(at + SEPARATOR.len());
        shown.push_str(before);
        let (url, others) = after.split_at(after.find(ends).unwrap_or(after.len()));
        add_masked(&mut shown, scheme(&before[..at]), url);
        rest = others;
    }
    shown.push_str(rest);
    if shown == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(shown)
    }
}

/// What no URL contains, and what it is quoted with in messages and in JSON.
fn ends(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '`' | '<' | '>')
}

/// The scheme at the end of what stands before `://`.
fn scheme(before: &str) -> &str {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let start = before.trim_end_matches(part).len();
    &before[start..]
}

/// Adds what follows `://`.
fn add_masked(shown: &mut String, scheme: &str, url: &str) {
    let (login, rest) = split_login(url);
    if let Some(login) = login {
        let (user, password) = match login.split_once(':') {
            Some((user, _)) => (user, true),
            None => (login, false),
        };
        let keeps_user = scheme.to_ascii_lowercase().ends_with("ssh");
        shown.push_str(if keeps_user { user } else { MASK });
        if password {
            shown.push(':');
            shown.push_str(MASK);
        }
        shown.push('@');
    }
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (rest, None),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    shown.push_str(path);
    if let Some(query) = query {
        shown.push('?');
        add_pairs(shown, query, true);
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        add_pairs(shown, fragment, false);
    }
}

/// The login without its `@`, and the rest. A password that should have been escaped and was not is one all the same:
/// what stands where a port would be and is none.
fn split_login(url: &str) -> (Option<&str>, &str) {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let authority = &url[..end];
    let at = authority.rfind('@').or_else(|| {
        let (host, port) = authority.rsplit_once(':')?;
        let is_address = host.starts_with('[');
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        if is_address || is_port {
            None
        } else {
            url.rfind('@')
        }
    });
    match at {
        Some(at) => (Some(&url[..at]), &url[at + 1..]),
        None => (None, url),
    }
}

/// Adds `a=b&c`; a part that is no pair is masked only where `alone` says so: in a fragment it is a name.
fn add_pairs(shown: &mut String, pairs: &str, alone: bool) {
    for (number, pair) in pairs.split('&').enumerate() {
        if number > 0 {
            shown.push('&');
        }
        let name = pair.split('=').next().unwrap_or_default();
        let harmless = HARMLESS.contains(&name.to_ascii_lowercase().as_str());
        match pair.split_once('=') {
            // A secret of its own, in base64.
            Some((name, "")) if alone && !harmless && !name.is_empty() => {
                shown.push_str(MASK);
                shown.push('=');
            }
            Some((name, value)) if !harmless && !value.is_empty() => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            None if alone && !harmless && !pair.is_empty() => shown.push_str(MASK),
            _ => shown.push_str(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // finding 13
    // conformance: I39
    #[test]
    fn what_is_masked() {
        let table = [
            ("https://host/a/b", "https://host/a/b"),
            ("https://u:p@host/a", "https://xxxxx:xxxxx@host/a"),
            ("https://t0k@host:8443/a", "https://xxxxx@host:8443/a"),
            ("https://:t0k@host", "https://xxxxx:xxxxx@host"),
            ("git://u:t0k@h/r#main:d", "git://xxxxx:xxxxx@h/r#main:d"),
            ("git+https://t0k@h/r.git", "git+https://xxxxx@h/r.git"),
            ("ssh://git@h/r", "ssh://git@h/r"),
            ("ssh://git:t0k@h/r", "ssh://git:xxxxx@h/r"),
            ("socks5://u:t0k@h:1", "socks5://xxxxx:xxxxx@h:1"),
            ("https://h/f?token=t0k", "https://h/f?token=xxxxx"),
            (
                "https://h/f?X-Amz-Signature=t0k&ref=v1&sig=t0k#f",
                "https://h/f?X-Amz-Signature=xxxxx&ref=v1&sig=xxxxx#f",
            ),
            ("https://h/f?t0k", "https://h/f?xxxxx"),
            ("https://h/f?", "https://h/f?"),
            ("https://h/f?t0k3n=", "https://h/f?xxxxx="),
            (
                "https://h/f#access_token=t0k",
                "https://h/f#access_token=xxxxx",
            ),
            (
                "https://h/r.git?submodules&ref=a",
                "https://h/r.git?submodules&ref=a",
            ),
            // What should have been escaped.
            ("https://u:t/0?k#@host/a", "https://xxxxx:xxxxx@host/a"),
            ("https://u:t0k@x@host/a", "https://xxxxx:xxxxx@host/a"),
            ("https://h:80/a@b", "https://h:80/a@b"),
            ("https://[::1]:80/a@b", "https://[::1]:80/a@b"),
            // In other text.
            (
                "cannot fetch `https://u:p@h/a?b=c`: no. Try http://x",
                "cannot fetch `https://xxxxx:xxxxx@h/a?b=xxxxx`: no. Try http://x",
            ),
            (
                r#"{"a":"https://h","b":"c@d","e":"http://t0k@h"}"#,
                r#"{"a":"https://h","b":"c@d","e":"http://xxxxx@h"}"#,
            ),
            ("me@host:path and a@b", "me@host:path and a@b"),
            ("://", "://"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(redact(text), expected);
            assert_eq!(SecretUrl::from(text).to_string(), expected);
            assert!(!format!("{:?}", SecretUrl::from(text)).contains("t0k"));
            assert_eq!(redact(expected), expected, "twice is as once");
        }
    }

    proptest! {
        /// However a URL is written, and whatever stands around it.
        #[test]
        fn no_secret_is_left(
            before in "[a-z ]{0,9}",
            user in "[a-z]{0,4}",
            password in "[A-Z0-9!$&()*+,;=:_~%-]{6,12}",
            value in "[A-Z0-9!$()*+,;:_~%-]{6,12}={0,2}",
            path in "(/[a-z]{0,5}){0,3}",
            after in "( [a-z@]{1,9})?",
        ) {
            let text = format!("{before}https://{user}:{password}@host{path}?key={value}&{value}{after}");
            let shown = redact(&text);
            prop_assert!(!shown.contains(&password) && !shown.contains(&value), "{shown}");
            let around = shown.starts_with(&before) && shown.ends_with(&after);
            prop_assert!(around, "{}", shown);
        }
    }
}
