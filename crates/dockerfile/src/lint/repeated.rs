//! Instructions without effect, or with more than is meant: `MultipleInstructionsDisallowed`, `JSONArgsRecommended`.

use std::collections::HashMap;

use super::Findings;
use super::rules::{JSON_ARGS_RECOMMENDED, MULTIPLE_INSTRUCTIONS_DISALLOWED};
use crate::command::{Command, CommandLine, Instruction};
use crate::instruction::split_name;
use crate::position::Span;

/// Where the instructions that count once stand in a stage.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    earlier: HashMap<&'static str, Span>,
}

impl Repeated {
    pub(super) fn check(
        &mut self,
        instruction: &Instruction,
        has_shell: bool,
        findings: &mut Findings<'_>,
    ) {
        let name = instruction.command.name();
        let written = split_name(&instruction.source).0;
        let span = instruction.span;
        if let Command::Cmd(CommandLine::Shell(_)) | Command::Entrypoint(CommandLine::Shell(_)) =
            &instruction.command
            && !has_shell
        {
            let message = format!(
                "JSON arguments recommended for {written} to prevent unintended behavior related to OS signals"
            );
            findings.add(&JSON_ARGS_RECOMMENDED, span, message);
        }
        if !matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK") {
            return;
        }
        // The earlier one is shown: that is the line without effect.
        if let Some(earlier) = self.earlier.insert(name, span) {
            let message = format!(
                "Multiple {written} instructions should not be used in the same stage because only the last one will \
                 be used"
            );
            findings.add(&MULTIPLE_INSTRUCTIONS_DISALLOWED, earlier, message);
        }
    }
}
