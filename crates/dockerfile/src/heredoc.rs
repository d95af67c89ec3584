//! Here-documents: finding them on a line, and what they are once read.
//!
//! The delimiter is read by shell rules whatever the `escape` directive says (A4).

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

use crate::position::Span;

/// A here-document of `RUN`, `COPY` or `ADD` (A30).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, without its quotes.
    pub name: String,
    /// The number before `<<`; 0 when there is none.
    pub fd: u32,
    /// The body; for `<<-` the leading tabs are gone already.
    pub content: String,
    /// Whether the builder expands the body: the delimiter has no quote (A31).
    pub expand: bool,
    /// Written as `<<-`.
    pub chomp: bool,
    /// The body in the file: from its first line to the start of the line that closes it. Within a trigger the lines
    /// count from the start of its text.
    pub span: Span,
}

/// A body as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Heredoc {
    /// Whether `text` is one `<<NAME` and nothing else.
    pub(crate) fn is_whole_text(text: &str) -> bool {
        let text = text.trim();
        text.starts_with("<<")
            && matches!(find(text, true).as_slice(), [only] if only.range == (0..text.len()))
    }
}

/// A `<<NAME` on an instruction line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Where it stands in the text that was searched.
    pub(crate) range: Range<usize>,
    pub(crate) name: String,
    pub(crate) fd: u32,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
}

impl Opening {
    /// Whether `line`, without its line end, closes the body (A32).
    pub(crate) fn is_closed_by(&self, line: &str) -> bool {
        let line = if self.chomp {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }

    /// The heredoc with its body as it stands in the file.
    pub(crate) fn with_body(&self, body: &Body) -> Heredoc {
        let raw = body.text.as_str();
        let content = if self.chomp {
            raw.split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect()
        } else {
            raw.to_owned()
        };
        let Self {
            name,
            fd,
            expand,
            chomp,
            ..
        } = self.clone();
        Heredoc {
            name,
            fd,
            content,
            expand,
            chomp,
            span: body.span,
        }
    }
}

/// The heredocs that `text` opens, in order; none when a quote in it stays open, as the shell could
/// not read such a line either. With `shell` a delimiter also ends at an operator (`<<EOF>file`), and
/// shifts inside `$((...))` are left alone.
pub(crate) fn find(text: &str, shell: bool) -> Vec<Opening> {
    if !text.contains("<<") {
        return Vec::new();
    }
    let mut openings = Vec::new();
    for word in Words::split(text, shell).unwrap_or_default() {
        openings.extend(opening(text, word, shell));
    }
    openings
}

/// `[fd]<<[-][blanks]NAME` as a whole word.
fn opening(text: &str, word: Range<usize>, shell: bool) -> Option<Opening> {
    let whole = &text[word.clone()];
    let digits = whole.len() - whole.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after = whole[digits..].strip_prefix("<<")?;
    let (chomp, after) = match after.strip_prefix('-') {
        Some(after) => (true, after),
        None => (false, after),
    };
    let quoted = after.trim_start();
    if quoted.contains('<') {
        // `<<<word` is another operator of the shell.
        return None;
    }
    let start = word.end - quoted.len();
    let (name, expand, used) = delimiter(quoted, shell);
    if name.is_empty() {
        return None;
    }
    Some(Opening {
        range: word.start..start + used,
        name,
        fd: whole[..digits].parse().unwrap_or(0),
        expand,
        chomp,
    })
}

/// The name without quotes, whether it had none, and how much of `quoted` it takes.
fn delimiter(quoted: &str, shell: bool) -> (String, bool, usize) {
    let mut name = String::new();
    let mut expand = true;
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' | '"' => {
                expand = false;
                while let Some((_, inner)) = chars.next() {
                    if inner == c {
                        break;
                    }
                    let escaped = c == '"' && inner == '\\';
                    let next = chars.clone().next().map(|(_, next)| next);
                    match next {
                        Some(next @ ('"' | '$' | '\\')) if escaped => {
                            chars.next();
                            name.push(next);
                        }
                        _ => name.push(inner),
                    }
                }
            }
            '\\' => {
                expand = false;
                name.extend(chars.next().map(|(_, c)| c));
            }
            ';' | '&' | '|' | '>' | '(' | ')' if shell => return (name, expand, at),
            _ => name.push(c),
        }
    }
    (name, expand, quoted.len())
}

/// Splits a line into words at blanks outside quotes and `${...}`.
struct Words<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    found: Vec<Range<usize>>,
    start: Option<usize>,
}

