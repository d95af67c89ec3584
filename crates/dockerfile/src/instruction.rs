//! One logical line to one typed instruction (A17-A29).

mod copy;
mod healthcheck;
mod limits;
mod run;
mod values;

use std::cell::RefCell;

use crate::command::{ArgDef, Command, CommandLine, KeyValue, Onbuild};
use crate::dockerfile::From;
use crate::error::Fault;
use crate::flags::{Flags, Known, Takes};
use crate::heredoc::{self, Opening};
use crate::json::{Json, parse_array};
use crate::logical::{Located, Logical};
use crate::suggest::closest;
use crate::words;

pub(crate) use copy::is_remote;
pub(crate) use limits::excess;
pub(crate) use values::Doubts;

/// All instructions there are.
pub(crate) const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const NO_FLAGS: Known = &[];

/// The name as written and what follows it.
pub(crate) fn split_name(text: &str) -> (&str, &str) {
    let (name, args) = words::split_first(text);
    (name, args.unwrap_or_default())
}

/// The name in capitals, if there is such an instruction.
pub(crate) fn known_name(name: &str) -> Option<&'static str> {
    NAMES
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// The heredocs of an instruction's text, ranges within it; only `RUN`, `COPY` and `ADD`, also behind
/// `ONBUILD`, have any, and never in the JSON form (A30).
pub(crate) fn openings(text: &str, escape: char) -> Vec<Opening> {
    if !text.contains("<<") {
        return Vec::new();
    }
    let (name, args) = split_name(text);
    let shell = match known_name(name) {
        Some("ONBUILD") => {
            let args = args.trim_start();
            let skipped = text.len() - args.len();
            // `ONBUILD ONBUILD` is an error anyway; looking into it would only recurse.
            let inner = known_name(split_name(args).0);
            let found = if inner == Some("ONBUILD") {
                Vec::new()
            } else {
                openings(args, escape)
            };
            return shifted(found, skipped);
        }
        Some("RUN") => true,
        Some("COPY" | "ADD") => false,
        _ => return Vec::new(),
    };
    let args = crate::flags::skip(args, escape);
    if !matches!(parse_array(args), Json::None) {
        return Vec::new();
    }
    shifted(heredoc::find(args, shell), text.len() - args.len())
}

fn shifted(mut openings: Vec<Opening>, by: usize) -> Vec<Opening> {
    for opening in &mut openings {
        opening.range.start += by;
        opening.range.end += by;
    }
    openings
}

/// A line whose name is known.
pub(crate) struct Line<'a> {
    pub(crate) logical: &'a Logical,
    /// In capitals.
    pub(crate) name: &'static str,
    /// As written.
    pub(crate) written: &'a str,
    /// Everything behind the name.
    pub(crate) args: &'a str,
    pub(crate) escape: char,
    pub(crate) doubts: RefCell<Doubts>,
}

impl<'a> Line<'a> {
    /// Splits a logical line; an error when there is no such instruction (A15).
    pub(crate) fn new(logical: &'a Logical, escape: char) -> Result<Self, Located> {
        Self::of_text(logical, &logical.text, escape)
    }

    fn of_text(logical: &'a Logical, text: &'a str, escape: char) -> Result<Self, Located> {
        let (written, args) = split_name(text);
        let Some(name) = known_name(written) else {
            let suggestion = closest(written, NAMES).map(str::to_owned);
            let fault = Fault::UnknownInstruction {
                name: written.to_owned(),
                suggestion,
            };
            return Err(logical.fault(fault, written));
        };
        Ok(Self {
            logical,
            name,
            written,
            args,
            escape,
            doubts: RefCell::default(),
        })
    }

    fn flags(&self, known: Known) -> Result<(Flags<'a>, &'a str), Located> {
        Flags::split(self.logical, self.args, self.escape, known)
    }

