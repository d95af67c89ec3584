//! Lint: what is legal but better written otherwise, by BuildKit's rules.
//!
//! [`lint`] looks at a parsed file with what the caller knows of the build: build-args, the configuration of base
//! images, the ignore file. What is not known gives no findings instead of wrong ones. [`RULES`] lists all rules; the
//! `# check=` directive and comments of that form directly above an instruction choose among them.

mod casing;
mod context;
mod descriptions;
mod expose;
mod form;
mod from;
mod ignored;
mod repeated;
mod rules;
mod scope;
mod secrets;
mod selection;
mod stage;
mod stage_names;
mod variables;
mod warning;
mod workdir;

use std::collections::HashSet;

use crate::dockerfile::Dockerfile;
use crate::position::Span;

pub use context::{BaseConfig, LintContext};
pub use rules::{RULES, Rule};
pub use warning::Warning;

use selection::Selection;

/// All findings in line order, each once, without those of rules that the file switches off.
pub fn lint(file: &Dockerfile, context: &LintContext<'_>) -> Vec<Warning> {
    let mut findings = Findings::new(file, context);
    form::check(file, &mut findings);
    casing::check(file, &mut findings);
    stage_names::check(file, &mut findings);
    descriptions::check(file, &mut findings);
    from::check(file, context, &mut findings);
    stage::check(file, context, &mut findings);
    findings.in_order()
}

/// What was found so far.
struct Findings<'a> {
    selection: Selection<'a>,
    warnings: Vec<Warning>,
    known: HashSet<(&'static str, String, Span)>,
}

impl<'a> Findings<'a> {
    fn new(file: &'a Dockerfile, context: &'a LintContext<'_>) -> Self {
        Self {
            selection: Selection::new(file, context),
            warnings: Vec::new(),
            known: HashSet::new(),
        }
    }

    /// Records a finding at `span` about the instruction that begins on the same line.
    fn add(&mut self, rule: &'static Rule, span: Span, message: String) {
        self.add_within(rule, span, span, message);
    }

    /// Records a finding at `span` about the instruction at `whole`.
    fn add_within(&mut self, rule: &'static Rule, span: Span, whole: Span, message: String) {
        if self.selection.has(rule, whole) && self.known.insert((rule.name, message.clone(), span))
        {
            self.warnings.push(Warning {
                rule,
                message,
                span,
            });
        }
    }

    fn in_order(mut self) -> Vec<Warning> {
        self.warnings.sort_by_key(|warning| warning.span.start);
        self.warnings
    }
}
