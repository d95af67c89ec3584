//! What the stages of a build start with, known before anything runs.

use std::collections::BTreeMap;

use kiln_dockerfile::{BaseConfig, Instruction};
use kiln_oci::{ImageSource, Platform};

use kiln_plan::plan::Source;
use kiln_store::base::BaseImage;

/// The images of a build, by what names them.
pub(crate) type Images = BTreeMap<(Box<ImageSource>, Platform), BaseImage>;

/// What a stage starts with, as far as it is known before anything runs.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) base: Source,
    /// ONBUILD instructions of the base, run first (C16).
    pub(crate) triggers: Vec<Instruction>,
}

/// What the images bring that stages start with, as far as the lint of a Dockerfile can use it.
pub(crate) fn configs_for_lint(
    (starts, images): &(BTreeMap<usize, Start>, Images),
) -> BTreeMap<usize, Option<BaseConfig>> {
    let config = |start: &Start| {
        let Source::Image(image, platform) = &start.base else {
            return None;
        };
        let base = images.get(&(image.clone(), platform.clone()))?;
        let config = &base.config;
        let env = config.env().iter().filter_map(|pair| pair.split_once('='));
        Some(BaseConfig {
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            has_shell: config.shell().is_some_and(|shell| !shell.is_empty()),
            triggers: start.triggers.clone(),
        })
    };
    let starts = starts.iter();
    starts
        .map(|(stage, start)| (*stage, config(start)))
        .collect()
}
