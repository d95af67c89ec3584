//! Names of git repositories, as `ADD` and `docker build` take them.

use std::fmt;

use crate::GitError;

/// Whose name and password go with a request; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// A repository, and what of it is meant (conformance E47): `URL[#REF[:DIRECTORY]]`, or `URL?ref=..&subdir=..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitReference {
    /// The URL without user and password.
    pub remote: String,
    /// From the URL.
    pub login: Option<Login>,
    /// Branch, tag, full name of a reference or commit id; the remote's HEAD if absent.
    pub reference: Option<String>,
    /// A directory of the tree.
    pub subdir: Option<String>,
    /// What the commit's id has to begin with.
    pub commit: Option<String>,
    /// Whether `.git` is wanted, if the query says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are wanted, if the query says so.
    pub submodules: Option<bool>,
}

/// How the path of a repository on a web server ends.
const ENDING: &str = ".git";

/// Whether a text names a git repository; only these are taken for one.
pub fn is_git(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("git://") || lower.starts_with("ssh://") {
        return true;
    }
    if lower.starts_with("http://") || lower.starts_with("https://") {
        let path = lower.split(['#', '?']).next().unwrap_or_default();
        return path.ends_with(ENDING);
    }
    scp_like(text).is_some()
}

/// `user@host:path`, and no URL.
fn scp_like(text: &str) -> Option<(&str, &str)> {
    if text.contains("://") {
        return None;
    }
    let (host, path) = text.split_once(':')?;
    let (user, name) = host.split_once('@')?;
    let plain = |part: &str, also: &[char]| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || also.contains(&c))
    };
    (plain(user, &['-', '_', '.']) && plain(name, &['-', '.']) && !path.is_empty())
        .then_some((host, path))
}

impl GitReference {
    /// Reads a name for which [`is_git`] holds.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let invalid = |reason: String| GitError::Reference {
            text: kiln_shown::redact(text).into_owned(),
            reason,
        };
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, fragment),
            None => (text, ""),
        };
        let (remote, query) = match rest.split_once('?') {
            Some((remote, query)) if !query.is_empty() => (remote, Some(query)),
            _ => (rest, None),
        };
        let mut parsed = Self {
            remote: without_login(remote),
            login: login_of(remote),
            reference: None,
            subdir: None,
            commit: None,
            keep_git_dir: None,
            submodules: None,
        };
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        parsed.reference = given(reference);
        parsed.subdir = given(subdir);
        if let Some(query) = query {
            if !fragment.is_empty() {
                return Err(invalid(
                    "either a query or a fragment can say what is meant, not both".to_owned(),
                ));
            }
            parsed.read_query(query).map_err(invalid)?;
        }
        if let Some(subdir) = &parsed.subdir
            && subdir.split('/').any(|part| part == "..")
        {
            return Err(invalid(format!("`{subdir}` leads out of the repository")));
        }
        if parsed
            .reference
            .as_deref()
            .is_some_and(|name| name.starts_with('-'))
        {
            return Err(invalid("a reference cannot begin with `-`".to_owned()));
        }
        Ok(parsed)
    }

    fn read_query(&mut self, query: &str) -> Result<(), String> {
        let switch = |value: &str| match value {
            "" | "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(format!("`{value}` is neither true nor false")),
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let name = match &*key {
                "ref" => value.to_string(),
                "branch" => format!("refs/heads/{value}"),
                "tag" => format!("refs/tags/{value}"),
                "subdir" => {
                    self.subdir = Some(value.into_owned()).filter(|text| !text.is_empty());
                    continue;
                }
                "commit" | "checksum" => {
                    self.commit = Some(value.into_owned());
                    continue;
                }
                "keep-git-dir" => {
                    self.keep_git_dir = switch(&value)?;
                    continue;
                }
                "submodules" => {
                    self.submodules = switch(&value)?;
                    continue;
                }
                other => {
                    return Err(format!(
                        "unknown key `{other}` in the query: there are ref, branch, tag, subdir, commit, checksum, \
                         keep-git-dir and submodules"
                    ));
                }
            };
            if self.reference.replace(name).is_some() {
                return Err("the query names two references".to_owned());
            }
        }
        Ok(())
    }

    /// Whether the reference is a whole commit id.
    pub fn is_commit(&self) -> bool {
        self.reference.as_deref().is_some_and(is_commit_id)
    }
}

/// 40 or 64 hexadecimal digits.
pub(crate) fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A URL or name as it may be shown: without user and password, but for the user that an SSH name needs.
pub fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '#', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((login, host)) = authority.rsplit_once('@') else {
        return text.to_owned();
    };
    if scheme.eq_ignore_ascii_case("ssh") {
        let user = login.split(':').next().unwrap_or_default();
        return format!("{scheme}://{user}@{host}{tail}");
    }
    format!("{scheme}://{host}{tail}")
}

