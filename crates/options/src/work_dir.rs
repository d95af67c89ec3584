//! Where the builder keeps its own files.

use std::path::{Path, PathBuf};

use crate::OptionError;
use crate::env_vars::{self, Env};
use crate::path::{absolute, given};

/// Where the builder keeps its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkDir {
    /// This folder, which outlives the build.
    Fixed(PathBuf),
    /// A folder of a fresh name below this one, removed at the end.
    Private(PathBuf),
}

/// The folder of kaniko's images.
const KANIKO: &str = "/kaniko";

impl WorkDir {
    /// `--kaniko-dir`, then `KANIKO_DIR`, then `/kaniko` if `executable` is in it, else below `TMPDIR`.
    pub(crate) fn resolve(
        flag: Option<&PathBuf>,
        env: &Env<'_>,
        executable: Option<&Path>,
    ) -> Result<Self, OptionError> {
        let variable = env(env_vars::KANIKO_DIR).map(PathBuf::from);
        if let Some(dir) = given(flag)?.or(given(variable.as_ref())?) {
            return Ok(Self::Fixed(dir));
        }
        if executable.is_some_and(|path| path.starts_with(KANIKO)) {
            return Ok(Self::Fixed(PathBuf::from(KANIKO)));
        }
        match env(env_vars::TMPDIR) {
            Some(dir) if !dir.is_empty() => absolute(Path::new(&dir)).map(Self::Private),
            _ => Ok(Self::Private(PathBuf::from("/tmp"))),
        }
    }
}

impl Default for WorkDir {
    fn default() -> Self {
        Self::Private(PathBuf::from("/tmp"))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// Flag, variables, executable, expected.
    type Row<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a str, WorkDir);

    // conformance: K (--kaniko-dir, KANIKO_DIR)
    #[test]
    fn precedence() {
        let fixed = |path: &str| WorkDir::Fixed(PathBuf::from(path));
        let private = |path: &str| WorkDir::Private(PathBuf::from(path));
        let table: &[Row<'_>] = &[
            (
                Some("/a"),
                &[("KANIKO_DIR", "/b")],
                "/kaniko/executor",
                fixed("/a"),
            ),
            (
                Some(""),
                &[("KANIKO_DIR", "/b")],
                "/kaniko/executor",
                fixed("/b"),
            ),
            (
                None,
                &[("KANIKO_DIR", "")],
                "/kaniko/executor",
                fixed("/kaniko"),
            ),
            (None, &[], "/kaniko2/executor", private("/tmp")),
            (
                None,
                &[("TMPDIR", "/scratch")],
                "/usr/bin/executor",
                private("/scratch"),
            ),
            (
                None,
                &[("TMPDIR", "")],
                "/usr/bin/executor",
                private("/tmp"),
            ),
        ];
        assert!(!table.is_empty());
        for (flag, variables, executable, expected) in table {
            let env = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| OsString::from(value))
            };
            let flag = flag.map(PathBuf::from);
            let result = WorkDir::resolve(flag.as_ref(), &env, Some(Path::new(executable)));
            assert_eq!(&result.unwrap(), expected, "{flag:?} {variables:?}");
        }
    }
}
