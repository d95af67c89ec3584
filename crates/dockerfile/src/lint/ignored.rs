//! Sources that are not in the context: `CopyIgnoredFile`.

use super::Findings;
use super::rules::COPY_IGNORED_FILE;
use crate::pattern::PatternSet;
use crate::position::Span;

/// `source` is expanded and belongs to the context; `verb` is `Copy` or `Add`.
pub(super) fn check(
    verb: &str,
    source: &str,
    ignored: &PatternSet,
    span: Span,
    findings: &mut Findings<'_>,
) {
    let cleaned = clean(source);
    if is_missing(&cleaned, ignored) {
        let message =
            format!("Attempting to {verb} file {cleaned:?} that is excluded by .dockerignore");
        findings.add(&COPY_IGNORED_FILE, span, message);
    }
}

/// Whether the ignore file surely leaves nothing of `path`. Exceptions below it count, which is why this finds more
/// than BuildKit, where a single `!` anywhere silences the rule, and still warns about nothing that is there.
fn is_missing(path: &str, ignored: &PatternSet) -> bool {
    let gone = |path: &str| {
        ignored.is_excluded(path.as_bytes()) && !ignored.may_include_below(path.as_bytes())
    };
    if path.is_empty() || path.contains(['[', '\\']) {
        return false;
    }
    if !path.contains(['*', '?']) {
        return gone(path);
    }
    // A name that only the wildcard of the source can mean: `?` of the ignore file does not match all that `*` does.
    let likely = path.replace('*', "any-name.any").replace('?', "x");
    gone(path) && gone(&likely)
}

/// The path from the root of the context; `..` stops there (E1).
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
