//! The report for people.

use std::fmt::Write as _;

use super::CheckReport;
use kiln_shown::counted;

pub(super) fn write(report: &CheckReport) -> String {
    let mut out = String::new();
    let file = &report.file;
    // Writing to a string cannot fail.
    for problem in &report.problems {
        let _ = match problem.span {
            Some(span) => writeln!(out, "{file}:{}: error: {}", span.start, problem.message),
            None => writeln!(out, "{file}: error: {}", problem.message),
        };
        out.push_str(&problem.excerpt);
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "hint: {hint}");
        }
        out.push('\n');
    }
    for (warning, excerpt) in report.warnings.iter().zip(&report.excerpts) {
        let (at, rule) = (warning.span.start, warning.rule);
        let _ = writeln!(out, "{file}:{at}: warning: {rule}: {}", warning.message);
        out.push_str(excerpt);
        let _ = writeln!(out, "{}\n{}\n", rule.documentation, rule.url());
    }
    if !report.unseen.is_empty() {
        let _ = writeln!(
            out,
            "{file}: not checked: whether images exist and what they set ({}); --check-bases looks at them",
            report.unseen.join(", ")
        );
    }
    let _ = match (report.problems.len(), report.warnings.len()) {
        (0, 0) => writeln!(out, "{file}: no warnings"),
        (0, warnings) => writeln!(out, "{file}: {}", counted(warnings, "warning")),
        (errors, 0) => writeln!(out, "{file}: {}", counted(errors, "error")),
        (errors, warnings) => writeln!(
            out,
            "{file}: {}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    };
    out
}
