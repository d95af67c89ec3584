//! Forms that are out of use: `NoEmptyContinuation`, `MaintainerDeprecated`, `LegacyKeyValueFormat`.

use super::Findings;
use super::rules::{LEGACY_KEY_VALUE_FORMAT, MAINTAINER_DEPRECATED, NO_EMPTY_CONTINUATION};
use crate::command::Command;
use crate::dockerfile::Dockerfile;
use crate::flags;
use crate::instruction::{is_legacy_pair, split_name};
use crate::position::{Position, Span};

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    empty_continuations(file, findings);
    let escape = file.directives.escape;
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        let span = instruction.span;
        match &instruction.command {
            Command::Maintainer(_) => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                findings.add(&MAINTAINER_DEPRECATED, span, message.to_owned());
            }
            Command::Env(_) | Command::Label(_) => {
                let (name, args) = split_name(&instruction.source);
                if is_legacy_pair(flags::skip(args, escape), escape) {
                    let message = format!(
                        "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
                    );
                    findings.add(&LEGACY_KEY_VALUE_FORMAT, span, message);
                }
            }
            _ => {}
        }
    }
}

/// The finding is at the last line of the instruction, where BuildKit has it.
fn empty_continuations(file: &Dockerfile, findings: &mut Findings<'_>) {
    if file.empty_continuations.is_empty() {
        return;
    }
    let froms = file.stages.iter().map(|stage| stage.from.span);
    let others = file.stages.iter().flat_map(|stage| &stage.instructions);
    let others = others.chain(&file.global_args).map(|other| other.span);
    let mut spans: Vec<Span> = froms.chain(others).collect();
    spans.sort();
    for number in &file.empty_continuations {
        let before = spans.partition_point(|span| span.line() <= *number);
        let Some(whole) = before.checked_sub(1).map(|at| spans[at]) else {
            continue;
        };
        let width = file
            .lines
            .get(*number as usize - 1)
            .map_or(0, |line| line.chars().count());
        let span = Span {
            start: Position::new(*number, 1),
            end: Position::new(*number, width as u32 + 1),
        };
        let message = "Empty continuation line".to_owned();
        findings.add_within(&NO_EMPTY_CONTINUATION, span, whole, message);
    }
}
