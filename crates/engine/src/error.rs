//! What a failed build says: what failed, where, why, and what to try.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_context::ContextError;
use kiln_dockerfile::{Span, StageError};
use kiln_registry::RegistryError;

use crate::format::FormatError;
use crate::step::StepError;
use kiln_delivery::output::{OutputError, trust_hint};
use kiln_download::ClientError;
use kiln_plan::lint::CheckArgError;
use kiln_plan::text::{Location, Text, TextError};
use kiln_store::base::BaseError;
use kiln_work::folder::WorkError;

/// A build that failed. Nothing of it is left: no mount, no process, no temporary file.
///
/// Printed with `{:?}`, as a `main` that returns it does, it is its text with its causes: commands and instructions may have
/// URLs with a login.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile cannot be read, or not be what the caller chose.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The client for downloads cannot be made.
    #[error("cannot prepare downloads")]
    Downloads(#[source] ClientError),
    /// The image of a FROM or `--from` cannot be had.
    #[error("{location}")]
    Base {
        /// The line that names it.
        location: Box<Location>,
        /// A stage before it that is called nearly like it.
        stage: Option<String>,
        /// Why not.
        #[source]
        source: Arc<BaseError>,
    },
    /// A step failed.
    #[error("{location}")]
    Step {
        /// The instruction.
        location: Box<Location>,
        /// Why it failed.
        #[source]
        source: Box<StepError>,
    },
    /// The build-arg that chooses lint rules is not understood.
    #[error(transparent)]
    CheckArg(#[from] CheckArgError),
    /// A warning of the Dockerfile counts as an error: `# check=error=true` (conformance A6).
    #[error("`{file}` has {count} warnings and says `check=error=true`")]
    Check {
        /// The Dockerfile as it was named.
        file: String,
        /// How many warnings there are.
        count: usize,
    },
    /// The image cannot have the form that was asked for.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The build context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The registry client cannot be made from the settings.
    #[error("the registry settings cannot be used")]
    Client(#[source] RegistryError),
    /// The image cannot go where it was asked for.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// There is no work folder.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// Isolation was asked for that cannot be had.
    #[error(transparent)]
    Isolation(#[from] kiln_sandbox::SandboxError),
    /// The build was interrupted.
    #[error("interrupted while {during}")]
    Cancelled {
        /// What the build was doing.
        during: &'static str,
    },
    /// A killed build had moved the files of the context aside, and others were in their place.
    #[error(
        "an earlier build was killed while the files of the context `{context}` were aside; they are back now, and what lay \
         in their place is in `{left}`: look at it, remove it, and build again"
    )]
    ContextRestored {
        /// The context.
        context: PathBuf,
        /// Where what lay there is.
        left: PathBuf,
    },
    /// A build in place has moved the files of the context aside.
    #[error(
        "another build in place uses the directory of the context `{context}` for its image, and has the files of the context \
         aside: wait for its end, or give each build a context of its own"
    )]
    ContextInUse {
        /// The context.
        context: PathBuf,
    },
    /// The image could not be put together after the last step.
    #[error("cannot finish the image")]
    Finish(#[source] Box<StepError>),
    /// A thread of the build is gone.
    #[error("a thread of the build ended before it was done")]
    Lost,
}

impl std::fmt::Debug for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&kiln_shown::for_people(&kiln_shown::with_causes(self)))
    }
}

impl BuildError {
    /// The process's exit code: that of the failing RUN, else 1 (conformance D6).
    pub fn exit_code(&self) -> i32 {
        match self {
            BuildError::Step { source, .. } => source.run_code().unwrap_or(1),
            _ => 1,
        }
    }

    /// Where in the Dockerfile it happened.
    pub fn location(&self) -> Option<&Location> {
        match self {
            BuildError::Text(TextError::Plan { location, .. })
            | BuildError::Base { location, .. }
            | BuildError::Step { location, .. } => Some(location),
            _ => None,
        }
    }

    /// What the user can try, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            BuildError::Step { source, .. } => source.hint(),
            BuildError::Base {
                stage: Some(stage), ..
            } => Some(format!("did you mean the stage `{stage}`?")),
            BuildError::Base { source, .. } => match &**source {
                BaseError::Registry { source, .. } => pull_hint(source),
                _ => None,
            },
            BuildError::Text(TextError::Target {
                source: StageError::NoTarget { stages, .. },
                ..
            }) => Some(stage_list(stages)),
            BuildError::Isolation(source) => source.hint(),
            BuildError::Work(source) => source.hint().map(str::to_owned),
            BuildError::Output(error) => error.hint(),
            _ => None,
        }
    }

    /// A step that failed, with its place in the Dockerfile.
    pub(crate) fn of_step(
        text: &Text,
        span: Span,
        instruction: &str,
        source: StepError,
    ) -> BuildError {
        BuildError::Step {
            location: Box::new(text.locate(span, instruction)),
            source: Box::new(source),
        }
    }

    /// Whether another error is the cause that the user should see.
    pub(crate) fn is_aftermath(&self) -> bool {
        match self {
            BuildError::Step { source, .. } => source.is_aftermath(),
            BuildError::Cancelled { .. } => true,
            _ => false,
        }
    }
}

fn stage_list(names: &[String]) -> String {
    if names.is_empty() {
        return "no stage of the file has a name: `FROM image AS name` gives one".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("the stages with a name are {}", quoted.join(", "))
}

/// What to try when an image cannot be pulled.
fn pull_hint(error: &RegistryError) -> Option<String> {
    let text = if error.is_not_found() {
        "check the image's name and tag"
    } else if error.is_unauthorized() {
        "check the image's name, which some registries do not tell from missing rights, and the credentials in \
         `config.json`; `executor login` stores some"
    } else if error.is_unreachable() {
        "check the registry's name and the network, or name another source with `--registry-mirror` or \
         `--registry-map`"
    } else {
        return trust_hint(error);
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use kiln_oci::Reference;
    use kiln_registry::{Client, RegistrySettings, Retries};
    use kiln_testkit::{Auth, Authority, Fault, On, Registry, closed_port};

    use super::*;

    async fn hint_about(host: &str) -> String {
        let settings = RegistrySettings {
            retries: Retries {
                request: 0,
                ..Retries::default()
            },
            ..RegistrySettings::default()
        };
        let reference: Reference = format!("{host}/a:1").parse().unwrap();
        let client = Client::new(settings).unwrap();
        let error = client.manifest(&reference).await.unwrap_err();
        pull_hint(&error).unwrap_or_default()
    }

    #[tokio::test]
    async fn failed_pulls_say_what_to_try() {
        let (plain, tls) = (Registry::start(), Registry::with_tls(&Authority::new()));
        let locked = Registry::with_auth(Auth::basic("u", "p"));
        let silent = format!("127.0.0.1:{}", closed_port());
        let table = [
            (plain.host(), "name and tag"),
            (locked.host(), "credentials in `config.json`"),
            (silent, "`--registry-mirror`"),
            (tls.host(), "`--registry-certificate HOST=FILE`"),
        ];
        for (host, expected) in table {
            let hint = hint_about(&host).await;
            assert!(hint.contains(expected), "{expected}: {hint}");
        }
        // What is the registry's own fault has no remedy here.
        plain.fault(On::any("/"), Fault::status(500));
        assert_eq!(hint_about(&plain.host()).await, "");
    }
}
