//! Instructions that change the configuration only (conformance F1-F16, F21-F23).

use kiln_dockerfile::{ArgDef, Command, CommandLine, HealthTest, Healthcheck, KeyValue};
use kiln_dockerfile::{parse_expose, validate_signal};
use kiln_oci::HealthConfig;

use super::{StepError, Stepper};
use kiln_image::history;
use kiln_plan::budget::check_variables;

impl Stepper<'_> {
    pub(super) fn change_config(&mut self, command: &Command) -> Result<(), StepError> {
        let text = match command {
            Command::Arg(args) => self.arg(args)?,
            Command::Env(pairs) => self.env(pairs)?,
            Command::Label(pairs) => self.label(pairs)?,
            Command::Expose(words) => self.expose(words)?,
            Command::Volume(words) => self.volume(words)?,
            Command::User(user) => self.user(user)?,
            Command::Stopsignal(signal) => self.stop_signal(signal)?,
            Command::Shell(shell) => {
                self.state.config.config.shell = Some(shell.clone());
                history::plain_list("SHELL", shell)
            }
            Command::Maintainer(name) => {
                self.state.config.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
            Command::Cmd(line) => self.cmd(line),
            Command::Entrypoint(line) => self.entrypoint(line),
            Command::Healthcheck(check) => self.healthcheck(check),
            Command::Onbuild(onbuild) => {
                // Stored as written, expanded when it fires; leaves no history (C18, F16).
                let triggers = &mut self.state.config.config.on_build;
                triggers.push(onbuild.trigger.clone());
                return Ok(());
            }
            Command::Add(_) | Command::Copy(_) | Command::Run(_) | Command::Workdir(_) => {
                return Ok(());
            }
        };
        self.record(text, None)
    }

    fn arg(&mut self, args: &[ArgDef]) -> Result<String, StepError> {
        let plan_run = self.plan_run;
        let shown = self.state.scope.declare(
            args,
            &plan_run.build_args,
            &plan_run.plan.global,
            plan_run.plan.expander,
        )?;
        check_variables(self.state.scope.size())?;
        let held = |(_, value): &(String, Option<String>)| value.as_ref().map_or(0, String::len);
        plan_run.run.text.charge(shown.iter().map(held).sum())?;
        let pairs = shown
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()));
        Ok(history::pairs("ARG", pairs))
    }

    /// All words of the line see the values from before it (B16).
    fn expanded_pairs(&self, pairs: &[KeyValue]) -> Result<Vec<(String, String)>, StepError> {
        pairs
            .iter()
            .map(|pair| Ok((self.expand(&pair.key)?, self.expand(&pair.value)?)))
            .collect()
    }

    fn env(&mut self, pairs: &[KeyValue]) -> Result<String, StepError> {
        let pairs = self.expanded_pairs(pairs)?;
        for (name, value) in &pairs {
            self.state.config.config.env_set(name, value);
            self.state.scope.set_env(name, value);
        }
        check_variables(self.state.scope.size())?;
        Ok(history::pairs("ENV", borrowed(&pairs)))
    }

    fn label(&mut self, pairs: &[KeyValue]) -> Result<String, StepError> {
        let pairs = self.expanded_pairs(pairs)?;
        let labels = &mut self.state.config.config.labels;
        labels.extend(pairs.iter().cloned());
        Ok(history::pairs("LABEL", borrowed(&pairs)))
    }

    fn expose(&mut self, words: &[String]) -> Result<String, StepError> {
        let mut ports = std::collections::BTreeSet::new();
        for word in words {
            // The one place where an expanded value is split again (B11).
            let expander = &self.plan_run.plan.expander;
            for word in expander.words(word, &self.state.scope)? {
                ports.extend(parse_expose(&word)?);
            }
        }
        let shown: Vec<String> = ports.iter().cloned().collect();
        self.state.config.config.exposed_ports.extend(ports);
        Ok(history::plain_list("EXPOSE", &shown))
    }

    fn volume(&mut self, words: &[String]) -> Result<String, StepError> {
        let paths: Vec<String> = words
            .iter()
            .map(|word| match self.expand(word)? {
                path if path.trim().is_empty() => Err(StepError::EmptyVolume {
                    written: word.clone(),
                }),
                path => Ok(path),
            })
            .collect::<Result<_, _>>()?;
        self.state
            .config
            .config
            .volumes
            .extend(paths.iter().cloned());
        Ok(history::plain_list("VOLUME", &paths))
    }

    fn user(&mut self, user: &str) -> Result<String, StepError> {
        let user = self.expand(user)?;
        self.state.config.config.user.clone_from(&user);
        Ok(format!("USER {user}"))
    }

    fn stop_signal(&mut self, signal: &str) -> Result<String, StepError> {
        let signal = self.expand(signal)?;
        validate_signal(&signal)?;
        self.state.config.config.stop_signal = Some(signal.clone());
        Ok(format!("STOPSIGNAL {signal}"))
    }

    /// Shell forms are stored with the shell of their line (F10).
    fn argv(&self, line: &CommandLine) -> Vec<String> {
        match line {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => {
                let mut words = self.state.shell();
                words.push(text.clone());
                words
            }
        }
    }

    fn cmd(&mut self, line: &CommandLine) -> String {
        let argv = self.argv(line);
        let config = &mut self.state.config.config;
        config.args_escaped = true;
        config.cmd = Some(argv.clone());
        self.cmd_set = true;
        history::exec_list("CMD", &argv)
    }

    fn entrypoint(&mut self, line: &CommandLine) -> String {
        let argv = self.argv(line);
        let config = &mut self.state.config.config;
        config.entrypoint = Some(argv.clone());
        if !self.cmd_set {
            config.cmd = None;
        }
        history::exec_list("ENTRYPOINT", &argv)
    }

    fn healthcheck(&mut self, check: &Healthcheck) -> String {
        let test = match &check.test {
            HealthTest::None => vec!["NONE".to_owned()],
            HealthTest::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            HealthTest::Exec(words) => {
                let mut test = vec!["CMD".to_owned()];
                test.extend(words.iter().cloned());
                test
            }
        };
        let nanos = |time: Option<std::time::Duration>| {
            time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
        };
        let config = HealthConfig {
            test,
            interval: nanos(check.interval),
            timeout: nanos(check.timeout),
            start_period: nanos(check.start_period),
            start_interval: nanos(check.start_interval),
            retries: check.retries,
        };
        let text = history::healthcheck(&config);
        self.state.config.config.healthcheck = Some(config);
        text
    }
}

fn borrowed(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, Option<&str>)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), Some(value.as_str())))
}
