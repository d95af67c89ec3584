//! The report in the Static Analysis Results Interchange Format, version 2.1.0 (OASIS).

use std::path::Path;

use kiln_dockerfile::{RULES, Rule, Span};
use serde_json::{Value, json};
use url::Url;

use super::CheckReport;

/// The rule of everything that keeps a file from being built; none of BuildKit's has this name.
const BROKEN: &str = "DockerfileError";

pub(super) fn write(report: &CheckReport) -> String {
    let uri = address(&report.file);
    let problems = report.problems.iter().map(|problem| {
        let index = RULES.len();
        result(&uri, BROKEN, index, "error", &problem.message, problem.span)
    });
    let warnings = report.warnings.iter().map(|warning| {
        let rule = warning.rule;
        let index = RULES.iter().position(|known| *known == rule);
        let (index, span) = (index.unwrap_or(RULES.len()), Some(warning.span));
        result(&uri, rule.name, index, "warning", &warning.message, span)
    });
    let results: Vec<Value> = problems.chain(warnings).collect();
    let broken = json!({
        "id": BROKEN,
        "shortDescription": { "text": "The Dockerfile cannot be built" },
        "defaultConfiguration": { "level": "error" },
    });
    let rules: Vec<Value> = RULES
        .iter()
        .map(|known| rule(known))
        .chain([broken])
        .collect();
    let log = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Kiln",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": { "text": rule.description },
        "fullDescription": { "text": rule.documentation },
        "helpUri": rule.url(),
        "defaultConfiguration": { "level": "warning", "enabled": !rule.experimental },
    })
}

fn result(
    uri: &str,
    rule: &str,
    index: usize,
    level: &str,
    message: &str,
    span: Option<Span>,
) -> Value {
    let mut location = json!({ "artifactLocation": { "uri": uri } });
    if let Some(Span { start, end }) = span {
        location["region"] = json!({
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        });
    }
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": { "text": message },
        "locations": [{ "physicalLocation": location }],
    })
}

/// Relative to the current directory where the file is below it: who shows results knows the file by that name.
fn address(file: &str) -> String {
    let as_url = |path: &Path| Url::from_file_path(path).ok();
    let Some(url) = as_url(Path::new(file)) else {
        return file.to_owned();
    };
    let here = std::env::current_dir().ok();
    let here = here.and_then(|dir| Url::from_directory_path(dir).ok());
    let relative =
        here.and_then(|here| url.as_str().strip_prefix(here.as_str()).map(str::to_owned));
    relative.unwrap_or_else(|| url.to_string())
}