    fn no_flags(&self) -> Result<&'a str, Located> {
        self.flags(NO_FLAGS).map(|(_, rest)| rest)
    }

    /// A fault of the whole instruction, shown at its name.
    fn fault(&self, fault: Fault) -> Located {
        self.logical.fault(fault, self.written)
    }

    fn fault_at(&self, fault: Fault, part: &str) -> Located {
        self.logical.fault(fault, part)
    }

    /// The instruction; `FROM` is read by [`Line::from`].
    pub(crate) fn command(&self) -> Result<Command, Located> {
        Ok(match self.name {
            "ADD" => Command::Add(self.add()?),
            "COPY" => Command::Copy(self.copy()?),
            "RUN" => Command::Run(self.run()?),
            "HEALTHCHECK" => Command::Healthcheck(self.healthcheck()?),
            "CMD" => Command::Cmd(self.command_line(self.no_flags()?)?),
            "ENTRYPOINT" => Command::Entrypoint(self.command_line(self.no_flags()?)?),
            "ARG" => Command::Arg(self.arg()?),
            "ENV" => Command::Env(self.pairs()?),
            "LABEL" => Command::Label(self.pairs()?),
            "EXPOSE" => Command::Expose(self.expose()?),
            "VOLUME" => Command::Volume(self.volume()?),
            "SHELL" => Command::Shell(self.shell()?),
            "ONBUILD" => Command::Onbuild(self.onbuild()?),
            "MAINTAINER" => Command::Maintainer(self.one_argument()?),
            "STOPSIGNAL" => Command::Stopsignal(self.signal()?),
            "USER" => Command::User(self.word_argument()?),
            "WORKDIR" => Command::Workdir(self.word_argument()?),
            // The callers hand FROM to `Line::from`; inside ONBUILD it is refused before.
            _ => return Err(self.fault(Fault::OnbuildTrigger { name: self.name })),
        })
    }

    /// `FROM image [AS name]` with the stage's name in lower case (A25).
    pub(crate) fn from(&self) -> Result<(From, Option<String>), Located> {
        let (flags, rest) = self.flags(&[("platform", Takes::Value)])?;
        let words: Vec<&str> = words::blank_separated(rest).collect();
        let (image, name) = match words.as_slice() {
            [image] => (*image, None),
            [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
                let lower = name.to_lowercase();
                if !is_stage_name(&lower) {
                    let fault = Fault::StageName {
                        name: (*name).to_owned(),
                    };
                    return Err(self.fault_at(fault, name));
                }
                (*image, Some(lower))
            }
            _ => return Err(self.fault(Fault::FromArguments)),
        };
        self.check_word(image);
        self.check_platform(&flags);
        let from = From {
            image: image.to_owned(),
            platform: flags.text("platform"),
            span: self.logical.span(),
            source: self.logical.text.clone(),
        };
        Ok((from, name))
    }

    /// JSON form or text for the shell (A20, A21).
    fn command_line(&self, rest: &str) -> Result<CommandLine, Located> {
        match parse_array(rest) {
            Json::Strings(words) => Ok(CommandLine::Exec(words)),
            Json::OtherArray => Err(self.fault_at(Fault::NotStrings, rest)),
            Json::None => Ok(CommandLine::Shell(rest.to_owned())),
        }
    }

    /// JSON form or words between blanks.
    fn list(&self, rest: &str) -> Result<Vec<String>, Located> {
        match parse_array(rest) {
            Json::Strings(words) => Ok(words),
            Json::OtherArray => Err(self.fault_at(Fault::NotStrings, rest)),
            Json::None => Ok(words::blank_separated(rest).map(str::to_owned).collect()),
        }
    }

    fn arg(&self) -> Result<Vec<ArgDef>, Located> {
        let mut args = Vec::new();
        for word in words::quoted(self.no_flags()?, self.escape) {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (word, None),
            };
            if name.is_empty() {
                return Err(self.fault_at(Fault::BlankName { instruction: "ARG" }, word));
            }
            args.push(ArgDef {
                name: name.to_owned(),
                default,
            });
        }
        if args.is_empty() {
            return Err(self.fault(Fault::AtLeastOne { instruction: "ARG" }));
        }
        Ok(args)
    }

    /// `ENV` and `LABEL` (A22, A23).
    fn pairs(&self) -> Result<Vec<KeyValue>, Located> {
        let instruction = self.name;
        let rest = self.no_flags()?;
        if rest.is_empty() {
            return Err(self.fault(Fault::AtLeastOne { instruction }));
        }
        if is_legacy_pair(rest, self.escape) {
            let (key, value) = words::split_first(rest);
            let value = value.ok_or_else(|| self.fault(Fault::TwoArguments { instruction }))?;
            self.check_word(key);
            self.check_word(value);
            return Ok(vec![KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            }]);
        }
        let mut pairs = Vec::new();
        for word in words::quoted(rest, self.escape) {
            let Some((key, value)) = word.split_once('=') else {
                let fault = Fault::NoEquals {
                    word: word.to_owned(),
                };
                return Err(self.fault_at(fault, word));
            };
            if key.is_empty() {
                return Err(self.fault_at(Fault::BlankName { instruction }, word));
            }
            self.check_word(key);
            self.check_word(value);
            pairs.push(KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
        Ok(pairs)
    }

    fn expose(&self) -> Result<Vec<String>, Located> {
        let mut ports: Vec<String> = Vec::new();
        for word in words::blank_separated(self.no_flags()?) {
            self.check_ports(word);
            ports.push(word.to_owned());
        }
        if ports.is_empty() {
            return Err(self.fault(Fault::AtLeastOne {
                instruction: "EXPOSE",
            }));
        }
        Ok(ports)
    }

    fn volume(&self) -> Result<Vec<String>, Located> {
        let rest = self.no_flags()?;
        let mut volumes = self.list(rest)?;
        if volumes.is_empty() {
            return Err(self.fault(Fault::AtLeastOne {
                instruction: "VOLUME",
            }));
        }
        for volume in &mut volumes {
            *volume = volume.trim().to_owned();
            if volume.is_empty() {
                return Err(self.fault_at(Fault::EmptyVolume, rest));
            }
        }
        Ok(volumes)
    }

    fn shell(&self) -> Result<Vec<String>, Located> {
        let rest = self.no_flags()?;
        match parse_array(rest) {
            Json::Strings(words) if !words.is_empty() => Ok(words),
            Json::OtherArray => Err(self.fault_at(Fault::NotStrings, rest)),
            Json::None if !rest.is_empty() => Err(self.fault_at(
                Fault::NotJson {
                    instruction: "SHELL",
                },
                rest,
            )),
            _ => Err(self.fault(Fault::AtLeastOne {
                instruction: "SHELL",
            })),
        }
    }

    /// The rest of the line, blanks inside kept (A27).
    fn one_argument(&self) -> Result<String, Located> {
        let rest = self.no_flags()?;
        if rest.is_empty() {
            return Err(self.fault(Fault::ExactlyOne {
                instruction: self.name,
            }));
        }
        Ok(rest.to_owned())
    }

    /// The same where it will be expanded.
    fn word_argument(&self) -> Result<String, Located> {
        let word = self.one_argument()?;
        self.check_word(self.no_flags()?);
        Ok(word)
    }

    fn signal(&self) -> Result<String, Located> {
        let word = self.one_argument()?;
        self.check_signal(self.no_flags()?);
        Ok(word)
    }

    /// The trigger is read here as well, so that its faults are found where it is written (A29).
    fn onbuild(&self) -> Result<Onbuild, Located> {
        let rest = self.no_flags()?;
        if rest.is_empty() {
            return Err(self.fault(Fault::AtLeastOne {
                instruction: "ONBUILD",
            }));
        }
        let inner = Line::of_text(self.logical, rest, self.escape)?;
        inner.check_trigger()?;
        inner.command()?;
        let mut trigger = rest.to_owned();
        for (opening, body) in &self.logical.heredocs {
            trigger.push('\n');
            trigger.push_str(&body.text);
            trigger.push_str(&opening.name);
        }
        Ok(Onbuild { trigger })
    }

    /// An error for the three instructions that cannot be triggers.
    pub(crate) fn check_trigger(&self) -> Result<(), Located> {
        match self.name {
            "ONBUILD" => Err(self.fault(Fault::OnbuildChain)),
            "FROM" | "MAINTAINER" => Err(self.fault(Fault::OnbuildTrigger { name: self.name })),
            _ => Ok(()),
        }
    }
}

/// Whether `ENV`'s arguments are the old `name value` form: the first word has no `=`.
pub(crate) fn is_legacy_pair(args: &str, escape: char) -> bool {
    words::quoted(args, escape)
        .next()
        .is_some_and(|word| !word.contains('='))
}

/// `[a-z][a-z0-9-_.]*`
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}
