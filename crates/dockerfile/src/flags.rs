//! The `--x` words behind an instruction's name (A17-A19).

use crate::error::Fault;
use crate::logical::{Located, Logical};
use crate::suggest::closest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--x`, `--x=true`, `--x=false`
    Bool,
    /// `--x=value`, once
    Value,
    /// `--x=value`, any number of times
    Values,
}

/// The flags an instruction knows.
pub(crate) type Known = &'static [(&'static str, Takes)];

/// The flags of one instruction, checked.
#[derive(Debug, Default)]
pub(crate) struct Flags<'a> {
    given: Vec<Given<'a>>,
}

#[derive(Debug)]
struct Given<'a> {
    name: &'static str,
    value: String,
    source: &'a str,
}

impl<'a> Flags<'a> {
    /// Takes the flags off the front of `args`, a slice of `line`'s text; the rest is returned, blanks
    /// at its ends removed.
    pub(crate) fn split(
        line: &Logical,
        args: &'a str,
        escape: char,
        known: Known,
    ) -> Result<(Self, &'a str), Located> {
        let mut flags = Self::default();
        let mut rest = args.trim_start();
        while rest.starts_with("--") {
            let (word, source, after) = flag_word(rest, escape);
            rest = after.trim_start();
            if word == "--" {
                break;
            }
            flags
                .add(&word, source, known)
                .map_err(|fault| line.fault(fault, source))?;
        }
        Ok((flags, rest.trim_end()))
    }

    fn add(&mut self, word: &str, source: &'a str, known: Known) -> Result<(), Fault> {
        let word = &word[2..];
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let Some((name, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let suggestion = closest(name, known.iter().map(|(known, _)| *known));
            let suggestion = suggestion.map(str::to_owned);
            return Err(Fault::UnknownFlag {
                name: name.to_owned(),
                suggestion,
                owner: owner(name),
            });
        };
        if *takes != Takes::Values && self.given.iter().any(|given| given.name == *name) {
            return Err(Fault::DuplicateFlag {
                name: (*name).to_owned(),
            });
        }
        let missing = || Fault::MissingFlagValue {
            name: (*name).to_owned(),
        };
        let value = match (takes, value) {
            (Takes::Bool, None) => "true".to_owned(),
            (Takes::Bool, Some(value)) => match value.to_ascii_lowercase().as_str() {
                "" => return Err(missing()),
                lower @ ("true" | "false") => lower.to_owned(),
                _ => {
                    let (name, value) = ((*name).to_owned(), value.to_owned());
                    return Err(Fault::NotBoolean { name, value });
                }
            },
            (_, None) => return Err(missing()),
            (_, Some(value)) => value.to_owned(),
        };
        self.given.push(Given {
            name,
            value,
            source,
        });
        Ok(())
    }

    /// The value of `name` and the word it was written in.
    pub(crate) fn get(&self, name: &str) -> Option<(&str, &'a str)> {
        let given = self.given.iter().find(|given| given.name == name)?;
        Some((&given.value, given.source))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|(value, _)| value.to_owned())
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).map(|(value, _)| value == "true")
    }

    /// All values of a repeatable flag, each with the word it was written in.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&str, &'a str)> {
        let given = self.given.iter().filter(move |given| given.name == name);
        given.map(|given| (given.value.as_str(), given.source))
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).map(|(value, _)| value.to_owned()).collect()
    }
}

/// The instructions that have a flag of this name.
fn owner(name: &str) -> Option<&'static str> {
    Some(match name {
        "from" | "parents" => "COPY",
        "checksum" | "keep-git-dir" | "unpack" => "ADD",
        "chown" | "chmod" | "link" | "exclude" => "COPY and ADD",
        "mount" | "network" | "security" | "device" => "RUN",
        "platform" => "FROM",
        "interval" | "timeout" | "start-period" | "start-interval" | "retries" => "HEALTHCHECK",
        _ => return None,
    })
}

/// What follows the flags at the front of `args`, whatever they are.
pub(crate) fn skip(args: &str, escape: char) -> &str {
    let mut rest = args.trim_start();
    while rest.starts_with("--") {
        let (word, _, after) = flag_word(rest, escape);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
    }
    rest
}

/// One word without its quotes and escapes, as it was written, and what follows it.
fn flag_word(text: &str, escape: char) -> (String, &str, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_whitespace() => return (word, &text[..at], &text[at..]),
            _ => word.push(c),
        }
    }
    (word, text, "")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const KNOWN: Known = &[
        ("mount", Takes::Values),
        ("link", Takes::Bool),
        ("chown", Takes::Value),
    ];

    fn shown(args: &str) -> Result<String, String> {
        let mut line = Logical::default();
        args.clone_into(&mut line.text);
        let (flags, rest) =
            Flags::split(&line, &line.text, '\\', KNOWN).map_err(|l| l.fault.to_string())?;
        let mut out = String::new();
        for given in &flags.given {
            let _ = write!(out, "{}={} ", given.name, given.value);
        }
        Ok(format!("{out}| {rest}"))
    }

    // conformance: A17, A18, A19
    #[test]
    fn flags() {
        let rows: &[(&str, Result<&str, &str>)] = &[
            ("a b", Ok("| a b")),
            ("--link a --link", Ok("link=true | a --link")),
            ("--link=TRUE a", Ok("link=true | a")),
            ("--link=False a", Ok("link=false | a")),
            ("--chown=a\\ b x", Ok("chown=a b | x")),
            ("--chown='a \"b' x", Ok("chown=a \"b | x")),
            ("--chown=\"a b\"c x", Ok("chown=a bc | x")),
            ("--chown= x", Ok("chown= | x")),
            ("--mount=a --mount=b x", Ok("mount=a mount=b | x")),
            ("--link -- --x", Ok("link=true | --x")),
            ("-- x", Ok("| x")),
            ("-x", Ok("| -x")),
            (
                "--mont=a x",
                Err("unknown flag: --mont (did you mean mount?)"),
            ),
            ("--zzz x", Err("unknown flag: --zzz")),
            ("--link --link x", Err("duplicate flag specified: --link")),
            (
                "--chown=a --chown=b x",
                Err("duplicate flag specified: --chown"),
            ),
            ("--chown x", Err("missing a value on flag: --chown")),
            ("--link= x", Err("missing a value on flag: --link")),
            (
                "--link=yes x",
                Err("expecting boolean value for flag --link, not: yes"),
            ),
        ];
        assert!(!rows.is_empty());
        for (args, expected) in rows {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(shown(args), expected, "{args}");
        }
    }
}
