//! Comments that describe stages and arguments: `InvalidDefinitionDescription`.

use super::Findings;
use super::rules::INVALID_DEFINITION_DESCRIPTION;
use crate::command::{Command, Instruction};
use crate::dockerfile::Dockerfile;
use crate::position::Span;

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    for instruction in &file.global_args {
        arguments(file, instruction, findings);
    }
    for stage in &file.stages {
        if let Some(name) = &stage.name {
            describes(file, "FROM", &[name], stage.from.span, findings);
        }
        for instruction in &stage.instructions {
            arguments(file, instruction, findings);
        }
    }
}

fn arguments(file: &Dockerfile, instruction: &Instruction, findings: &mut Findings<'_>) {
    if let Command::Arg(args) = &instruction.command {
        let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
        describes(file, "ARG", &names, instruction.span, findings);
    }
}

/// The last comment above counts; an empty one keeps those before it apart, as a blank line does.
fn describes(
    file: &Dockerfile,
    instruction: &str,
    names: &[&str],
    span: Span,
    findings: &mut Findings<'_>,
) {
    let Some(comment) = file.comments_above(span).last() else {
        return;
    };
    let first = comment.text.split(' ').next().unwrap_or_default();
    if first.is_empty() || names.contains(&first) {
        return;
    }
    let example = match names {
        [only] => only,
        _ => "<arg_key>",
    };
    let message =
        format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    findings.add(&INVALID_DEFINITION_DESCRIPTION, span, message);
}
