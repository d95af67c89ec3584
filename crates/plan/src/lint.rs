//! What a build knows that the lint of its Dockerfile can use.

use std::collections::{BTreeMap, BTreeSet};

use kiln_context::Context;
use kiln_dockerfile::{BaseConfig, Check, Fault, LintContext, Warning, lint};
use kiln_oci::Platform;

use crate::plan::{self, Plan};
use crate::scope::{BuildArgs, GlobalScope};
use crate::text::Text;

/// The build-arg that stands for the `# check=` of the file, as in BuildKit.
const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// The build-arg that chooses lint rules is not understood.
#[derive(Debug, thiserror::Error)]
#[error("the build-arg `{name}` cannot be used")]
pub struct CheckArgError {
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    #[source]
    pub source: Box<Fault>,
}

/// What is known when the lint runs.
#[derive(Debug)]
pub struct Known<'a> {
    /// The Dockerfile.
    pub text: &'a Text,
    /// What is made of it.
    pub plan: &'a Plan,
    /// Build-args of the caller.
    pub build_args: &'a BuildArgs,
    /// The build context, for its ignore file.
    pub context: Option<&'a Context>,
    /// The needed stages, once their bases have been looked up, with what an image as base brings.
    pub bases: Option<BTreeMap<usize, Option<BaseConfig>>>,
    /// Look at stages that are not needed too.
    pub all_stages: bool,
}

/// The `check` that counts: that of the build-arg, else that of the file.
pub fn check_of(known: &Known<'_>) -> Result<Option<Check>, CheckArgError> {
    match known.build_args.get(CHECK_ARG) {
        Some(value) => match Check::parse(value) {
            Ok(check) => Ok(Some(check)),
            Err(source) => Err(CheckArgError {
                name: CHECK_ARG,
                source: Box::new(source),
            }),
        },
        None => Ok(known.text.dockerfile.directives.check.clone()),
    }
}

impl Known<'_> {
    /// All findings under `check`.
    pub fn lint(&self, check: Option<Check>) -> Vec<Warning> {
        let base = |stage: usize| self.base(stage);
        let is_image_name = |name: &str| plan::is_image_name(name);
        let context = LintContext {
            build_args: self.build_args.clone(),
            predefined: self.predefined(),
            base: &base,
            stages: self.stages(),
            ignored: self.context.map(Context::ignore_rules),
            is_image_name: &is_image_name,
            check,
        };
        lint(&self.text.dockerfile, &context)
    }

    /// The platform's variables as they are without a build-arg.
    fn predefined(&self) -> BTreeMap<String, String> {
        let target = self.plan.global_value("TARGETSTAGE");
        let scope = GlobalScope::new(
            &Platform::host(),
            &self.plan.platform,
            target,
            &BuildArgs::new(),
        );
        scope.into_values()
    }

    fn stages(&self) -> Option<BTreeSet<usize>> {
        match &self.bases {
            Some(bases) => Some(bases.keys().copied().collect()),
            None if self.all_stages => None,
            None => Some(self.plan.needed_stages()),
        }
    }

    fn base(&self, stage: usize) -> Option<BaseConfig> {
        self.bases.as_ref()?.get(&stage)?.clone()
    }
}
