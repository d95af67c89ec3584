//! Secrets that RUN may mount.

use std::path::{Path, PathBuf};

use crate::OptionError;
use crate::env_vars::Env;
use crate::path::absolute;
use crate::value::ValueError;

/// A secret by name, and where its value is; the value itself is read only when a RUN mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// The name that `RUN --mount=type=secret,id=...` uses.
    pub id: String,
    /// Where the value is.
    pub source: SecretSource,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The content of this file, which existed when the options were resolved.
    File(PathBuf),
    /// The value of this variable of the builder's environment.
    Env(String),
}

/// Reads every `--secret`; an id may be given once only.
pub(crate) fn resolve(values: &[String], env: &Env<'_>) -> Result<Vec<SecretSpec>, OptionError> {
    let mut secrets: Vec<SecretSpec> = Vec::new();
    for value in values {
        let invalid = |reason| OptionError::InvalidSecret {
            value: value.clone(),
            reason,
        };
        let secret = parse(value, env).map_err(invalid)?;
        if secrets.iter().any(|known| known.id == secret.id) {
            return Err(invalid(format!("the id `{}` is given twice", secret.id)));
        }
        if let SecretSource::File(path) = &secret.source {
            readable(path).map_err(|source| OptionError::SecretFile {
                id: secret.id.clone(),
                path: path.clone(),
                source,
            })?;
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

/// The file is there and is none that has no content.
fn readable(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}

/// The fields as written, before they are weighed against each other.
#[derive(Default)]
struct Fields {
    id: Option<String>,
    kind: Option<String>,
    path: Option<String>,
    variable: Option<String>,
}

fn parse(value: &str, env: &Env<'_>) -> Result<SecretSpec, String> {
    let Fields {
        id,
        kind,
        path,
        variable,
    } = fields(value)?;
    let id = id.ok_or("`id` is missing")?;
    let source = match (kind.as_deref(), path, variable) {
        (_, Some(_), Some(_)) => return Err("`src` and `env` exclude each other".to_owned()),
        (Some("file"), None, Some(_)) => {
            return Err("`env` does not go with `type=file`".to_owned());
        }
        (Some("env"), Some(name), None) | (None | Some("env"), None, Some(name)) => {
            SecretSource::Env(name)
        }
        (_, Some(path), None) => file(&path)?,
        (Some("env"), None, None) => SecretSource::Env(id.clone()),
        (None, None, None) if env(&id).is_some() => SecretSource::Env(id.clone()),
        (_, None, None) => file(&id)?,
        (Some(_), None, Some(_)) => return Err("`type` must be `file` or `env`".to_owned()),
    };
    Ok(SecretSpec { id, source })
}

fn file(path: &str) -> Result<SecretSource, String> {
    absolute(Path::new(path))
        .map(SecretSource::File)
        .map_err(|error| error.to_string())
}

fn fields(value: &str) -> Result<Fields, String> {
    let mut fields = Fields::default();
    for field in split(value)? {
        let Some((key, text)) = field.split_once('=') else {
            return Err(format!("`{field}` is not `KEY=VALUE`"));
        };
        let text = Some(text.to_owned()).filter(|text| !text.is_empty());
        match key.trim().to_ascii_lowercase().as_str() {
            "id" => fields.id = text,
            "src" | "source" => fields.path = text,
            "env" => fields.variable = text,
            "type" => match text.as_deref() {
                Some("file" | "env") => fields.kind = text,
                _ => return Err("`type` must be `file` or `env`".to_owned()),
            },
            other => {
                let ValueError { expected, nearest } =
                    ValueError::one_of(other, &["id", "src", "source", "env", "type"]);
                let suggestion = nearest
                    .map(|key| format!(" (did you mean `{key}`?)"))
                    .unwrap_or_default();
                return Err(format!(
                    "unknown key `{key}`: expected {expected}{suggestion}"
                ));
            }
        }
    }
    Ok(fields)
}

/// Splits at commas; a field in double quotes may hold commas, and `""` for a quote.
fn split(value: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn env(name: &str) -> Option<OsString> {
        (name == "TOKEN").then(|| OsString::from("s3cret"))
    }

    // conformance: K9
    #[test]
    fn sources() {
        let file = |path: &str| SecretSource::File(absolute(Path::new(path)).unwrap());
        let variable = |name: &str| SecretSource::Env(name.to_owned());
        let table = [
            ("id=a,src=/x/y", "a", file("/x/y")),
            ("id=a,source=/x/y", "a", file("/x/y")),
            ("src=/x/y,ID=a", "a", file("/x/y")),
            ("id=a,type=file,src=/x", "a", file("/x")),
            ("id=a,\"src=/x,y \"\"q\"\"\"", "a", file("/x,y \"q\"")),
            ("id=a,src=/x=y", "a", file("/x=y")),
            ("id=a,env=B", "a", variable("B")),
            ("id=a,type=env,env=B", "a", variable("B")),
            ("id=a,type=env,src=B", "a", variable("B")),
            ("id=a,type=env", "a", variable("a")),
            ("id=TOKEN", "TOKEN", variable("TOKEN")),
            ("id=TOKEN,type=file", "TOKEN", file("TOKEN")),
            ("id=other", "other", file("other")),
        ];
        assert!(!table.is_empty());
        for (value, id, source) in table {
            assert_eq!(
                parse(value, &env),
                Ok(SecretSpec {
                    id: id.to_owned(),
                    source
                }),
                "{value}"
            );
        }
    }

    #[test]
    fn mistakes() {
        let table = [
            ("", "not `KEY=VALUE`"),
            ("src=/x", "`id` is missing"),
            ("id=", "`id` is missing"),
            ("id=a,src=/x,env=B", "exclude each other"),
            ("id=a,type=file,env=B", "type=file"),
            ("id=a,type=ssh", "must be `file` or `env`"),
            ("id=a,sorce=/x", "did you mean `source`?"),
            ("id=a,\"src=/x", "not closed"),
            ("id", "not `KEY=VALUE`"),
        ];
        assert!(!table.is_empty());
        for (value, part) in table {
            let error = parse(value, &env).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn ids_are_unique_and_files_exist() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let there = format!("id=a,src={}", temp.path().display());
        let resolve = |values: &[&str]| {
            resolve(
                &values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>(),
                &env,
            )
        };
        assert_eq!(resolve(&[&there, "id=b,env=X"]).unwrap().len(), 2);
        assert!(
            resolve(&[&there, "id=a,env=X"])
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(
            resolve(&["id=a,src=/nowhere/x"])
                .unwrap_err()
                .to_string()
                .contains("/nowhere/x")
        );
        assert!(matches!(
            resolve(&["id=a,src=/"]),
            Err(OptionError::SecretFile { .. })
        ));
    }
}
