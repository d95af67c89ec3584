//! What FROM takes from variables: `UndefinedArgInFrom`, `InvalidDefaultArgInFrom`, `RedundantTargetPlatform`,
//! `FromPlatformFlagConstDisallowed`.

use std::collections::BTreeMap;

use super::Findings;
use super::context::LintContext;
use super::rules::{
    FROM_PLATFORM_FLAG_CONST_DISALLOWED, INVALID_DEFAULT_ARG_IN_FROM, REDUNDANT_TARGET_PLATFORM,
    UNDEFINED_ARG_IN_FROM,
};
use super::scope::Globals;
use crate::dockerfile::{Dockerfile, Stage};
use crate::expand::{Expanded, Expander};
use crate::suggest;
use crate::suggest::did_you_mean;

pub(super) fn check(file: &Dockerfile, context: &LintContext<'_>, findings: &mut Findings<'_>) {
    let expander = Expander::new(file.directives.escape);
    if let Some(globals) = Globals::new(file, context, &context.build_args) {
        for stage in &file.stages {
            let words = [Some(&stage.from.image), stage.from.platform.as_ref()];
            for word in words.into_iter().flatten() {
                if let Ok(expanded) = expander.word(word, &globals.values) {
                    undeclared(stage, &expanded, &globals, findings);
                }
            }
            platform(stage, expander, &globals, findings);
        }
    }
    if let Some(defaults) = Globals::new(file, context, &BTreeMap::new()) {
        for stage in &file.stages {
            default_image(stage, expander, &defaults, context, findings);
        }
    }
}

/// Whether the file builds when no build-arg is given.
fn default_image(
    stage: &Stage,
    expander: Expander,
    defaults: &Globals,
    context: &LintContext<'_>,
    findings: &mut Findings<'_>,
) {
    let written = &stage.from.image;
    let Ok(expanded) = expander.word(written, &defaults.values) else {
        return;
    };
    // A constant that is no image has nothing to do with ARGs, and is an error anyway.
    let has_variables = !expanded.used.is_empty() || !expanded.unset.is_empty();
    if has_variables && !(context.is_image_name)(&expanded.text) {
        let message =
            format!("Default value for ARG {written} results in empty or invalid base image name");
        findings.add(&INVALID_DEFAULT_ARG_IN_FROM, stage.from.span, message);
    }
}

fn undeclared(stage: &Stage, expanded: &Expanded, globals: &Globals, findings: &mut Findings<'_>) {
    for name in &expanded.undefined {
        if globals.declared.contains(name) {
            continue;
        }
        let known = globals.declared.iter().map(String::as_str);
        let suggestion = suggest::closest_case(name, known);
        let message = format!(
            "FROM argument '{name}' is not declared{}",
            did_you_mean(suggestion)
        );
        findings.add(&UNDEFINED_ARG_IN_FROM, stage.from.span, message);
    }
}

fn platform(stage: &Stage, expander: Expander, globals: &Globals, findings: &mut Findings<'_>) {
    let Some(written) = &stage.from.platform else {
        return;
    };
    let Ok(expanded) = expander.word(written, &globals.values) else {
        return;
    };
    let span = stage.from.span;
    let target = globals.values.get("TARGETPLATFORM");
    let only_target = expanded.unset.is_empty() && expanded.used.iter().eq(["TARGETPLATFORM"]);
    if only_target && target == Some(&expanded.text) {
        let message = format!(
            "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
        );
        findings.add(&REDUNDANT_TARGET_PLATFORM, span, message);
    }
    let is_constant = expanded.used.is_empty() && expanded.unset.is_empty();
    if is_constant && !expanded.text.is_empty() && !is_named_after(stage, &expanded.text) {
        let message = format!(
            "FROM --platform flag should not use constant value {:?}",
            expanded.text
        );
        findings.add(&FROM_PLATFORM_FLAG_CONST_DISALLOWED, span, message);
    }
}

/// A stage with the system or the architecture in its name is meant for just that one.
fn is_named_after(stage: &Stage, platform: &str) -> bool {
    let Some(name) = &stage.name else {
        return false;
    };
    let platform = platform.to_lowercase();
    let parts = platform.split('/').take(2).map(|part| match part {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" | "armel" => "arm",
        "i386" => "386",
        "macos" => "darwin",
        part => part,
    });
    parts.into_iter().any(|part| name.contains(part))
}
