//! The environment variables that become settings, and how their text becomes values. Those of credentials and proxies are
//! read by the crate `registry`, those of repositories by the engine, where they are used.

use std::ffi::OsString;

use crate::value::{self, ValueError};
use crate::{Notice, OptionError};

/// Looks a variable up; passed in, so that nothing but a binary's `main` reads the real environment.
pub type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Folder of the builder's own files; `--kaniko-dir` wins over it.
pub const KANIKO_DIR: &str = "KANIKO_DIR";
/// Boolean that wins over `--no-push`.
pub const KANIKO_NO_PUSH: &str = "KANIKO_NO_PUSH";
/// One more `--registry-mirror`, executor only.
pub const KANIKO_REGISTRY_MIRROR: &str = "KANIKO_REGISTRY_MIRROR";
/// One more `--registry-map`.
pub const KANIKO_REGISTRY_MAP: &str = "KANIKO_REGISTRY_MAP";
/// Boolean default of `--pre-cleanup`.
pub const KANIKO_PRE_CLEANUP: &str = "KANIKO_PRE_CLEANUP";
/// Boolean default of `--cleanup`.
pub const KANIKO_CLEANUP: &str = "KANIKO_CLEANUP";
/// Boolean default of `--preserve-context`.
pub const KANIKO_PRESERVE_CONTEXT: &str = "KANIKO_PRESERVE_CONTEXT";
/// Boolean: show the plan, then build.
pub const KANIKO_PRINT_PLAN: &str = "KANIKO_PRINT_PLAN";
/// Boolean: speak HTTP/1.1 with registries (I35), the one `FF_KANIKO_*` switch that still chooses.
pub const FF_KANIKO_DISABLE_HTTP2: &str = "FF_KANIKO_DISABLE_HTTP2";
/// Folder that gets an `images` file with a JSON line per pushed image (I37).
pub const BUILDER_OUTPUT: &str = "BUILDER_OUTPUT";
/// Appended to the user agent (I18).
pub const UPSTREAM_CLIENT_TYPE: &str = "UPSTREAM_CLIENT_TYPE";
/// Seconds since 1970 that stand for now in everything the build writes (G43).
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Parent of the private work folder.
pub const TMPDIR: &str = "TMPDIR";
/// Any value but the empty one turns colours off, see <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";
/// Folder of docker's `config.json`, which `login` writes and registry access reads (I2).
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Where `~` is when `DOCKER_CONFIG` is not set.
pub const HOME: &str = "HOME";

/// Beginnings of names that are kaniko's, for what has no counterpart here.
const WITHOUT_MEANING: [&str; 2] = ["KANIKO_TELEMETRY_", "FF_KANIKO_"];

/// One line about variables of kaniko's that are set and change nothing here; `names` are those of the environment.
pub fn without_meaning(names: impl IntoIterator<Item = OsString>) -> Option<Notice> {
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut found: Vec<String> = names
        .filter(|name| name != FF_KANIKO_DISABLE_HTTP2)
        .filter(|name| WITHOUT_MEANING.iter().any(|begin| name.starts_with(begin)))
        .map(|name| format!("`{name}`"))
        .collect();
    found.sort();
    let (have, variables) = match found.len() {
        0 => return None,
        1 => ("has", "variable"),
        _ => ("have", "variables"),
    };
    let list = found.join(", ");
    Some(Notice(format!(
        "the {variables} {list} {have} no effect here"
    )))
}

/// The text of a variable; an empty one counts as not set, as CI systems produce it.
pub(crate) fn text(env: &Env<'_>, name: &str) -> Result<Option<String>, OptionError> {
    match env(name) {
        None => Ok(None),
        Some(raw) if raw.is_empty() => Ok(None),
        Some(raw) => match raw.into_string() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(OptionError::NotUnicode {
                name: name.to_owned(),
            }),
        },
    }
}

/// A boolean variable, spelled as kaniko spells booleans.
pub(crate) fn boolean(env: &Env<'_>, name: &str) -> Result<Option<bool>, OptionError> {
    let Some(text) = text(env, name)? else {
        return Ok(None);
    };
    match value::boolean(&text) {
        Ok(flag) => Ok(Some(flag)),
        Err(ValueError { expected, nearest }) => Err(OptionError::InvalidValue {
            flag: name.to_owned(),
            value: text,
            expected,
            nearest,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding 53
    #[test]
    fn variables_that_change_nothing_are_named_in_one_line() {
        let table = [
            ("", ""),
            (
                "PATH KANIKO_DIR KANIKO_REGISTRY_MAP FF_KANIKO_DISABLE_HTTP2 KANIKO_REG_EXAMPLE_PASSWORD",
                "",
            ),
            (
                "FF_KANIKO_SQUASH_STAGES",
                "the variable `FF_KANIKO_SQUASH_STAGES` has no effect here",
            ),
            (
                "KANIKO_TELEMETRY_X HOME FF_KANIKO_A",
                "the variables `FF_KANIKO_A`, `KANIKO_TELEMETRY_X` have no effect here",
            ),
        ];
        for (names, expected) in table {
            let names = names.split_whitespace().map(OsString::from);
            let said = without_meaning(names).map(|notice| notice.0);
            assert_eq!(said.unwrap_or_default(), expected);
        }
    }
}