impl<'a> Words<'a> {
    /// `None` when a quote or brace stays open.
    fn split(text: &'a str, shell: bool) -> Option<Vec<Range<usize>>> {
        let chars = text.char_indices().peekable();
        let mut words = Self {
            text,
            chars,
            found: Vec::new(),
            start: None,
        };
        let mut braces = 0_usize;
        let mut arithmetic = shell;
        while let Some((at, c)) = words.chars.next() {
            if c.is_whitespace() && braces == 0 {
                words.end_at(at);
                continue;
            }
            words.start.get_or_insert(at);
            match c {
                '\'' | '"' => words.skip_quoted(c)?,
                '\\' => {
                    words.chars.next();
                }
                // Looking for the end again after one was not found would take quadratic time.
                '$' if arithmetic && text[at..].starts_with("$((") => {
                    arithmetic = words.skip_arithmetic(at);
                }
                '$' if text[at..].starts_with("${") => {
                    words.chars.next();
                    braces += 1;
                }
                '}' => braces = braces.saturating_sub(1),
                _ => {}
            }
        }
        words.end_at(text.len());
        (braces == 0).then_some(words.found)
    }

    fn end_at(&mut self, at: usize) {
        let Some(start) = self.start else { return };
        // `<< EOF`: blanks between the operator and its word belong to the word.
        let so_far = self.text[start..at].trim_start_matches(|c: char| c.is_ascii_digit());
        if matches!(so_far.trim_end(), "<<" | "<<-") && at < self.text.len() {
            return;
        }
        self.found.push(start..at);
        self.start = None;
    }

    fn skip_quoted(&mut self, quote: char) -> Option<()> {
        while let Some((_, c)) = self.chars.next() {
            if c == quote {
                return Some(());
            }
            if quote == '"' && c == '\\' {
                self.chars
                    .next_if(|(_, next)| matches!(next, '"' | '$' | '\\'));
            }
        }
        None
    }

    /// From the `$` at `at` to behind the closing `))`; false when there is none.
    fn skip_arithmetic(&mut self, at: usize) -> bool {
        let mut depth = 0_usize;
        for (offset, c) in self.text[at..].char_indices() {
            match c {
                '(' => depth += 1,
                ')' if depth == 1 => {
                    while self
                        .chars
                        .next_if(|(next, _)| *next <= at + offset)
                        .is_some()
                    {}
                    return true;
                }
                ')' => depth -= 1,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    /// `fd<<[-]name[!]` per opening, `!` for a quoted delimiter.
    fn shown(text: &str, shell: bool) -> String {
        let shown = |o: &Opening| {
            let dash = if o.chomp { "-" } else { "" };
            let quoted = if o.expand { "" } else { "!" };
            format!("{}<<{dash}{}{quoted}", o.fd, o.name)
        };
        find(text, shell)
            .iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(" ")
    }

    // conformance: A30, A31, D23
    #[test]
    fn openings() {
        let rows = [
            ("<<EOF", "0<<EOF"),
            ("<< EOF", "0<<EOF"),
            ("<<- EOF", "0<<-EOF"),
            ("<<-EOF", "0<<-EOF"),
            ("<<'EOF'", "0<<EOF!"),
            ("<<\"E O F\"", "0<<E O F!"),
            ("<<E\\OF", "0<<EOF!"),
            ("<<E'O'F", "0<<EOF!"),
            ("3<<EOF", "3<<EOF"),
            ("cat <<A <<B | x", "0<<A 0<<B"),
            ("python3 <<EOF", "0<<EOF"),
            ("cat <<EOF>out", "0<<EOF"),
            ("(cat <<EOF)", "0<<EOF"),
            ("x=${a:-b c} cat <<EOF", "0<<EOF"),
            ("cat <<<EOF", ""),
            ("cat<<EOF", ""),
            ("echo '<<EOF'", ""),
            ("echo \"a <<EOF b\"", ""),
            ("echo it's <<EOF", ""),
            ("echo \\<<EOF", ""),
            ("echo $((1 << 2))", ""),
            ("echo $((1 << 2)) <<EOF", "0<<EOF"),
            ("<<", ""),
            ("<< ", ""),
            ("<<''", ""),
            ("a << <<EOF", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text, true), expected, "{text}");
        }
        assert_eq!(shown("<<a&b /x", false), "0<<a&b");
    }

    #[test]
    fn ranges_cover_operator_and_name() {
        let text = "cat <<A 2<<- 'B' >x";
        let found: Vec<_> = find(text, true)
            .into_iter()
            .map(|o| &text[o.range])
            .collect();
        assert_eq!(found, ["<<A", "2<<- 'B'"]);
    }

    // conformance: A31
    #[test]
    fn only_tabs_are_chomped() {
        let opening = &find("<<-E", true)[0];
        let start = Position::new(1, 1);
        let body = Body {
            text: "\t\ta\n \tb\n\tc".to_owned(),
            span: Span { start, end: start },
        };
        assert_eq!(opening.with_body(&body).content, "a\n \tb\nc");
        assert!(opening.is_closed_by("\t\tE"));
        assert!(!opening.is_closed_by(" E"));
        assert!(!find("<<E", true)[0].is_closed_by("\tE"));
    }
}
