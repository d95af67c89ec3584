//! Where the files of a build come from.

use std::path::{Component, Path, PathBuf};

use crate::nearest::nearest;
use crate::path::absolute;
use crate::value::{self, ValueError};
use crate::{Notice, OptionError};

/// Options that say what the build context is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Context")
)]
pub struct ContextOptions {
    /// Directory with the files to build from.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "DIR", default_value = ContextOptions::DEFAULT))]
    pub context: String,
    /// Directory inside the context to use in its place.
    #[cfg_attr(feature = "clap", arg(long, value_name = "PATH", value_parser = crate::path::any_path()))]
    pub context_sub_path: Option<PathBuf>,
    /// Bucket with the context as an archive; the old form of `--context gs://...`.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "BUCKET", hide = true))]
    pub bucket: Option<String>,
    /// How to clone a git context: branch=NAME, single-branch=BOOL, depth=N, recurse-submodules=BOOL,
    /// insecure-skip-tls=BOOL; several may be joined by commas.
    #[cfg_attr(feature = "clap", arg(long, value_name = "KEY=VALUE,..."))]
    pub git: Vec<String>,
}

impl ContextOptions {
    /// Where kaniko's users mount their context.
    const DEFAULT: &str = "/workspace/";

    /// Finds the context directory, which must exist, sub-path included (J1, J9, J13).
    pub(crate) fn resolve(&self, notices: &mut Vec<Notice>) -> Result<PathBuf, OptionError> {
        let git = GitOptions::parse(&self.git)?;
        if let Some(bucket) = self.bucket.as_deref().filter(|bucket| !bucket.is_empty()) {
            let context = if bucket.contains("://") {
                bucket.to_owned()
            } else {
                format!("gs://{bucket}")
            };
            return Err(unavailable(context));
        }
        let root = absolute(Path::new(directory(&self.context)?))?;
        must_be_directory(&root)?;
        if git != GitOptions::default() {
            notices.push(Notice(
                "`--git` has no effect: the context is a directory".to_owned(),
            ));
        }
        match &self.context_sub_path {
            Some(sub_path) if !sub_path.as_os_str().is_empty() => below(&root, sub_path),
            _ => Ok(root),
        }
    }
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            context: Self::DEFAULT.to_owned(),
            context_sub_path: None,
            bucket: None,
            git: Vec::new(),
        }
    }
}

/// Kinds of context by scheme.
const SCHEMES: [(&str, &str); 8] = [
    ("dir", "directory"),
    ("tar", "archive"),
    ("git", "git"),
    ("gs", "bucket"),
    ("s3", "bucket"),
    ("https", "download"),
    ("http", "download"),
    ("git+https", "git"),
];

/// The path of a context that is a directory.
fn directory(context: &str) -> Result<&str, OptionError> {
    if context.is_empty() {
        return Err(OptionError::MissingArgument {
            what: "`--context`".to_owned(),
        });
    }
    match context.split_once("://") {
        None => Ok(context),
        Some(("dir", path)) => Ok(path),
        Some(_) => Err(unavailable(context.to_owned())),
    }
}

fn unavailable(context: String) -> OptionError {
    let scheme = context.split_once("://").map_or("", |(scheme, _)| scheme);
    match SCHEMES.iter().find(|(name, _)| *name == scheme) {
        Some((_, kind)) => OptionError::ContextNotAvailable { context, kind },
        None => OptionError::InvalidValue {
            flag: "--context".to_owned(),
            expected:
                "a directory, or one of `dir://`, `tar://`, `git://`, `gs://`, `s3://`, `https://`"
                    .to_owned(),
            nearest: nearest(scheme, SCHEMES.iter().map(|(name, _)| *name))
                .map(|name| format!("{name}://")),
            value: context,
        },
    }
}

