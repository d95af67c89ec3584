//! The parser directives at the top of a file (A1-A6).

use crate::dockerfile::{Check, Directives};
use crate::error::Fault;
use crate::logical::Physical;
use crate::position::{Position, Span};
use crate::truth::parse_bool;

const KEYS: [&str; 3] = ["syntax", "escape", "check"];

/// A directive that is wrong, and its line from 1.
pub(crate) type DirectiveFault = (u32, Fault);

/// Reads the directives; faults do not stop it.
pub(crate) fn read(lines: &[Physical<'_>]) -> (Directives, Vec<DirectiveFault>) {
    let mut directives = Directives {
        syntax: None,
        escape: '\\',
        check: None,
        spans: Vec::new(),
    };
    let mut faults = Vec::new();
    let mut seen = [false; KEYS.len()];
    // Behind a `#!` line only the other two are looked for (A5): for `escape` it is a comment.
    let interpreter = lines
        .first()
        .is_some_and(|line| line.content().starts_with("#!"));
    for (index, line) in lines.iter().enumerate().skip(usize::from(interpreter)) {
        let number = index as u32 + 1;
        let comment = line.content().trim_start().strip_prefix('#');
        let Some((key, value)) = comment.and_then(key_value) else {
            break;
        };
        let Some(which) = KEYS
            .iter()
            .position(|known| key.eq_ignore_ascii_case(known))
        else {
            break;
        };
        let key = KEYS[which];
        if interpreter && key == "escape" {
            break;
        }
        if std::mem::replace(&mut seen[which], true) {
            faults.push((number, Fault::DuplicateDirective { key }));
            continue;
        }
        directives.spans.push((key, span(line.content(), number)));
        match key {
            "syntax" => directives.syntax = Some(value.to_owned()),
            "escape" => match value {
                "\\" => directives.escape = '\\',
                "`" => directives.escape = '`',
                _ => faults.push((
                    number,
                    Fault::EscapeToken {
                        value: value.to_owned(),
                    },
                )),
            },
            _ => match Check::parse(value) {
                Ok(check) => directives.check = Some(check),
                Err(fault) => faults.push((number, fault)),
            },
        }
    }
    (directives, faults)
}

/// `key = value`, as it stands behind the `#` of a comment.
pub(crate) fn key_value(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((key, value))
}

/// From the `#` to the end of the line.
fn span(line: &str, number: u32) -> Span {
    let indent = line.len() - line.trim_start().len();
    let column = |bytes: usize| line[..bytes].chars().count() as u32 + 1;
    Span {
        start: Position::new(number, column(indent)),
        end: Position::new(number, column(line.len())),
    }
}

impl Check {
    /// Reads the value of `# check=`, such as `skip=A,B;error=true` (A6).
    pub fn parse(value: &str) -> Result<Self, Fault> {
        let mut check = Self::default();
        for option in value
            .split(';')
            .map(str::trim)
            .filter(|option| !option.is_empty())
        {
            let wrong = || Fault::CheckOption {
                option: option.to_owned(),
            };
            let (key, value) = option.split_once('=').ok_or_else(wrong)?;
            match key.trim().to_ascii_lowercase().as_str() {
                "skip" => names(value, &mut check.skip, &mut check.skip_all),
                "experimental" => {
                    names(value, &mut check.experimental, &mut check.experimental_all);
                }
                "error" => check.error = parse_bool(value.trim()).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(check)
    }
}

/// `A,B` or `all`
fn names(value: &str, names: &mut Vec<String>, all: &mut bool) {
    for name in value.split(',').map(str::trim) {
        if name.eq_ignore_ascii_case("all") {
            *all = true;
        } else if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::logical::physical_lines;

    fn shown(text: &str) -> String {
        let (found, faults) = read(&physical_lines(text.as_bytes()));
        let mut out = format!("{}{}", found.escape, found.syntax.unwrap_or_default());
        for (line, fault) in faults {
            let _ = write!(out, " {line}: {fault}");
        }
        out
    }

    // conformance: A1, A2, A3, A4, A5, A7
    #[test]
    fn directives() {
        let rows = [
            ("# escape=`\n", "`"),
            ("#ESCAPE = `\n", "`"),
            ("   #   escape   =   `   \n", "`"),
            ("\u{feff}# escape=`\r\n", "`"),
            (
                "# syntax=docker/dockerfile:1\n# escape=`\n",
                "`docker/dockerfile:1",
            ),
            ("# comment\n# escape=`\n", "\\"),
            ("# unknown=x\n# escape=`\n", "\\"),
            ("\n# escape=`\n", "\\"),
            ("FROM x\n# escape=`\n", "\\"),
            ("# escape=\n# escape=`\n", "\\"),
            ("#!/usr/bin/x\n# syntax=a\n", "\\a"),
            ("#!/usr/bin/x\n# escape=`\n", "\\"),
            (
                "# escape=`\n# Escape=\\\n",
                "` 2: only one escape parser directive can be used",
            ),
            (
                "# syntax=a\n# syntax=b\n",
                "\\a 2: only one syntax parser directive can be used",
            ),
            (
                "# escape=x\n",
                "\\ 1: invalid escape token 'x' does not match ` or \\",
            ),
            ("# escape=\\\n", "\\"),
            // No directive goes on in the next line: that is one of its own.
            ("# syntax=a\\\n# escape=`\n", "`a\\"),
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    // conformance: A6
    #[test]
    fn check_directive() {
        let parsed = Check::parse("skip=StageNameCasing, FromAsCasing;error=true").unwrap();
        assert!(parsed.error && !parsed.skip_all);
        assert_eq!(parsed.skip, ["StageNameCasing", "FromAsCasing"]);
        assert!(Check::parse("skip=all").unwrap().skip_all);
        let parsed = Check::parse(" experimental = A , B ; ").unwrap();
        assert_eq!(parsed.experimental, ["A", "B"]);
        assert!(Check::parse("experimental=ALL").unwrap().experimental_all);
        assert_eq!(Check::parse(""), Ok(Check::default()));
        for wrong in ["skipp=a", "error=maybe", "error", "all"] {
            assert_eq!(
                Check::parse(wrong),
                Err(Fault::CheckOption {
                    option: wrong.into()
                })
            );
        }
    }
}
