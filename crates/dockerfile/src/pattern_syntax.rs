//! Reading patterns into steps: `*`, `?`, `[...]`, `\`, and for ignore files `**` (A38, E6).

use crate::automaton::{Class, Step, decode};

/// A malformed pattern: an open `[`, an empty class, a `\` at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One path component: `*` and `?` as in Go's `path.Match`, nothing special about `**`.
pub(crate) fn component(pattern: &[u8]) -> Result<Vec<Step>, Malformed> {
    let mut reader = Reader {
        rest: pattern,
        steps: Vec::new(),
    };
    while !reader.rest.is_empty() {
        reader.common()?;
    }
    Ok(reader.steps)
}

/// A whole path of an ignore file, cleaned.
///
/// `**` behaves as in moby/patternmatcher, which knows three meanings: at the end it takes anything;
/// in front of plain text without `/` it takes anything as well (`**.go`); everywhere else it takes
/// whole directories, with or without a `/` behind it.
pub(crate) fn path(pattern: &[u8]) -> Result<Vec<Step>, Malformed> {
    let mut reader = Reader {
        rest: pattern,
        steps: Vec::new(),
    };
    if let Some(rest) = pattern.strip_prefix(b"**")
        && !rest.starts_with(b"/")
        && !rest.iter().any(|b| b"*?[]\\".contains(b))
    {
        reader.steps.push(Step::All);
        reader.rest = rest;
    }
    while !reader.rest.is_empty() {
        match reader.rest.strip_prefix(b"**") {
            Some(rest) => {
                reader.rest = rest.strip_prefix(b"/").unwrap_or(rest);
                if reader.rest.is_empty() {
                    reader.steps.push(Step::All);
                } else {
                    reader.steps.extend([Step::Directories, Step::Inside]);
                }
            }
            None => reader.common()?,
        }
    }
    Ok(reader.steps)
}

struct Reader<'a> {
    rest: &'a [u8],
    steps: Vec<Step>,
}

impl Reader<'_> {
    /// What both languages share; the rest is not empty.
    fn common(&mut self) -> Result<(), Malformed> {
        let step = match self.next()? {
            b if b == u32::from(b'*') => {
                // A row of stars is one star.
                if self.steps.last() == Some(&Step::Star) {
                    return Ok(());
                }
                Step::Star
            }
            b if b == u32::from(b'?') => Step::One,
            b if b == u32::from(b'[') => Step::Class(self.class()?),
            b if b == u32::from(b'\\') => Step::Char(self.next()?),
            code => Step::Char(code),
        };
        self.steps.push(step);
        Ok(())
    }

    fn next(&mut self) -> Result<u32, Malformed> {
        if self.rest.is_empty() {
            return Err(Malformed);
        }
        let (code, length) = decode(self.rest);
        self.rest = &self.rest[length..];
        Ok(code)
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// What is behind `[`
    fn class(&mut self) -> Result<Class, Malformed> {
        let mut class = Class {
            negated: self.take(b'^'),
            ranges: Vec::new(),
        };
        while class.ranges.is_empty() || !self.take(b']') {
            let low = self.class_char()?;
            let high = if self.take(b'-') {
                self.class_char()?
            } else {
                low
            };
            class.ranges.push((low, high));
        }
        Ok(class)
    }

    fn class_char(&mut self) -> Result<u32, Malformed> {
        if matches!(self.rest.first(), Some(b'-' | b']')) {
            return Err(Malformed);
        }
        self.take(b'\\');
        self.next()
    }
}
