//! `HEALTHCHECK` (A28, F12).

use std::time::Duration;

use super::Line;
use crate::command::{CommandLine, HealthTest, Healthcheck};
use crate::error::Fault;
use crate::flags::{Flags, Known, Takes};
use crate::logical::Located;
use crate::words;
use kiln_shown::parse_nanos;

const FLAGS: Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// Docker's engine refuses anything shorter.
const SHORTEST: i64 = 1_000_000;

impl Line<'_> {
    pub(super) fn healthcheck(&self) -> Result<Healthcheck, Located> {
        let (flags, rest) = self.flags(FLAGS)?;
        if rest.is_empty() {
            return Err(self.fault(Fault::AtLeastOne {
                instruction: "HEALTHCHECK",
            }));
        }
        let (kind, args) = words::split_first(rest);
        let args = args.unwrap_or_default();
        let test = match kind.to_ascii_uppercase().as_str() {
            "NONE" if args.is_empty() => HealthTest::None,
            "NONE" => return Err(self.fault_at(Fault::HealthcheckNone, args)),
            "CMD" => match self.command_line(args)? {
                CommandLine::Shell(text) if !text.is_empty() => HealthTest::Shell(text),
                CommandLine::Exec(words) if !words.is_empty() => HealthTest::Exec(words),
                _ => return Err(self.fault_at(Fault::HealthcheckCommand, kind)),
            },
            _ => {
                let fault = Fault::HealthcheckType {
                    name: kind.to_owned(),
                };
                return Err(self.fault_at(fault, kind));
            }
        };
        Ok(Healthcheck {
            test,
            interval: self.time(&flags, "interval")?,
            timeout: self.time(&flags, "timeout")?,
            start_period: self.time(&flags, "start-period")?,
            start_interval: self.time(&flags, "start-interval")?,
            retries: self.retries(&flags)?,
        })
    }

    fn time(&self, flags: &Flags<'_>, name: &'static str) -> Result<Option<Duration>, Located> {
        let Some((value, source)) = flags.get(name).filter(|(value, _)| !value.is_empty()) else {
            return Ok(None);
        };
        let nanos = parse_nanos(value)
            .map_err(|problem| self.fault_at(Fault::Duration { name, problem }, source))?;
        match u64::try_from(nanos) {
            Ok(0) => Ok(None),
            Ok(nanos_up) if nanos >= SHORTEST => Ok(Some(Duration::from_nanos(nanos_up))),
            _ => Err(self.fault_at(Fault::ShortInterval { name }, source)),
        }
    }

    fn retries(&self, flags: &Flags<'_>) -> Result<Option<u32>, Located> {
        let Some((value, source)) = flags.get("retries").filter(|(value, _)| !value.is_empty())
        else {
            return Ok(None);
        };
        match value.parse::<i32>() {
            Ok(retries) => match u32::try_from(retries) {
                Ok(0) => Ok(None),
                Ok(retries) => Ok(Some(retries)),
                Err(_) => {
                    let fault = Fault::NegativeRetries {
                        value: value.to_owned(),
                    };
                    Err(self.fault_at(fault, source))
                }
            },
            Err(_) => Err(self.fault_at(
                Fault::Retries {
                    value: value.to_owned(),
                },
                source,
            )),
        }
    }
}
