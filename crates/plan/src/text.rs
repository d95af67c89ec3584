//! The Dockerfile as it was read, and what messages say of its places.

use std::fmt;
use std::path::{Path, PathBuf};

use kiln_context::{Context, ContextError, DOCKERFILE, newest, read_text};
use kiln_dockerfile::{Dockerfile, Expander, Instruction, ParseError, Span, StageError, shortened};
use kiln_shown::{SecretUrl, redact};

use crate::plan::{Plan, PlanError};
use crate::scope::BuildArgs;
use kiln_download as fetch;
use kiln_download::FetchError;
use kiln_options::{BuildSettings, DockerfileSource, SourceDateEpoch};
use kiln_work::folder::WorkError;
use kiln_work::spool::Spool;

/// A place in a Dockerfile, with the lines around it (conformance A16).
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// The Dockerfile as it was named.
    pub file: String,
    /// First line of the instruction, from 1.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// The lines around it, numbered and marked.
    pub excerpt: String,
}

/// Lines of a Dockerfile may have URLs with a login, and errors are printed with `{:?}` by a `main` that returns them.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location")
            .field("file", &redact(&self.file))
            .field("line", &self.line)
            .field("instruction", &redact(&self.instruction))
            .field("excerpt", &redact(&self.excerpt))
            .finish()
    }
}

