//! The report as BuildKit's subrequest `frontend.lint` gives it, as far as that goes.

use kiln_dockerfile::{Position, Span};
use serde_json::{Value, json};

use super::{CheckReport, Problem};

pub(super) fn write(report: &CheckReport) -> String {
    let warnings: Vec<Value> = report
        .warnings
        .iter()
        .map(|warning| {
            json!({
                "ruleName": warning.rule.name,
                "description": warning.rule.description,
                "url": warning.rule.url(),
                "detail": warning.message,
                "location": location(Some(warning.span)),
            })
        })
        .collect();
    let problems: Vec<Value> = report.problems.iter().map(problem).collect();
    let mut all = json!({
        "warnings": warnings,
        "sources": [{ "filename": report.file, "language": "Dockerfile" }],
    });
    // One is what BuildKit's readers look for, all of them are ours.
    if let Some(first) = problems.first() {
        all["buildError"] = first.clone();
    }
    all["errors"] = problems.into();
    all["imagesNotChecked"] = report.unseen.clone().into();
    format!("{all:#}\n")
}

fn problem(problem: &Problem) -> Value {
    json!({ "message": problem.message, "location": location(problem.span) })
}

/// Lines count from 1 and characters from 0, as in BuildKit.
fn location(span: Option<Span>) -> Value {
    let position = |at: Position| json!({ "line": at.line, "character": at.column - 1 });
    let ranges: Vec<Value> = span
        .iter()
        .map(|span| json!({ "start": position(span.start), "end": position(span.end) }))
        .collect();
    json!({ "sourceIndex": 0, "ranges": ranges })
}
