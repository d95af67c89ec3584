//! `.dockerignore` files and `--exclude` (A36-A40, A44, E34).

use crate::automaton::Automaton;
use crate::limits::{LONGEST_PATTERN, MOST_PATTERNS};
use crate::pattern_syntax;

/// A pattern that is malformed; the build fails (A37).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A `!` with nothing behind it.
    #[error("illegal exclusion pattern: \"!\"")]
    EmptyException {
        /// Line of the ignore file, from 1; absent for patterns given one by one.
        line: Option<u32>,
    },
    /// More patterns than [`MOST_PATTERNS`].
    #[error("more than {MOST_PATTERNS} patterns, the limit MOST_PATTERNS")]
    TooMany {
        /// Line of the ignore file, from 1; absent for patterns given one by one.
        line: Option<u32>,
    },
    /// A pattern longer than [`LONGEST_PATTERN`].
    #[error("a pattern has more than {LONGEST_PATTERN} bytes, the limit LONGEST_PATTERN")]
    TooLong {
        /// Line of the ignore file, from 1; absent for patterns given one by one.
        line: Option<u32>,
    },
    /// An open `[`, an empty class or a `\` at the end.
    #[error("syntax error in pattern: `{pattern}`")]
    Syntax {
        /// The pattern, lossily decoded.
        pattern: String,
        /// Line of the ignore file, from 1; absent for patterns given one by one.
        line: Option<u32>,
    },
}

impl PatternError {
    /// Line of the ignore file, from 1; absent for patterns given one by one.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::EmptyException { line }
            | Self::TooMany { line }
            | Self::TooLong { line }
            | Self::Syntax { line, .. } => *line,
        }
    }
}

/// Compiled exclusion rules, in order (A44: compiled once, used for every file).
#[derive(Debug, Clone, Default)]
pub struct PatternSet {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// `!pattern`: takes back what earlier rules excluded.
    is_exception: bool,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    /// No wildcard.
    Literal(Vec<u8>),
    Wild {
        /// Plain text every match contains; looked for first because it is quick.
        needle: Vec<u8>,
        automaton: Automaton,
    },
}

impl PatternSet {
    /// Reads a `.dockerignore` file (A36).
    pub fn parse_ignore_file(text: &[u8]) -> Result<Self, PatternError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut set = Self::default();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            if !line.starts_with(b"#") {
                set.add(line, Some(index as u32 + 1))?;
            }
        }
        Ok(set)
    }

    /// Compiles patterns given one by one (`--exclude`); a `#` is an ordinary character here, and so is a `/` in front,
    /// which no path has.
    pub fn new<I, S>(patterns: I) -> Result<Self, PatternError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut set = Self::default();
        for pattern in patterns {
            set.add(pattern.as_ref().as_bytes(), None)?;
        }
        Ok(set)
    }

    fn add(&mut self, pattern: &[u8], line: Option<u32>) -> Result<(), PatternError> {
        let pattern = trim(pattern);
        if pattern.is_empty() {
            return Ok(());
        }
        if pattern.len() > LONGEST_PATTERN {
            return Err(PatternError::TooLong { line });
        }
        if self.rules.len() >= MOST_PATTERNS {
            return Err(PatternError::TooMany { line });
        }
        let (is_exception, body) = match pattern.strip_prefix(b"!") {
            Some(body) => (true, trim(body)),
            None => (false, pattern),
        };
        if body.is_empty() {
            return Err(PatternError::EmptyException { line });
        }
        let cleaned = clean(body);
        // Paths have no slash in front. Ignore files drop that of a pattern; given one by one, it stays and never matches.
        let never = line.is_none() && body.starts_with(b"/");
        let steps = pattern_syntax::path(&cleaned).map_err(|_| PatternError::Syntax {
            pattern: String::from_utf8_lossy(pattern).into_owned(),
            line,
        })?;
        if !never {
            self.rules.push(Rule {
                is_exception,
                matcher: Matcher::new(Automaton::new(steps)),
            });
        }
        Ok(())
    }

    /// Whether `path` is excluded, itself or through a parent; the last rule that matches decides
    /// (A39). `path` is relative to the root, cleaned, with `/` between components.
    pub fn is_excluded(&self, path: &[u8]) -> bool {
        // `*` matches the empty path as well, but the root itself is always there.
        if path.is_empty() {
            return false;
        }
        let last = self
            .rules
            .iter()
            .rev()
            .find(|rule| rule.matcher.matches_or_parent(path));
        last.is_some_and(|rule| !rule.is_exception)
    }

    /// False when `dir` is excluded and no exception can bring back anything below it (A40): a walk
    /// need not enter it.
    pub fn may_include_below(&self, dir: &[u8]) -> bool {
        if dir.is_empty() {
            return true;
        }
        for rule in self.rules.iter().rev() {
            if rule.matcher.matches_or_parent(dir) {
                return rule.is_exception;
            }
            // Rules before the one that excludes `dir` are overruled for everything below it too.
            if rule.is_exception && rule.matcher.may_match_below(dir) {
                return true;
            }
        }
        true
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Matcher {
    fn new(automaton: Automaton) -> Self {
        match automaton.literal() {
            Some(literal) => Self::Literal(literal),
            None => Self::Wild {
                needle: automaton.needle(),
                automaton,
            },
        }
    }

    fn matches_or_parent(&self, path: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => match path.strip_prefix(literal.as_slice()) {
                Some(rest) => rest.is_empty() || rest[0] == b'/',
                None => false,
            },
            Self::Wild { needle, automaton } => {
                may_contain(path, needle) && automaton.run(path).whole_or_parent
            }
        }
    }

    fn may_match_below(&self, dir: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => literal
                .strip_prefix(dir)
                .is_some_and(|rest| rest.starts_with(b"/")),
            Self::Wild { automaton, .. } => {
                let mut below = dir.to_vec();
                below.push(b'/');
                automaton.run(&below).open
            }
        }
    }
}

/// Whether `needle` is in `path`.
fn may_contain(path: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let mut path = path;
    while let Some(at) = path.iter().position(|b| b == first) {
        path = &path[at + 1..];
        if path.starts_with(rest) {
            return true;
        }
    }
    false
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

/// The path without empty, `.` and `..` components where they can be resolved, and without its
/// leading `/`.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    if !parts.is_empty() {
        return parts.join(&b'/');
    }
    // Neither names anything below the root.
    if rooted { b"/".to_vec() } else { b".".to_vec() }
}

#[cfg(test)]
mod tests;
