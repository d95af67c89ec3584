//! The lint rules that need nothing but the text.

use std::collections::HashMap;

use crate::command::{Command, CommandLine};
use crate::dockerfile::{Check, Stage};
use crate::instruction::{Line, is_legacy_pair};
use crate::position::Span;
use crate::warning::Warning;
use crate::words;

/// Collects findings line by line, and those about stages at the end.
#[derive(Debug, Default)]
pub(crate) struct Linter {
    warnings: Vec<Warning>,
    /// Instruction names as written.
    names: Vec<(String, Span)>,
}

impl Linter {
    /// Findings about one line.
    pub(crate) fn line(&mut self, line: &Line<'_>) {
        let span = line.logical.span();
        self.names.push((line.written.to_owned(), span));
        if line.logical.has_empty_continuation {
            let message = format!("Empty continuation line found in: {}", line.logical.text);
            self.warn("NoEmptyContinuation", message, span);
        }
        match line.name {
            "MAINTAINER" => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                self.warn("MaintainerDeprecated", message.to_owned(), span);
            }
            name @ ("ENV" | "LABEL") if is_legacy_pair(line.args, line.escape) => {
                let message = format!(
                    "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
                );
                self.warn("LegacyKeyValueFormat", message, span);
            }
            "FROM" => self.from(line, span),
            _ => {}
        }
    }

    fn from(&mut self, line: &Line<'_>, span: Span) {
        let args = crate::flags::skip(line.args, line.escape);
        let words: Vec<&str> = words::blank_separated(args).collect();
        let [_, keyword, name] = words.as_slice() else {
            return;
        };
        let lower = |text: &str| !text.chars().any(char::is_uppercase);
        let upper = |text: &str| !text.chars().any(char::is_lowercase);
        let consistent = lower(line.written) && lower(keyword)
            || upper(line.written) && upper(keyword)
            // Mixed case is a finding of ConsistentInstructionCasing already.
            || !lower(line.written) && !upper(line.written);
        if !consistent {
            let message = format!(
                "'{keyword}' and '{}' keywords' casing do not match",
                line.written
            );
            self.warn("FromAsCasing", message, span);
        }
        if !lower(name) {
            let message = format!("Stage name '{name}' should be lowercase");
            self.warn("StageNameCasing", message, span);
        }
    }

    /// All findings in line order, without those that `check` skips.
    pub(crate) fn finish(mut self, stages: &[Stage], check: Option<&Check>) -> Vec<Warning> {
        self.casing();
        self.duplicate_names(stages);
        for stage in stages {
            self.stage(stage);
        }
        let mut warnings = self.warnings;
        if let Some(check) = check {
            warnings.retain(|warning| !check.skips(warning.rule));
        }
        warnings.sort_by_key(|warning| warning.span.start);
        warnings
    }

    /// Names are all in one case, the one most of them have; capitals when both are equally many.
    fn casing(&mut self) {
        let lower = |name: &str| !name.bytes().any(|b| b.is_ascii_uppercase());
        let upper = |name: &str| !name.bytes().any(|b| b.is_ascii_lowercase());
        let lowers = self.names.iter().filter(|(name, _)| lower(name)).count();
        let uppers = self.names.iter().filter(|(name, _)| upper(name)).count();
        let wants_lower = lowers > uppers;
        for (name, span) in std::mem::take(&mut self.names) {
            if if wants_lower {
                lower(&name)
            } else {
                upper(&name)
            } {
                continue;
            }
            let majority = if wants_lower {
                "lowercase"
            } else {
                "uppercase"
            };
            let message = format!(
                "Command '{name}' should match the case of the command majority ({majority})"
            );
            self.warn("ConsistentInstructionCasing", message, span);
        }
    }

    fn duplicate_names(&mut self, stages: &[Stage]) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for stage in stages {
            let Some(name) = stage.name.as_deref() else {
                continue;
            };
            if seen.insert(name, stage.index).is_some() {
                let message =
                    format!("Duplicate stage name {name:?}, stage names should be unique");
                self.warn("DuplicateStageName", message, stage.from.span);
            }
        }
    }

    fn stage(&mut self, stage: &Stage) {
        let mut has_shell = false;
        let mut once: HashMap<&'static str, Span> = HashMap::new();
        for instruction in &stage.instructions {
            let name = instruction.command.name();
            match &instruction.command {
                Command::Shell(_) => has_shell = true,
                Command::Cmd(CommandLine::Shell(_))
                | Command::Entrypoint(CommandLine::Shell(_))
                    if !has_shell =>
                {
                    let message = format!(
                        "JSON arguments recommended for {name} to prevent unintended behavior \
                         related to OS signals"
                    );
                    self.warn("JSONArgsRecommended", message, instruction.span);
                }
                _ => {}
            }
            if !matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK") {
                continue;
            }
            // The earlier one is shown: that is the line without effect.
            if let Some(earlier) = once.insert(name, instruction.span) {
                let message = format!(
                    "Multiple {name} instructions should not be used in the same stage because \
                     only the last one will be used"
                );
                self.warn("MultipleInstructionsDisallowed", message, earlier);
            }
        }
    }

    fn warn(&mut self, rule: &'static str, message: String, span: Span) {
        self.warnings.push(Warning {
            rule,
            message,
            span,
        });
    }
}
