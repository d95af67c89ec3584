//! Physical lines to logical ones: comments, continuations, heredoc bodies (A7-A12, A30-A33).

use std::borrow::Cow;
use std::ops::Range;

use crate::comment::Comment;
use crate::error::Fault;
use crate::heredoc::{Body, Opening};
use crate::position::{Position, Span};

/// A line as it stands in the file.
#[derive(Debug)]
pub(crate) struct Physical<'a> {
    /// With its line end.
    text: Cow<'a, str>,
    is_utf8: bool,
}

impl Physical<'_> {
    /// Without its line end.
    pub(crate) fn content(&self) -> &str {
        self.text.trim_end_matches(['\r', '\n'])
    }
}

/// The lines of a file, without the byte order mark.
pub(crate) fn physical_lines(text: &[u8]) -> Vec<Physical<'_>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok(text) => text
            .split_inclusive('\n')
            .map(|line| Physical {
                text: Cow::Borrowed(line),
                is_utf8: true,
            })
            .collect(),
        Err(_) => text
            .split_inclusive(|b| *b == b'\n')
            .map(|line| {
                let text = String::from_utf8_lossy(line);
                let is_utf8 = matches!(text, Cow::Borrowed(_));
                Physical { text, is_utf8 }
            })
            .collect(),
    }
}

/// A fault and the bytes of the logical line it is about.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) fault: Fault,
    pub(crate) at: Range<usize>,
}

/// An instruction's text with the places it came from.
#[derive(Debug, Default)]
pub(crate) struct Logical {
    /// Continuations joined, without blanks around it.
    pub(crate) text: String,
    /// Where parts of `text` come from, by offset.
    pieces: Vec<Piece>,
    /// Openings (ranges within `text`) with the bodies as they stand in the file.
    pub(crate) heredocs: Vec<(Opening, Body)>,
    /// The line its text ends on, if a blank line was skipped before that (A11).
    pub(crate) empty_continuation: Option<u32>,
    pub(crate) span: Option<Span>,
    is_utf8: bool,
}

#[derive(Debug)]
struct Piece {
    offset: usize,
    line: u32,
    /// Characters of the physical line before the piece.
    indent: u32,
}

impl Logical {
    /// The lines it covers.
    pub(crate) fn span(&self) -> Span {
        let first = Position::new(1, 1);
        self.span.unwrap_or(Span {
            start: first,
            end: first,
        })
    }

    /// Where the byte at `offset` of the text stands in the file.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let index = self.pieces.partition_point(|piece| piece.offset <= offset);
        match self.pieces.get(index.saturating_sub(1)) {
            Some(piece) => {
                let before = self.text[piece.offset..offset].chars().count() as u32;
                Position::new(piece.line, piece.indent + before + 1)
            }
            None => self.span().start,
        }
    }

    /// The bytes that `part`, a slice of the text, covers; all of the text for any other string.
    pub(crate) fn range_of(&self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.text.len() => start..end,
            _ => 0..self.text.len(),
        }
    }

    /// `fault` at `part`, a slice of the text.
    pub(crate) fn fault(&self, fault: Fault, part: &str) -> Located {
        Located {
            fault,
            at: self.range_of(part),
        }
    }
}

/// Reads logical lines one after the other.
#[derive(Debug)]
pub(crate) struct LogicalLines<'a> {
    lines: &'a [Physical<'a>],
    next: usize,
    escape: char,
    /// The comments passed so far.
    pub(crate) comments: Vec<Comment>,
}

