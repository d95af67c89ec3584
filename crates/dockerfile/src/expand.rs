//! Word expansion: `$x`, `${x...}`, quotes and escapes (B1-B11).

use std::collections::BTreeSet;

use crate::limits::MOST_WORK;
use crate::lookup::Lookup;
use crate::shorten::shortened;
use crate::wildcard::Wildcard;

/// `${a:-${b:-...}}` deeper than this is refused rather than followed.
const DEEPEST: usize = 128;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {:?}: {fault}", shortened(word))]
pub struct ExpandError {
    /// The whole word.
    pub word: String,
    /// What is wrong with it.
    pub fault: ExpandFault,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandFault {
    /// B9
    #[error("unexpected end of statement while looking for matching {quote}-quote")]
    OpenQuote {
        /// `single` or `double`.
        quote: &'static str,
    },
    /// B8: `${x` to the end of the word.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// B6
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// B8: `${}`, `${:...}`, `${{...`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// B5, B8
    #[error("unsupported modifier ({modifier}) in substitution")]
    Modifier {
        /// The characters behind the name.
        modifier: String,
    },
    /// B4: `${x:?message}` did its work.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message in the word, or the standard one.
        message: String,
    },
    /// More levels of `${...}` than anyone writes.
    #[error("substitutions are nested more than {DEEPEST} deep")]
    TooDeep,
    /// Values, or patterns, that take more time or memory than anyone means.
    #[error("substitutions grow too large: more than {MOST_WORK} bytes, the limit MOST_WORK")]
    TooLarge,
}

/// An expanded word, and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The result, quotes removed.
    pub text: String,
    /// Names that had a value.
    pub used: BTreeSet<String>,
    /// Names that had none.
    pub unset: BTreeSet<String>,
    /// Those of them that are used without `-`, `+` or `?`: nothing says what to do without a value.
    pub undefined: BTreeSet<String>,
}

/// Expands words under one `escape` directive.
#[derive(Debug, Clone, Copy)]
pub struct Expander {
    escape: char,
}

impl Default for Expander {
    fn default() -> Self {
        Self::new('\\')
    }
}

impl Expander {
    /// An expander for files with this escape character (B10).
    pub fn new(escape: char) -> Self {
        Self { escape }
    }

    /// Expands one word; blanks stay what they are (B11).
    pub fn word(&self, word: &str, vars: &dyn Lookup) -> Result<Expanded, ExpandError> {
        let (output, names) = self.run(word, vars, true)?;
        Ok(Expanded {
            text: output.text,
            used: names.used,
            unset: names.unset,
            undefined: names.undefined,
        })
    }

    /// Expands a word and splits the result at blanks outside quotes (`EXPOSE`, B11).
    pub fn words(&self, word: &str, vars: &dyn Lookup) -> Result<Vec<String>, ExpandError> {
        let (output, _) = self.run(word, vars, true)?;
        Ok(output.into_words())
    }

    /// Expands the body of a `COPY` or `ADD` heredoc: quotes are ordinary text, the escape character
    /// works as outside quotes (B15).
    pub fn heredoc(&self, body: &str, vars: &dyn Lookup) -> Result<String, ExpandError> {
        let (output, _) = self.run(body, vars, false)?;
        Ok(output.text)
    }

    /// The variables of a heredoc's body that have no value, as in [`Expanded::undefined`].
    pub(crate) fn undefined_in(self, body: &str, vars: &dyn Lookup) -> BTreeSet<String> {
        let expanded = self.run(body, vars, false);
        expanded
            .map(|(_, names)| names.undefined)
            .unwrap_or_default()
    }

    fn run(
        self,
        word: &str,
        vars: &dyn Lookup,
        quotes: bool,
    ) -> Result<(Output, Names), ExpandError> {
        let names = Names::default();
        let mut scan = Scan {
            rest: word,
            escape: self.escape,
            quotes,
            vars,
            names,
            depth: 0,
            work_left: MOST_WORK,
        };
        match scan.until(None, false) {
            Ok(output) => Ok((output, scan.names)),
            Err(fault) => Err(ExpandError {
                word: word.to_owned(),
                fault,
            }),
        }
    }
}

