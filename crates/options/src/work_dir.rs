//! Where the builder keeps its own files.

use std::path::{Path, PathBuf};

use crate::OptionError;
use crate::env_vars::{self, Env};
use crate::path::{absolute, given, no_url};

/// Where the builder keeps its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkDir {
    /// This folder, which outlives the build. Somebody named it, so it is an error if it cannot be used.
    Fixed(PathBuf),
    /// The folder of kaniko's images, which outlives the build, or, where it cannot be written to, as by an ordinary
    /// user, a folder of a fresh name below `fallback`.
    Image {
        /// The folder.
        dir: PathBuf,
        /// The folder for temporary files.
        fallback: PathBuf,
    },
    /// A folder of a fresh name below this one, which has to exist, removed at the end.
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
        for (name, dir) in [
            ("--kaniko-dir", flag),
            (env_vars::KANIKO_DIR, variable.as_ref()),
        ] {
            if let Some(dir) = dir {
                no_url(name, dir, "a path of this machine")?;
            }
        }
        if let Some(dir) = given(flag)?.or(given(variable.as_ref())?) {
            return Ok(Self::Fixed(dir));
        }
        let temporary = match env(env_vars::TMPDIR) {
            Some(dir) if !dir.is_empty() => absolute(Path::new(&dir))?,
            _ => PathBuf::from("/tmp"),
        };
        if executable.is_some_and(|path| path.starts_with(KANIKO)) {
            return Ok(Self::Image {
                dir: PathBuf::from(KANIKO),
                fallback: temporary,
            });
        }
        Ok(Self::Private(temporary))
    }

    /// The folder that outlives the build, if there is one.
    pub fn lasting(&self) -> Option<&Path> {
        match self {
            Self::Fixed(dir) | Self::Image { dir, .. } => Some(dir),
            Self::Private(_) => None,
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

    // conformance: K3
    #[test]
    fn precedence() {
        let fixed = |path: &str| WorkDir::Fixed(PathBuf::from(path));
        let private = |path: &str| WorkDir::Private(PathBuf::from(path));
        let image = |fallback: &str| WorkDir::Image {
            dir: PathBuf::from("/kaniko"),
            fallback: PathBuf::from(fallback),
        };
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
                image("/tmp"),
            ),
            (
                None,
                &[("TMPDIR", "/scratch")],
                "/kaniko/executor",
                image("/scratch"),
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