impl<'a> LogicalLines<'a> {
    pub(crate) fn new(lines: &'a [Physical<'a>], escape: char) -> Self {
        Self {
            lines,
            next: 0,
            escape,
            comments: Vec::new(),
        }
    }

    /// The next instruction, or `None` at the end. `openings` finds the heredocs of a text.
    pub(crate) fn next_line(
        &mut self,
        openings: impl Fn(&str) -> Vec<Opening>,
    ) -> Option<(Logical, Option<Located>)> {
        let mut line = self.joined()?;
        line.text.truncate(line.text.trim_end().len());
        let mut problem = None;
        for opening in openings(&line.text) {
            let body = self.body(&opening, &mut line.is_utf8);
            if body.is_none() && problem.is_none() {
                let fault = Fault::UnterminatedHeredoc {
                    name: opening.name.clone(),
                };
                problem = Some(Located {
                    fault,
                    at: opening.range.clone(),
                });
            }
            if let Some(body) = body {
                line.heredocs.push((opening, body));
            }
        }
        if !line.is_utf8 {
            problem = Some(Located {
                fault: Fault::NotUtf8,
                at: 0..line.text.len(),
            });
        }
        let end = self.lines[self.next - 1].content();
        let end = Position::new(self.next as u32, end.chars().count() as u32 + 1);
        let start = line.position(0);
        line.span = Some(Span { start, end });
        Some((line, problem))
    }

    /// A text with something in it, its continuations joined.
    fn joined(&mut self) -> Option<Logical> {
        let mut line = Logical {
            is_utf8: true,
            ..Logical::default()
        };
        let mut continued = false;
        let mut skipped = false;
        while let Some(physical) = self.lines.get(self.next) {
            self.next += 1;
            let content = physical.content();
            let blank = content.trim_start();
            if let Some(comment) = blank.strip_prefix('#') {
                let indent = content.len() - blank.len();
                self.comments
                    .push(comment_at(self.next, content, indent, comment));
                continue;
            }
            if blank.is_empty() {
                skipped |= continued;
                continue;
            }
            // Only the first line of an instruction loses its leading blanks (A9).
            let part = if line.text.is_empty() { blank } else { content };
            let (part, more) = strip_continuation(part, self.escape);
            line.is_utf8 &= physical.is_utf8;
            if !part.is_empty() {
                let indent = if line.text.is_empty() {
                    content.len() - blank.len()
                } else {
                    0
                };
                let indent = content[..indent].chars().count() as u32;
                line.pieces.push(Piece {
                    offset: line.text.len(),
                    line: self.next as u32,
                    indent,
                });
                line.text.push_str(part);
            }
            continued = more;
            if !more {
                break;
            }
        }
        line.empty_continuation = skipped.then_some(self.next as u32);
        // A lone continuation at the end of the file is nothing at all (A12).
        (!line.text.trim().is_empty()).then_some(line)
    }

    /// The lines up to the terminator; `None` when it never comes.
    fn body(&mut self, opening: &Opening, is_utf8: &mut bool) -> Option<Body> {
        let mut text = String::new();
        let start = Position::new(self.next as u32 + 1, 1);
        while let Some(physical) = self.lines.get(self.next) {
            if opening.is_closed_by(physical.content()) {
                let end = Position::new(self.next as u32 + 1, 1);
                let span = Span { start, end };
                self.next += 1;
                return Some(Body { text, span });
            }
            self.next += 1;
            *is_utf8 &= physical.is_utf8;
            text.push_str(&physical.text);
        }
        None
    }
}

/// The comment that starts at the byte `indent` of line `number`.
fn comment_at(number: usize, content: &str, indent: usize, text: &str) -> Comment {
    let column = |bytes: usize| content[..bytes].chars().count() as u32 + 1;
    Comment {
        text: text.trim().to_owned(),
        span: Span {
            start: Position::new(number as u32, column(indent)),
            end: Position::new(number as u32, column(content.len())),
        },
    }
}

/// The line without its continuation, and whether it had one (A9).
fn strip_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str, escape: char) -> Vec<String> {
        let lines = physical_lines(text.as_bytes());
        let mut lines = LogicalLines::new(&lines, escape);
        std::iter::from_fn(|| lines.next_line(|_| Vec::new()).map(|(line, _)| line.text)).collect()
    }

    // conformance: A7, A8, A9, A10, A11, A12
    #[test]
    fn joining() {
        let rows: &[(&str, char, &[&str])] = &[
            ("a\nb", '\\', &["a", "b"]),
            ("\u{feff}a\r\nb\r\n", '\\', &["a", "b"]),
            ("  \t a b \n", '\\', &["a b"]),
            ("a \\\n  b\n", '\\', &["a   b"]),
            ("a \\ \t\nb\n", '\\', &["a b"]),
            ("a \\\r\nb\r\n", '\\', &["a b"]),
            ("a \\\\\nb\n", '\\', &["a \\\\", "b"]),
            ("a \\\n# no\n  # no\nb # c\n", '\\', &["a b # c"]),
            ("a \\\n\n  \nb\n", '\\', &["a b"]),
            ("a \\", '\\', &["a"]),
            ("\\\n", '\\', &[]),
            ("\\\na\n", '\\', &["a"]),
            ("a `\nb\n", '`', &["a b"]),
            ("a \\\nb\n", '`', &["a \\", "b"]),
            ("# a\n\n", '\\', &[]),
            ("", '\\', &[]),
        ];
        assert!(!rows.is_empty());
        for (text, escape, expected) in rows {
            assert_eq!(joined(text, *escape), *expected, "{text:?}");
        }
    }

    #[test]
    fn positions_point_into_the_file() {
        let lines = physical_lines("\n  RUN \u{e9} \\\n# x\n   two\n".as_bytes());
        let (line, _) = LogicalLines::new(&lines, '\\')
            .next_line(|_| Vec::new())
            .unwrap();
        assert_eq!(line.text, "RUN \u{e9}    two");
        let two = line
            .range_of(&line.text[line.text.find("two").unwrap()..])
            .start;
        assert_eq!(line.position(two), Position::new(4, 4));
        assert_eq!(line.position(4), Position::new(2, 7));
        assert_eq!(line.span().start, Position::new(2, 3));
        assert_eq!(line.span().end, Position::new(4, 7));
    }
}
