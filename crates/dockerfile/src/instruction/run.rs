//! `RUN`.

use super::Line;
use crate::command::{CommandLine, Run};
use crate::error::Fault;
use crate::flags::{Flags, Known, Takes};
use crate::logical::Located;
use crate::mount::Mount;
use crate::suggest::closest;

const FLAGS: Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

impl Line<'_> {
    pub(super) fn run(&self) -> Result<Run, Located> {
        let (flags, rest) = self.flags(FLAGS)?;
        for (value, source) in flags.all("mount") {
            let from = Mount::check(value).map_err(|e| self.fault_at(Fault::Mount(e), source))?;
            if let Some(from) = from {
                self.refers_to(&from, source);
            }
        }
        let command = self.command_line(rest)?;
        let heredocs = match &command {
            CommandLine::Shell(_) => self
                .logical
                .heredocs
                .iter()
                .map(|(o, body)| o.with_body(body))
                .collect(),
            CommandLine::Exec(_) => Vec::new(),
        };
        Ok(Run {
            command,
            heredocs,
            mounts: flags.texts("mount"),
            network: self.choice(&flags, "network", "default, none or host")?,
            security: self.choice(&flags, "security", "sandbox or insecure")?,
            devices: flags.texts("device"),
        })
    }

    /// A flag that takes one of the words listed in `expected`.
    fn choice(
        &self,
        flags: &Flags<'_>,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<String>, Located> {
        let Some((value, source)) = flags.get(name) else {
            return Ok(None);
        };
        let words = || {
            expected
                .split([' ', ','])
                .filter(|w| !w.is_empty() && *w != "or")
        };
        if words().any(|word| word == value) {
            return Ok(Some(value.to_owned()));
        }
        let suggestion = closest(value, words()).map(str::to_owned);
        let fault = Fault::FlagValue {
            name,
            value: value.to_owned(),
            expected,
            suggestion,
        };
        Err(self.fault_at(fault, source))
    }
}