#[derive(Debug, Default)]
struct Names {
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
    undefined: BTreeSet<String>,
}

/// The expanded text, and where it may be split.
#[derive(Debug, Default)]
struct Output {
    text: String,
    /// Byte ranges of `text` that came from quotes or escapes and are never split.
    solid: Vec<(usize, usize)>,
}

impl Output {
    fn push_solid(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.solid.push((start, self.text.len()));
    }

    fn into_words(self) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut solid = self.solid.iter().peekable();
        for (at, c) in self.text.char_indices() {
            while solid.next_if(|(_, end)| *end <= at).is_some() {}
            let is_solid = solid.peek().is_some_and(|(start, _)| *start <= at);
            if !c.is_whitespace() || is_solid {
                word.push(c);
            } else if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }
}

struct Scan<'a> {
    rest: &'a str,
    escape: char,
    /// Whether quotes mean anything.
    quotes: bool,
    vars: &'a dyn Lookup,
    names: Names,
    depth: usize,
    work_left: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn next_if(&mut self, wanted: char) -> bool {
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Expands up to `stop`, which is taken; with `raw` escapes stay in the text, for patterns.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<Output, ExpandFault> {
        let mut out = Output::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.next();
                return Ok(out);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    out.text.push_str(&value);
                }
                '\'' if self.quotes => {
                    self.next();
                    let quote = ExpandFault::OpenQuote { quote: "single" };
                    let (inner, rest) = self.rest.split_once('\'').ok_or(quote)?;
                    self.rest = rest;
                    out.push_solid(inner);
                }
                '"' if self.quotes => {
                    self.next();
                    let inner = self.double_quoted(raw)?;
                    out.push_solid(&inner);
                }
                _ if c == self.escape => {
                    self.next();
                    if raw {
                        out.text.push(c);
                    }
                    if let Some(c) = self.next() {
                        out.push_solid(c.encode_utf8(&mut [0; 4]));
                    }
                }
                _ => {
                    self.next();
                    out.text.push(c);
                }
            }
        }
        match stop {
            None => Ok(out),
            Some('/') => Err(ExpandFault::MissingSlash),
            Some(_) => Err(ExpandFault::MissingBrace),
        }
    }

    /// The text up to the closing quote; only `"`, `$` and the escape character can be escaped.
    fn double_quoted(&mut self, raw: bool) -> Result<String, ExpandFault> {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.next();
                    return Ok(out);
                }
                '$' => out.push_str(&self.dollar()?),
                _ if c == self.escape => {
                    self.next();
                    match self.peek() {
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.next();
                            if raw {
                                out.push(c);
                            }
                            out.push(next);
                        }
                        _ => out.push(c),
                    }
                }
                _ => {
                    self.next();
                    out.push(c);
                }
            }
        }
        Err(ExpandFault::OpenQuote { quote: "double" })
    }

    /// `$x` or `${...}`
    fn dollar(&mut self) -> Result<String, ExpandFault> {
        self.next();
        if self.next_if('{') {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(ExpandFault::TooDeep);
            }
            let value = self.braced();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        self.needed_text(name)
    }

    /// What is behind `${`
    fn braced(&mut self) -> Result<String, ExpandFault> {
        if self.rest.is_empty() {
            return Err(ExpandFault::MissingBrace);
        }
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandFault::BadSubstitution);
        }
        let Some(operator) = self.next() else {
            return Err(ExpandFault::MissingBrace);
        };
        match operator {
            '}' => self.needed_text(name),
            ':' => match self.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(name, operator, true),
                Some(other) => Err(ExpandFault::Modifier {
                    modifier: format!(":{other}"),
                }),
                None => Err(ExpandFault::MissingBrace),
            },
            '-' | '+' | '?' => self.conditional(name, operator, false),
            '#' | '%' => self.trimmed(name, operator),
            '/' => self.replaced(name),
            _ => Err(ExpandFault::Modifier {
                modifier: operator.to_string(),
            }),
        }
    }

    /// `-`, `+`, `?`; with `or_empty` (a colon) an empty value counts as none (B3, B4).
    fn conditional(
        &mut self,
        name: &str,
        operator: char,
        or_empty: bool,
    ) -> Result<String, ExpandFault> {
        let word = self.until(Some('}'), false)?.text;
        let value = self.value(name);
        let present = value.filter(|value| !(or_empty && value.is_empty()));
        match (operator, present) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(present)) => {
                self.spend(present.len())?;
                Ok(present.to_owned())
            }
            (_, None) => {
                let standard = match value {
                    Some(_) => "is not allowed to be empty",
                    None => "is not allowed to be unset",
                };
                let message = if word.is_empty() {
                    standard.to_owned()
                } else {
                    word
                };
                Err(ExpandFault::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }

    /// `#`, `##`, `%`, `%%` (B5)
    fn trimmed(&mut self, name: &str, operator: char) -> Result<String, ExpandFault> {
        let pattern = self.until(Some('}'), true)?.text;
        let (pattern, longest) = match pattern.strip_prefix(operator) {
            Some(pattern) => (pattern, true),
            None => (pattern.as_str(), false),
        };
        let value = self.needed(name);
        self.spend(pattern.len().saturating_mul(value.len()))?;
        let wildcard = Wildcard::new(pattern, self.escape);
        self.spend(value.len())?;
        let kept = if operator == '#' {
            wildcard.without_prefix(value, longest)
        } else {
            wildcard.without_suffix(value, longest)
        };
        Ok(kept.to_owned())
    }

    /// `/p/r` and `//p/r` (B6)
    fn replaced(&mut self, name: &str) -> Result<String, ExpandFault> {
        let all = self.next_if('/');
        let pattern = self.until(Some('/'), true)?.text;
        let replacement = self.until(Some('}'), true)?.text;
        let value = self.needed(name);
        self.spend(pattern.len().saturating_mul(value.len()))?;
        let replaced = Wildcard::new(&pattern, self.escape)
            .replace(value, &replacement, all, self.work_left)
            .ok_or(ExpandFault::TooLarge)?;
        self.spend(replaced.len())?;
        Ok(replaced)
    }

    fn spend(&mut self, work: usize) -> Result<(), ExpandFault> {
        self.work_left = self
            .work_left
            .checked_sub(work)
            .ok_or(ExpandFault::TooLarge)?;
        Ok(())
    }

    /// A name, all digits of a positional parameter, or one special character (B2).
    fn name(&mut self) -> &'a str {
        let rest = self.rest;
        let length = match rest.bytes().next() {
            Some(b'0'..=b'9') => rest.bytes().take_while(u8::is_ascii_digit).count(),
            Some(b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => 1,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => rest
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                .count(),
            _ => 0,
        };
        let (name, rest) = rest.split_at(length);
        self.rest = rest;
        name
    }

    /// The same as text of the result, which counts. Values make a word longer than it is written: each of a row of ARGs
    /// can be twice the one before.
    fn needed_text(&mut self, name: &str) -> Result<String, ExpandFault> {
        let value = self.needed(name);
        self.spend(value.len())?;
        Ok(value.to_owned())
    }

    /// The value of a variable that should have one; nothing if it has none (B1).
    fn needed(&mut self, name: &str) -> &'a str {
        self.value(name).unwrap_or_else(|| {
            // Special parameters and numbers are empty by definition (B2).
            if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                self.names.undefined.insert(name.to_owned());
            }
            ""
        })
    }

    fn value(&mut self, name: &str) -> Option<&'a str> {
        let value = self.vars.get(name);
        let names = if value.is_some() {
            &mut self.names.used
        } else {
            &mut self.names.unset
        };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }
}

#[cfg(test)]
mod tests;
