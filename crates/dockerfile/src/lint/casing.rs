//! Upper and lower case: `ConsistentInstructionCasing`, `FromAsCasing`, `StageNameCasing`.

use super::Findings;
use super::rules::{CONSISTENT_INSTRUCTION_CASING, FROM_AS_CASING, STAGE_NAME_CASING};
use crate::dockerfile::{Dockerfile, From};
use crate::flags;
use crate::instruction::split_name;
use crate::position::Span;
use crate::words;

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    instructions(file, findings);
    for stage in &file.stages {
        from(&stage.from, file.directives.escape, findings);
    }
}

/// Names are all in one case, the one most of them have; capitals when both are equally many. ARGs before the first
/// FROM do not count, as in BuildKit.
fn instructions(file: &Dockerfile, findings: &mut Findings<'_>) {
    let names = || {
        file.stages.iter().flat_map(|stage| {
            let from = [(stage.from.source.as_str(), stage.from.span)];
            let others = stage.instructions.iter();
            from.into_iter()
                .chain(others.map(|i| (i.source.as_str(), i.span)))
                .map(|(source, span)| (split_name(source).0, span))
        })
    };
    let lowers = names().filter(|(name, _)| is_lower(name)).count();
    let uppers = names().filter(|(name, _)| is_upper(name)).count();
    let (wanted, fits): (_, fn(&str) -> bool) = if lowers > uppers {
        ("lowercase", is_lower)
    } else {
        ("uppercase", is_upper)
    };
    let others: Vec<(&str, Span)> = names().filter(|(name, _)| !fits(name)).collect();
    for (name, span) in others {
        let message =
            format!("Command '{name}' should match the case of the command majority ({wanted})");
        findings.add(&CONSISTENT_INSTRUCTION_CASING, span, message);
    }
}

fn from(from: &From, escape: char, findings: &mut Findings<'_>) {
    let (written, args) = split_name(&from.source);
    let words: Vec<&str> = words::blank_separated(flags::skip(args, escape)).collect();
    let [_, keyword, name] = words.as_slice() else {
        return;
    };
    let fits = is_lower(written) && is_lower(keyword)
        || is_upper(written) && is_upper(keyword)
        // Mixed case is a finding of ConsistentInstructionCasing already.
        || !is_lower(written) && !is_upper(written);
    if !fits {
        let message = format!("'{keyword}' and '{written}' keywords' casing do not match");
        findings.add(&FROM_AS_CASING, from.span, message);
    }
    if !is_lower(name) {
        let message = format!("Stage name '{name}' should be lowercase");
        findings.add(&STAGE_NAME_CASING, from.span, message);
    }
}

fn is_lower(text: &str) -> bool {
    !text.chars().any(char::is_uppercase)
}

fn is_upper(text: &str) -> bool {
    !text.chars().any(char::is_lowercase)
}