fn login_of(remote: &str) -> Option<Login> {
    let parsed = url::Url::parse(remote).ok()?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.username().is_empty() {
        return None;
    }
    let decoded = |text: &str| {
        url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
            .next()
            .map(|(text, _)| text.into_owned())
            .unwrap_or_default()
    };
    Some(Login {
        user: decoded(parsed.username()),
        password: decoded(parsed.password().unwrap_or_default()),
    })
}

/// The URL of a submodule: relative ones begin at the URL of what holds them (J8).
#[cfg(any(test, feature = "fetch"))]
pub(crate) fn submodule_url(parent: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut joint = '/';
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let cut = base.rfind(['/', ':']).unwrap_or(0);
            joint = if base[cut..].starts_with(':') {
                ':'
            } else {
                '/'
            };
            base.truncate(cut);
        } else {
            return format!("{base}{joint}{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // conformance: E45 E47
    #[test]
    fn what_names_a_repository() {
        let table = [
            ("https://h/r.git", true),
            ("https://h/r.git#main:sub", true),
            ("https://h/r.git?ref=main", true),
            ("HTTP://h/R.GIT", true),
            ("git://h/r", true),
            ("ssh://git@h/r", true),
            ("git@h:r", true),
            ("git@github.com:a/b.git#v1:d", true),
            ("https://h/r", false),
            ("https://h/r?x=.git", false),
            ("r.git", false),
            ("dir/file@x:y", false),
            ("a b@c:d", false),
            ("user@host", false),
        ];
        for (text, expected) in table {
            assert_eq!(is_git(text), expected, "{text}");
        }
    }

    // conformance: E47
    #[test]
    fn parts() {
        let parse = |text: &str| GitReference::parse(text).unwrap();
        let parsed = parse("https://me:p%40ss@h/r.git#v1:a/b");
        assert_eq!(parsed.remote, "https://h/r.git");
        assert_eq!(parsed.reference.as_deref(), Some("v1"));
        assert_eq!(parsed.subdir.as_deref(), Some("a/b"));
        let login = parsed.login.clone().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("me", "p@ss")
        );
        assert!(!format!("{parsed:?}").contains("p@ss"));
        assert_eq!(parse("git@h:r#:d").subdir.as_deref(), Some("d"));
        assert_eq!(parse("git@h:r#:d").reference, None);
        assert_eq!(parse("ssh://git:x@h/r").remote, "ssh://git@h/r");
        let parsed = parse(
            "https://h/r.git?branch=main&subdir=a&commit=12ab&keep-git-dir=1&submodules=false",
        );
        assert_eq!(parsed.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!(parsed.commit.as_deref(), Some("12ab"));
        assert_eq!(
            (parsed.keep_git_dir, parsed.submodules),
            (Some(true), Some(false))
        );
    }

    // conformance: E48
    #[test]
    fn refused() {
        let table = [
            ("https://h/r.git#main:../x", "leads out"),
            ("https://h/r.git#main:a/../../x", "leads out"),
            ("https://h/r.git?ref=a#b", "not both"),
            ("https://h/r.git?ref=a&tag=b", "two references"),
            ("https://h/r.git?reff=a", "unknown key `reff`"),
            ("https://h/r.git#--upload-pack=x", "begin with `-`"),
        ];
        for (text, part) in table {
            let error = GitReference::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = GitReference::parse("https://u:secret@h/r.git#a:..")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn submodules_lie_beside() {
        let table = [
            ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
            ("https://h/a/b.git/", "./c", "https://h/a/b.git/c"),
            ("git@h:a/b", "../../x/c", "git@h:x/c"),
            ("git@h:a/b", "../c", "git@h:a/c"),
            ("https://h/a/b.git", "https://o/c", "https://o/c"),
        ];
        for (parent, url, expected) in table {
            assert_eq!(submodule_url(parent, url), expected, "{parent} {url}");
        }
    }

    proptest! {
        /// Any text has an answer, and no answer has a password.
        #[test]
        fn no_text_is_too_strange(text in "(https?|ssh|git)?(://|@)?[a-z:@/#?=&%. \\-]{0,30}(\\.git)?[#?:a-z=&./]{0,20}") {
            let _ = is_git(&text);
            let _ = GitReference::parse(&text);
            let _ = submodule_url(&text, "../x");
        }

        #[test]
        fn passwords_are_not_shown(scheme in "https?|ssh", user in "[a-z]{1,5}", host in "[a-z]{1,9}", rest in "[a-z/#:]{0,9}") {
            let text = format!("{scheme}://{user}:s3cr3t@{host}/{rest}.git");
            prop_assert!(!without_login(&text).contains("s3cr3t"));
            let said = match GitReference::parse(&text) {
                Ok(parsed) => format!("{} {parsed:?}", parsed.remote),
                Err(error) => error.to_string(),
            };
            prop_assert!(!said.contains("s3cr3t"), "{}", said);
        }
    }
}