fn must_be_directory(path: &Path) -> Result<(), OptionError> {
    let unusable = |source| OptionError::ContextUnusable {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(unusable)?.is_dir() {
        Ok(())
    } else {
        Err(unusable(std::io::ErrorKind::NotADirectory.into()))
    }
}

/// `sub_path` below `root`; neither `..` nor a symlink may lead out (J9). An absolute path counts from the root.
fn below(root: &Path, sub_path: &Path) -> Result<PathBuf, OptionError> {
    let outside = || OptionError::SubPathOutside {
        sub_path: sub_path.to_owned(),
        context: root.to_owned(),
    };
    let mut path = root.to_owned();
    let mut depth = 0_usize;
    for component in sub_path.components() {
        match component {
            Component::Normal(name) => {
                path.push(name);
                depth += 1;
            }
            Component::ParentDir => {
                depth = depth.checked_sub(1).ok_or_else(outside)?;
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    must_be_directory(&path)?;
    let real = |path: &Path| {
        path.canonicalize()
            .map_err(|source| OptionError::ContextUnusable {
                path: path.to_owned(),
                source,
            })
    };
    if real(&path)?.starts_with(real(root)?) {
        Ok(path)
    } else {
        Err(outside())
    }
}

/// How a git context is cloned (J5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitOptions {
    /// Branch or tag to check out.
    pub branch: Option<String>,
    /// Fetch that branch only.
    pub single_branch: bool,
    /// Commits to fetch from the tip; zero means all.
    pub depth: u32,
    /// Fetch submodules too.
    pub recurse_submodules: bool,
    /// Accept any certificate.
    pub insecure_skip_tls: bool,
}

impl GitOptions {
    /// Reads the values of `--git`, in the order given; the last one of a key wins.
    pub fn parse(values: &[String]) -> Result<Self, OptionError> {
        const KEYS: [&str; 5] = [
            "branch",
            "single-branch",
            "depth",
            "recurse-submodules",
            "insecure-skip-tls",
        ];
        let mut options = Self::default();
        for field in values
            .iter()
            .flat_map(|value| value.split(','))
            .filter(|field| !field.is_empty())
        {
            let invalid = |ValueError { expected, nearest }| OptionError::InvalidValue {
                flag: "--git".to_owned(),
                value: field.to_owned(),
                expected,
                nearest,
            };
            let Some((key, text)) = field.split_once('=') else {
                return Err(invalid(ValueError::new("`KEY=VALUE`")));
            };
            match key {
                "branch" => options.branch = Some(text.to_owned()).filter(|name| !name.is_empty()),
                "single-branch" => options.single_branch = value::boolean(text).map_err(invalid)?,
                "depth" => {
                    options.depth = text
                        .parse()
                        .map_err(|_| invalid(ValueError::new("a number of commits")))?;
                }
                "recurse-submodules" => {
                    options.recurse_submodules = value::boolean(text).map_err(invalid)?;
                }
                "insecure-skip-tls" => {
                    options.insecure_skip_tls = value::boolean(text).map_err(invalid)?;
                }
                _ => {
                    let mut error = ValueError::one_of(key, &KEYS);
                    error.expected.insert_str(0, "the key ");
                    return Err(invalid(error));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(context: &Path, sub_path: Option<&str>) -> ContextOptions {
        ContextOptions {
            context: context.to_str().unwrap().to_owned(),
            context_sub_path: sub_path.map(PathBuf::from),
            ..ContextOptions::default()
        }
    }

    // conformance: J1, J9, J13
    #[test]
    fn directories() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("ctx");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/", root.join("out")).unwrap();
        std::os::unix::fs::symlink("a/b", root.join("in")).unwrap();
        std::os::unix::fs::symlink(&root, temp.path().join("link")).unwrap();

        let resolve = |options: ContextOptions| options.resolve(&mut Vec::new());
        let table: &[(Option<&str>, Option<&str>)] = &[
            (None, Some("")),
            (Some(""), Some("")),
            (Some("a/b"), Some("a/b")),
            (Some("/a/b/"), Some("a/b")),
            (Some("a/../a/./b"), Some("a/b")),
            (Some("in"), Some("in")),
            (Some(".."), None),
            (Some("a/../../x"), None),
            (Some("out"), None),
            (Some("out/etc"), None),
            (Some("missing"), None),
            (Some("file"), None),
        ];
        assert!(!table.is_empty());
        for (sub_path, expected) in table {
            let result = resolve(at(&root, *sub_path));
            assert_eq!(
                result.ok(),
                expected.map(|path| root.join(path)),
                "{sub_path:?}"
            );
        }
        assert!(resolve(at(&temp.path().join("link"), Some("a"))).is_ok());
        let scheme = format!("dir://{}", root.display());
        assert_eq!(
            resolve(ContextOptions {
                context: scheme,
                ..ContextOptions::default()
            })
            .unwrap(),
            root
        );
    }

    #[test]
    fn contexts_of_another_kind_are_refused() {
        for context in [
            "tar://x.tar",
            "git://github.com/a/b",
            "s3://b/k",
            "gs://b/k",
            "https://x/y.tgz",
            "sftp://x",
            "",
        ] {
            let options = ContextOptions {
                context: context.to_owned(),
                ..ContextOptions::default()
            };
            assert!(options.resolve(&mut Vec::new()).is_err(), "{context}");
        }
        let options = ContextOptions {
            bucket: Some("b".to_owned()),
            ..ContextOptions::default()
        };
        let error = options.resolve(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("`gs://b`"), "{error}");
    }

    #[test]
    fn git_options() {
        let parse = |values: &[&str]| {
            GitOptions::parse(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]).unwrap(), GitOptions::default());
        let all = parse(&[
            "branch=v1=x,single-branch=true",
            "depth=3,recurse-submodules=1,insecure-skip-tls=t",
        ])
        .unwrap();
        assert_eq!(
            all,
            GitOptions {
                branch: Some("v1=x".to_owned()),
                single_branch: true,
                depth: 3,
                recurse_submodules: true,
                insecure_skip_tls: true
            }
        );
        for bad in ["branch", "brnach=x", "depth=-1", "single-branch=maybe"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn git_options_for_a_directory_are_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let mut notices = Vec::new();
        let options = ContextOptions {
            git: vec!["depth=1".to_owned()],
            ..at(temp.path(), None)
        };
        options.resolve(&mut notices).unwrap();
        assert_eq!(notices.len(), 1);
    }
}
