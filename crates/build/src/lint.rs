//! What a build knows that the lint of its Dockerfile can use.

use std::collections::{BTreeMap, BTreeSet};

use kiln_context::Context;
use kiln_dockerfile::{BaseConfig, Check, LintContext, Warning, lint};
use kiln_oci::Platform;

use crate::driver::Start;
use crate::error::BuildError;
use crate::plan::{self, Plan, Source};
use crate::scope::{BuildArgs, GlobalScope};
use crate::shop::Images;
use crate::text::Text;

/// The build-arg that stands for the `# check=` of the file, as in BuildKit.
const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is known when the lint runs.
pub(crate) struct Known<'a> {
    pub(crate) text: &'a Text,
    pub(crate) plan: &'a Plan,
    pub(crate) build_args: &'a BuildArgs,
    pub(crate) context: Option<&'a Context>,
    /// The bases of the needed stages, once they have been looked up.
    pub(crate) bases: Option<&'a (BTreeMap<usize, Start>, Images)>,
    /// Look at stages that are not needed too.
    pub(crate) all_stages: bool,
}

/// The `check` that counts: that of the build-arg, else that of the file.
pub(crate) fn check_of(known: &Known<'_>) -> Result<Option<Check>, BuildError> {
    match known.build_args.get(CHECK_ARG) {
        Some(value) => match Check::parse(value) {
            Ok(check) => Ok(Some(check)),
            Err(source) => Err(BuildError::CheckArg {
                name: CHECK_ARG,
                source: Box::new(source),
            }),
        },
        None => Ok(known.text.dockerfile.directives.check.clone()),
    }
}

impl Known<'_> {
    /// All findings under `check`.
    pub(crate) fn lint(&self, check: Option<Check>) -> Vec<Warning> {
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
        match self.bases {
            Some((starts, _)) => Some(starts.keys().copied().collect()),
            None if self.all_stages => None,
            None => Some(self.plan.needed_stages()),
        }
    }

    fn base(&self, stage: usize) -> Option<BaseConfig> {
        let (starts, images) = self.bases?;
        let start = starts.get(&stage)?;
        let Source::Image(image, platform) = &start.base else {
            return None;
        };
        let config = &images
            .get(&(image.clone(), platform.clone()))?
            .config
            .config;
        let env = config.env.iter().filter_map(|pair| pair.split_once('='));
        Some(BaseConfig {
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            has_shell: config.shell.as_ref().is_some_and(|shell| !shell.is_empty()),
            triggers: start.triggers.clone(),
        })
    }
}
