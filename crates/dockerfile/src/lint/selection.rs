//! Which rules count where: the `# check=` directive, and comments of that form above an instruction (A6).

use super::context::LintContext;
use super::rules::Rule;
use crate::directive::key_value;
use crate::dockerfile::{Check, Dockerfile};
use crate::position::Span;

/// The choice that a file makes.
pub(super) struct Selection<'a> {
    file: &'a Dockerfile,
    check: Option<&'a Check>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(file: &'a Dockerfile, context: &'a LintContext<'_>) -> Self {
        let check = context.check.as_ref().or(file.directives.check.as_ref());
        Self { file, check }
    }

    /// Whether findings of `rule` about the instruction at `span` are wanted.
    pub(super) fn has(&self, rule: &Rule, span: Span) -> bool {
        let nearby = self.check_above(span);
        let checks = self.check.into_iter().chain(nearby.as_ref());
        let named = |names: &[String]| {
            names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(rule.name))
        };
        let mut wanted = !rule.experimental;
        for check in checks.clone() {
            wanted |= check.experimental_all || named(&check.experimental);
        }
        for check in checks {
            // Who skips all but names an experimental rule wants just that one.
            wanted &= !named(&check.skip) && (rule.experimental || !check.skip_all);
        }
        wanted
    }

    /// The first such comment; words behind the value say why. One that is not understood is a comment like any other.
    fn check_above(&self, span: Span) -> Option<Check> {
        let comments = self.file.comments_above(span);
        let value = comments.iter().find_map(|comment| {
            let (key, value) = key_value(&comment.text)?;
            key.eq_ignore_ascii_case("check").then_some(value)
        })?;
        Check::parse(value.split_whitespace().next()?).ok()
    }
}
