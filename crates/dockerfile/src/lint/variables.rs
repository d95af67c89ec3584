//! Variables that nothing sets: `UndefinedVar`.

use std::collections::BTreeSet;

use super::Findings;
use super::rules::UNDEFINED_VAR;
use super::scope::Scope;
use crate::position::Span;
use crate::suggest;
use crate::suggest::did_you_mean;

/// They change how BuildKit works and are no variables of the build.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
/// Prefixes of the variables that every build has and every stage has to declare (B27).
const PLATFORM: [&str; 2] = ["BUILD", "TARGET"];

/// `undefined` are the names that a word uses and that have no value and no default in their place.
pub(super) fn check(
    undefined: &BTreeSet<String>,
    predefined: impl Fn(&str) -> bool,
    scope: &Scope,
    span: Span,
    findings: &mut Findings<'_>,
) {
    for name in undefined {
        if scope.is_declared(name) || NO_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let suggestion = if scope.knows_base {
            suggest::closest_case(name, scope.names())
        } else {
            // The base image may well set it, unless it is clear what was meant instead.
            suggest::one_step_away(name, scope.names())
        };
        let is_platform =
            PLATFORM.iter().any(|prefix| name.starts_with(prefix)) && predefined(name);
        if !scope.knows_base && suggestion.is_none() && !is_platform {
            continue;
        }
        let suggestion = suggestion.map(|name| format!("${name}"));
        let message = format!(
            "Usage of undefined variable '${name}'{}",
            did_you_mean(suggestion.as_deref())
        );
        findings.add(&UNDEFINED_VAR, span, message);
    }
}
