//! Where a stage works: `WorkdirRelativePath`.

use super::Findings;
use super::rules::WORKDIR_RELATIVE_PATH;
use crate::position::Span;

/// `path` is expanded, and the first of its stage.
pub(super) fn check(path: &str, span: Span, findings: &mut Findings<'_>) {
    if !is_absolute(path) {
        let message = format!(
            "Relative workdir {path:?} can have unexpected results if the base image changes"
        );
        findings.add(&WORKDIR_RELATIVE_PATH, span, message);
    }
}

/// Also with a drive's letter: such a file is not for us, but it is not wrong.
fn is_absolute(path: &str) -> bool {
    let mut chars = path.chars();
    match chars.next() {
        Some('/' | '\\') => true,
        Some(letter) => letter.is_ascii_alphabetic() && chars.next() == Some(':'),
        None => false,
    }
}
