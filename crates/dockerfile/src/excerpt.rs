//! Source lines around a place, for messages.

use std::fmt::Write as _;

use kiln_shown::redact;

use crate::position::{Position, Span};
use crate::shorten::shortened;

/// Lines shown before and after the marked ones.
const CONTEXT: usize = 2;
/// More marked lines than this are cut in the middle: a heredoc body can be a whole program.
const MOST_LINES: usize = 24;
/// A line longer than this is cut to the part that matters.
const WIDEST: usize = 120;
/// Stands for what was cut.
const CUT: &str = "...";

/// Numbered lines with `>>>` before those of `span`; empty when the span is outside the file.
pub(crate) fn marked_lines(lines: &[String], span: Span) -> String {
    let first = span.start.line as usize;
    if first == 0 || first > lines.len() {
        return String::new();
    }
    let last = (span.end.line as usize).clamp(first, lines.len());
    let from = first.saturating_sub(CONTEXT).max(1);
    let to = (last + CONTEXT).min(lines.len());
    let width = to.to_string().len().max(4);
    let mut out = String::new();
    let cut = (last - first >= MOST_LINES).then(|| (first + MOST_LINES / 2, last - MOST_LINES / 2));
    for number in from..=to {
        if let Some((head, tail)) = cut
            && number > head
            && number < tail
        {
            if number == head + 1 {
                let _ = writeln!(
                    out,
                    "{:>width$} | >>> ... {} more lines",
                    "",
                    tail - head - 1
                );
            }
            continue;
        }
        let mark = if (first..=last).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let text = redact(&lines[number - 1]);
        let text = shortened(&text);
        let line = format!("{number:>width$} | {mark} {text}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// The line of `at` and below it a caret under each of `length` characters; of a long line, the part
/// around them.
pub(crate) fn caret(line: &str, at: Position, length: usize) -> String {
    let number = at.line.to_string();
    let gutter = " ".repeat(number.len());
    let column = (at.column as usize).saturating_sub(1);
    let skipped = if column + length.min(WIDEST / 2) > WIDEST {
        column - WIDEST / 3
    } else {
        0
    };
    let total = line.chars().count();
    let mut shown: String = line.chars().skip(skipped).take(WIDEST).collect();
    let mut before = column - skipped;
    if skipped > 0 {
        shown.insert_str(0, CUT);
        before += CUT.len();
    }
    let length = length.clamp(1, (WIDEST + CUT.len()).saturating_sub(before).max(1));
    if total - skipped.min(total) > WIDEST {
        shown.push_str(CUT);
    }
    // Tabs are kept in the padding so that the caret stays below its character.
    let padding: String = shown
        .chars()
        .take(before)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let marks = "^".repeat(length);
    format!("{number} | {shown}\n{gutter} | {padding}{marks}\n")
}
