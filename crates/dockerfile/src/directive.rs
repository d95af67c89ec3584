//! The parser directives at the top of a file (A1-A6).

use crate::dockerfile::{Check, Directives};
use crate::error::Fault;
use crate::logical::Physical;
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
    };
    let mut faults = Vec::new();
    let mut seen = [false; KEYS.len()];
    // Behind a `#!` line only the other two are looked for (A5): for `escape` it is a comment.
    let interpreter = lines
        .first()
        .is_some_and(|line| line.content().starts_with("#!"));
    for (index, line) in lines.iter().enumerate().skip(usize::from(interpreter)) {
        let number = index as u32 + 1;
        let Some((key, value)) = key_value(line.content()) else {
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
            _ => match check(value) {
                Ok(check) => directives.check = Some(check),
                Err(fault) => faults.push((number, fault)),
            },
        }
    }
    (directives, faults)
}

/// `# key = value`
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((key, value))
}

/// `skip=A,B;error=true`
fn check(value: &str) -> Result<Check, Fault> {
    let mut check = Check::default();
    for option in value
        .split(';')
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        let wrong = || Fault::CheckOption {
            option: option.to_owned(),
        };
        let (key, value) = option.split_once('=').ok_or_else(wrong)?;
        let names = value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        match key.trim().to_ascii_lowercase().as_str() {
            "skip" => {
                for name in names {
                    if name.eq_ignore_ascii_case("all") {
                        check.skip_all = true;
                    } else {
                        check.skip.push(name.to_owned());
                    }
                }
            }
            "experimental" => check.experimental.extend(names.map(str::to_owned)),
            "error" => check.error = parse_bool(value.trim()).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        }
    }
    Ok(check)
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
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    // conformance: A6
    #[test]
    fn check_directive() {
        let parsed = check("skip=StageNameCasing, FromAsCasing;error=true").unwrap();
        assert!(parsed.error && !parsed.skip_all);
        assert!(parsed.skips("stagenamecasing") && parsed.skips("FromAsCasing"));
        assert!(!parsed.skips("UndefinedVar"));
        assert!(check("skip=all").unwrap().skips("UndefinedVar"));
        assert_eq!(check("experimental=A").unwrap().experimental, ["A"]);
        for wrong in ["skipp=a", "error=maybe", "error"] {
            assert_eq!(
                check(wrong),
                Err(Fault::CheckOption {
                    option: wrong.into()
                })
            );
        }
    }
}
