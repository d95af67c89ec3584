//! What can be wrong with a command line, and what to try instead.

use std::path::PathBuf;

/// An option, or a combination of options, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No such flag.
    #[error("unknown flag `{flag}`")]
    UnknownFlag {
        /// As it was given, with its dashes.
        flag: String,
        /// The flag that looks most like it.
        nearest: Option<String>,
    },
    /// A word where only flags are expected.
    #[error("unexpected argument `{argument}`")]
    UnexpectedArgument {
        /// As it was given.
        argument: String,
        /// The subcommand that looks most like it.
        nearest: Option<String>,
    },
    /// A flag at the end of the line that needs a value.
    #[error("`{flag}` needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// A flag or argument that must be given.
    #[error("{what} must be given")]
    MissingArgument {
        /// The flags or arguments.
        what: String,
    },
    /// A command line that is wrong in some other way that the parser explains.
    #[error("{message}")]
    Usage {
        /// The parser's own words.
        message: String,
    },
    /// A value that the flag or variable does not take.
    #[error("invalid value `{value}` for `{flag}`: expected {expected}")]
    InvalidValue {
        /// The flag or variable.
        flag: String,
        /// As it was given.
        value: String,
        /// What is allowed.
        expected: String,
        /// The allowed spelling that looks most like the value.
        nearest: Option<String>,
    },
    /// A value that does not read as an image reference.
    #[error("invalid image name `{value}` for `{flag}`")]
    InvalidReference {
        /// The flag.
        flag: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong with it.
        #[source]
        source: kiln_oci::ReferenceError,
    },
    /// A destination names a digest, which only the result decides.
    #[error("destination `{value}` names a digest; an image can only be pushed to a tag")]
    DestinationWithDigest {
        /// As it was given.
        value: String,
    },
    /// A value that does not read as a platform.
    #[error("invalid platform `{value}` for `{flag}`")]
    InvalidPlatform {
        /// The flag.
        flag: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong with it.
        #[source]
        source: kiln_oci::PlatformError,
    },
    /// A variable whose value is not UTF-8.
    #[error("the value of the variable `{name}` is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        name: String,
    },
    /// Nothing says where the image goes.
    #[error("no destination for the image")]
    MissingDestination,
    /// A flag whose content is made of the destinations, and there are none.
    #[error("`{flag}` needs a `--destination`")]
    NeedsDestination {
        /// The flag.
        flag: &'static str,
    },
    /// Two flags that contradict each other.
    #[error("`{first}` cannot be combined with `{second}`: {reason}")]
    Conflict {
        /// One flag, with its value where that matters.
        first: String,
        /// The other.
        second: String,
        /// Why not.
        reason: &'static str,
    },
    /// A layer cache without a place for it.
    #[error("`--cache` with `--no-push` needs `--cache-repo` or `--no-push-cache`")]
    CacheRepoNeeded,
    /// A place of the layer cache that is an image.
    #[error(
        "`{flag}` takes a repository, and `{value}` is one image in it: each cached step has a tag of its own"
    )]
    CacheRepoIsImage {
        /// The flag.
        flag: &'static str,
        /// As it was given.
        value: String,
        /// The same without tag and digest.
        repository: String,
    },
    /// A flag of the build before the words of a subcommand, where it has no effect.
    #[error("`{flag}` must follow `{command}`")]
    FlagBeforeCommand {
        /// The flag, by its long name.
        flag: String,
        /// The subcommand.
        command: &'static str,
    },
    /// A secret that cannot be understood.
    #[error("invalid `--secret {value}`: {reason}")]
    InvalidSecret {
        /// The flag's value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A named context that cannot be understood.
    #[error("invalid `--build-context {value}`: {reason}")]
    InvalidBuildContext {
        /// As given.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// An SSH agent that cannot be used.
    #[error("invalid `--ssh {value}`: {reason}")]
    InvalidSsh {
        /// As given.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// The file of a secret cannot be read.
    #[error("cannot read the secret `{id}` from `{path}`", path = path.display())]
    SecretFile {
        /// The secret.
        id: String,
        /// Its file, absolute.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A kind of context that this version cannot read.
    #[error(
        "the context `{context}` is not a directory: {kind} contexts are not available in this version"
    )]
    ContextNotAvailable {
        /// As it was given.
        context: String,
        /// What it is instead.
        kind: &'static str,
    },
    /// The context directory cannot be used.
    #[error("cannot use `{path}` as build context", path = path.display())]
    ContextUnusable {
        /// The directory, with the sub-path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `--context-sub-path` climbs out of the context.
    #[error("`--context-sub-path {sub_path}` leads out of the context `{context}`",
        sub_path = sub_path.display(), context = context.display())]
    SubPathOutside {
        /// As it was given.
        sub_path: PathBuf,
        /// The context it must stay in.
        context: PathBuf,
    },
    /// There is no such Dockerfile.
    #[error("no Dockerfile `{name}` (tried {})", list(tried))]
    DockerfileNotFound {
        /// As it was given.
        name: String,
        /// Every place looked at, in order.
        tried: Vec<PathBuf>,
    },
    /// Whether there is a Dockerfile cannot be found out.
    #[error("cannot read the Dockerfile `{path}`", path = path.display())]
    DockerfileUnreadable {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The warmer was asked for nothing.
    #[error("nothing to fetch: neither `--image` nor `--dockerfile` is given")]
    NothingToWarm,
    /// A relative path, and the current directory is not there any more.
    #[error("cannot make the path `{path}` absolute", path = path.display())]
    NoCurrentDirectory {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The stored registry credentials cannot be used.
    #[error("cannot use the registry credentials")]
    Credentials(#[source] kiln_registry::SettingsError),
}

impl OptionError {
    /// What to try next, one line, where there is something worth trying.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFlag {
                nearest: Some(nearest),
                ..
            }
            | Self::InvalidValue {
                nearest: Some(nearest),
                ..
            }
            | Self::UnexpectedArgument {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownFlag { .. } => Some("`--help` lists all flags".to_owned()),
            Self::UnexpectedArgument { argument, .. }
                if crate::value::boolean(argument).is_ok() =>
            {
                Some(format!(
                    "a boolean flag takes its value after `=`, as in `--no-push={argument}`"
                ))
            }
            Self::MissingDestination => {
                Some("give `--destination`, or `--no-push` to build without pushing".to_owned())
            }
            Self::NeedsDestination { .. } => Some(
                "with `--no-push` the destination is only a name, nothing is pushed to it"
                    .to_owned(),
            ),
            Self::CacheRepoNeeded => Some(
                "`--cache-from` or `--cache-dir` will also do, to only read or to keep the layers on this machine"
                    .to_owned(),
            ),
            Self::CacheRepoIsImage { repository, .. } => {
                Some(format!("did you mean `{repository}`?"))
            }
            Self::ContextNotAvailable { .. } => Some(
                "fetch and unpack it first, then give the directory with `--context`".to_owned(),
            ),
            Self::DockerfileNotFound { tried, .. } if tried.len() > 1 => Some(
                "`--dockerfile` is looked up from the current directory, then from the context"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    quoted.join(", ")
}

/// Something the user should know about an option that was accepted; one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
