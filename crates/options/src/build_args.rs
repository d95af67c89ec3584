//! Build arguments, and the variables that act as if they were given as such.

use crate::OptionError;
use crate::env_vars::{self, Env};
use crate::value::ValueError;

/// Reads `--build-arg` values: `K=V`, or `K` for the value of that variable, which counts as not given when the
/// variable is not set (B28). The last one of a name wins. Split at the first `=` only (B30).
pub(crate) fn resolve(
    values: &[String],
    env: &Env<'_>,
) -> Result<Vec<(String, String)>, OptionError> {
    let mut args: Vec<(String, String)> = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let (name, text) = match value.split_once('=') {
            Some((name, text)) => (name, Some(text.to_owned())),
            None => (value.as_str(), variable(env, value)?),
        };
        if name.is_empty() {
            let ValueError { expected, nearest } = ValueError::new("`NAME` or `NAME=VALUE`");
            let flag = "--build-arg".to_owned();
            return Err(OptionError::InvalidValue {
                flag,
                value: value.clone(),
                expected,
                nearest,
            });
        }
        args.retain(|(known, _)| known != name);
        args.extend(text.map(|text| (name.to_owned(), text)));
    }
    Ok(args)
}

/// A variable that may be set and empty, which is a value of its own here.
fn variable(env: &Env<'_>, name: &str) -> Result<Option<String>, OptionError> {
    env(name)
        .map(|raw| {
            raw.into_string().map_err(|_| OptionError::NotUnicode {
                name: name.to_owned(),
            })
        })
        .transpose()
}

/// The time that stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceDateEpoch {
    /// Seconds since 1970.
    Seconds(i64),
    /// `context`: that of the newest file of the build context; in a git context, of the commit.
    Context,
}

impl SourceDateEpoch {
    /// What is allowed, for messages.
    pub const EXPECTED: &str = "a number of seconds since 1970, or `context`";

    /// Reads the value of the variable; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "context" => Some(Self::Context),
            _ => text.parse().ok().map(Self::Seconds),
        }
    }
}

/// `SOURCE_DATE_EPOCH` as build-arg, else as variable; then it also becomes a build-arg, so that an ARG of that name
/// sees it (G43).
pub(crate) fn source_date_epoch(
    args: &mut Vec<(String, String)>,
    env: &Env<'_>,
) -> Result<Option<SourceDateEpoch>, OptionError> {
    const NAME: &str = env_vars::SOURCE_DATE_EPOCH;
    let given = args
        .iter()
        .find(|(name, _)| name == NAME)
        .map(|(_, value)| value.clone());
    let text = match given {
        Some(text) => text,
        None => match env_vars::text(env, NAME)? {
            Some(text) => {
                args.push((NAME.to_owned(), text.clone()));
                text
            }
            None => return Ok(None),
        },
    };
    if text.is_empty() {
        return Ok(None);
    }
    match SourceDateEpoch::parse(&text) {
        Some(epoch) => Ok(Some(epoch)),
        None => Err(OptionError::InvalidValue {
            flag: NAME.to_owned(),
            value: text,
            expected: SourceDateEpoch::EXPECTED.to_owned(),
            nearest: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn env(name: &str) -> Option<OsString> {
        let value = match name {
            "SET" => "from env",
            "EMPTY" => "",
            "http_proxy" => "http://low",
            "NO_PROXY" => "up",
            "no_proxy" => "low",
            "FTP_PROXY" => "ftp://env",
            "SOURCE_DATE_EPOCH" => "1700000000",
            _ => return None,
        };
        Some(value.into())
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    // conformance: B28, B30
    #[test]
    fn values() {
        type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
        let table: &[Row<'_>] = &[
            (&["A=1"], &[("A", "1")]),
            (&["A="], &[("A", "")]),
            (&["A=b=c,d \"e\"\nf"], &[("A", "b=c,d \"e\"\nf")]),
            (&["SET"], &[("SET", "from env")]),
            (&["EMPTY"], &[("EMPTY", "")]),
            (&["UNSET"], &[]),
            (&["A=1", "B=2", "A=3"], &[("B", "2"), ("A", "3")]),
            (&[""], &[]),
        ];
        assert!(!table.is_empty());
        for (given, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            assert_eq!(
                resolve(&strings(given), &env).unwrap(),
                expected,
                "{given:?}"
            );
        }
        assert!(resolve(&strings(&["=x"]), &env).is_err());
    }

    // conformance: G43
    #[test]
    fn epoch() {
        let mut args = Vec::new();
        assert_eq!(
            source_date_epoch(&mut args, &env).unwrap(),
            Some(SourceDateEpoch::Seconds(1_700_000_000))
        );
        assert_eq!(
            args,
            [("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())]
        );
        let mut args = vec![("SOURCE_DATE_EPOCH".to_owned(), "5".to_owned())];
        assert_eq!(
            source_date_epoch(&mut args, &env).unwrap(),
            Some(SourceDateEpoch::Seconds(5))
        );
        let mut args = vec![("SOURCE_DATE_EPOCH".to_owned(), "context".to_owned())];
        assert_eq!(
            source_date_epoch(&mut args, &env).unwrap(),
            Some(SourceDateEpoch::Context)
        );
        assert_eq!(args.len(), 1);
        let mut args = vec![("SOURCE_DATE_EPOCH".to_owned(), "today".to_owned())];
        assert!(source_date_epoch(&mut args, &env).is_err());
        assert_eq!(source_date_epoch(&mut Vec::new(), &|_| None).unwrap(), None);
    }
}