impl Location {
    /// The lines around `span`.
    pub fn new(file: &str, dockerfile: &Dockerfile, span: Span, instruction: &str) -> Self {
        Location {
            file: file.to_owned(),
            line: span.line(),
            instruction: instruction.to_owned(),
            excerpt: dockerfile.excerpt(span),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instruction = shortened(&self.instruction);
        write!(f, "{}:{}: {instruction}", self.file, self.line)
    }
}

/// The Dockerfile cannot be read, or not be what the caller chose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile `{path}`")]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The Dockerfile cannot be fetched.
    #[error("cannot read the Dockerfile")]
    Fetch(#[source] FetchError),
    /// The Dockerfile cannot be parsed.
    #[error("{}", errors.in_file(file))]
    Parse {
        /// The Dockerfile as it was named.
        file: String,
        /// Every mistake found, with its line.
        errors: ParseError,
    },
    /// `--target` names no stage.
    #[error("{file}")]
    Target {
        /// The Dockerfile as it was named.
        file: String,
        /// What was asked for, and what there is.
        #[source]
        source: StageError,
    },
    /// A line of the Dockerfile cannot be planned.
    #[error("{location}")]
    Plan {
        /// The line.
        location: Box<Location>,
        /// What is wrong with it.
        #[source]
        source: Box<PlanError>,
    },
    /// The build context, which gives the time of the build, cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The work folder cannot be used.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// A Dockerfile as it was read.
#[derive(Debug, Clone)]
pub struct Text {
    /// As messages name it.
    pub name: String,
    /// Its path on this machine, for its own ignore file.
    pub path: Option<PathBuf>,
    /// What it says.
    pub dockerfile: Dockerfile,
}

impl Text {
    /// Reads and parses the Dockerfile of a build with this context; one from a URL is fetched into the folder `work`.
    pub async fn read(
        source: &DockerfileSource,
        context: &Path,
        download: &reqwest::Client,
        work: &Path,
    ) -> Result<Text, TextError> {
        let (name, path, bytes) = match source {
            DockerfileSource::Path(path) => {
                let bytes =
                    read_text(context, path, DOCKERFILE).map_err(|source| TextError::Read {
                        path: path.clone(),
                        source,
                    })?;
                (path.display().to_string(), Some(path.clone()), bytes)
            }
            DockerfileSource::Url(url) => {
                (url.to_string(), None, fetched(url, download, work).await?)
            }
        };
        let dockerfile = kiln_dockerfile::parse(&bytes).map_err(|errors| TextError::Parse {
            file: name.clone(),
            errors,
        })?;
        Ok(Text {
            name,
            path,
            dockerfile,
        })
    }

    /// The place of an instruction, for messages.
    pub fn locate(&self, span: Span, instruction: &str) -> Location {
        Location::new(&self.name, &self.dockerfile, span, instruction)
    }

    /// Applies the caller's choices.
    pub fn plan(&self, settings: &BuildSettings) -> Result<(Plan, BuildArgs), TextError> {
        let build_args: BuildArgs = settings.build_args.iter().cloned().collect();
        let dockerfile = &self.dockerfile;
        let targets = Plan::targets_of(dockerfile, &settings.targets).map_err(|source| {
            TextError::Target {
                file: self.name.clone(),
                source,
            }
        })?;
        let target_name = settings.targets.first().map_or("default", String::as_str);
        let global = Plan::global_scope(dockerfile, &settings.platform, target_name, &build_args)
            .map_err(|(span, source)| TextError::Plan {
            location: Box::new(self.locate(span, "ARG")),
            source,
        })?;
        let plan = Plan {
            expander: Expander::new(dockerfile.directives.escape),
            dockerfile: dockerfile.clone(),
            platform: settings.platform.clone(),
            global,
            targets,
            contexts: settings.build_contexts.clone(),
        };
        Ok((plan, build_args))
    }

    /// The time that stands for now, in seconds: `SOURCE_DATE_EPOCH` as the caller gave it, else as an ARG before the
    /// first FROM has it (G43). Stages that declare the ARG see the number, whatever was written.
    pub fn epoch(
        &self,
        settings: &BuildSettings,
        plan: &mut Plan,
        build_args: &mut BuildArgs,
        context: &Context,
    ) -> Result<Option<i64>, TextError> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        let written = plan.global_value(NAME);
        let asked = match settings.source_date_epoch {
            Some(asked) => asked,
            // The caller's empty value takes back what the file says.
            None if written.is_empty() || build_args.contains_key(NAME) => return Ok(None),
            None => SourceDateEpoch::parse(written).ok_or_else(|| self.no_epoch(NAME, written))?,
        };
        let seconds = match asked {
            SourceDateEpoch::Seconds(seconds) => Some(seconds),
            SourceDateEpoch::Context => newest(&context.view()?).map_err(ContextError::from)?,
        };
        let number = seconds
            .map(|seconds| seconds.to_string())
            .unwrap_or_default();
        if let Some(given) = build_args.get_mut(NAME) {
            given.clone_from(&number);
        }
        plan.global.replace(NAME, number);
        Ok(seconds)
    }

    /// The error about a value of the file that is no time, at the line that has it.
    fn no_epoch(&self, name: &str, value: &str) -> TextError {
        let declares = |instruction: &&Instruction| {
            let args = instruction.command.args().unwrap_or_default();
            args.iter().any(|arg| arg.name == name)
        };
        let lines = &self.dockerfile.global_args;
        let span = lines.iter().rfind(declares).map_or_else(
            || self.dockerfile.stages[0].from.span,
            |instruction| instruction.span,
        );
        TextError::Plan {
            location: Box::new(self.locate(span, "ARG")),
            source: Box::new(PlanError::Epoch {
                value: value.to_owned(),
            }),
        }
    }

    /// Refuses values that can never be right, in the stages that are needed.
    pub fn check_values(&self, plan: &Plan) -> Result<(), TextError> {
        let needed = plan.needed_stages();
        let stages = self.dockerfile.stages.iter();
        let errors: Vec<_> = stages
            .filter(|stage| needed.contains(&stage.index))
            .flat_map(|stage| stage.faults.iter().cloned())
            .collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(TextError::Parse {
            file: self.name.clone(),
            errors: ParseError { errors },
        })
    }
}

async fn fetched(
    url: &SecretUrl,
    download: &reqwest::Client,
    work: &Path,
) -> Result<Vec<u8>, TextError> {
    let no_work = |source| WorkError::Unusable {
        path: work.to_owned(),
        source,
    };
    let spool = Spool::create(work).map_err(no_work)?;
    let file = fetch::fetch_small(download, url, DOCKERFILE, &spool)
        .await
        .map_err(TextError::Fetch)?;
    let read = DOCKERFILE.read_to_end(&mut file.content.open());
    Ok(read.map_err(no_work)?)
}
