//! The environment variables that become settings, and how their text becomes values. Those of credentials and proxies are
//! read by the crate `registry`, those of repositories by the engine, where they are used.

use std::ffi::OsString;

use crate::OptionError;
use crate::value::{self, ValueError};

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
