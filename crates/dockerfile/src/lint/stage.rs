//! Walks the instructions of each stage with the variables they see.

use std::collections::BTreeSet;

use super::Findings;
use super::context::LintContext;
use super::repeated::Repeated;
use super::scope::{Globals, MOST_HELD, Scope};
use super::{expose, ignored, secrets, variables, workdir};
use crate::command::{Add, ArgDef, Command, Copy, Instruction, KeyValue, Source};
use crate::dockerfile::{Dockerfile, Stage};
use crate::expand::{ExpandError, Expanded, Expander};
use crate::mount::Mount;
use crate::parse::parse_trigger;
use crate::position::Span;
use crate::stage_lookup::find_stage;

pub(super) fn check(file: &Dockerfile, context: &LintContext<'_>, findings: &mut Findings<'_>) {
    let Some(globals) = Globals::new(file, context, &context.build_args) else {
        return;
    };
    let mut scopes: Vec<Scope> = Vec::new();
    let mut held = 0;
    for stage in &file.stages {
        let wanted = context.stages.as_ref();
        let mut walk = Walk {
            file,
            context,
            globals: &globals,
            expander: Expander::new(file.directives.escape),
            scope: Scope::on(None),
            silent: true,
        };
        walk.begin(stage, &scopes, findings);
        walk.silent = wanted.is_some_and(|wanted| !wanted.contains(&stage.index));
        let mut repeated = Repeated::default();
        for instruction in &stage.instructions {
            if !walk.silent {
                repeated.check(instruction, walk.scope.has_shell, findings);
            }
            walk.instruction(instruction, findings);
            if held + walk.scope.held > MOST_HELD {
                return;
            }
        }
        held += walk.scope.held;
        scopes.push(walk.scope);
    }
}

struct Walk<'a> {
    file: &'a Dockerfile,
    context: &'a LintContext<'a>,
    globals: &'a Globals,
    expander: Expander,
    scope: Scope,
    /// Only the variables matter.
    silent: bool,
}

impl Walk<'_> {
    /// Takes over what the base brings, its triggers included (C16).
    fn begin(&mut self, stage: &Stage, scopes: &[Scope], findings: &mut Findings<'_>) {
        let name = self.expander.word(&stage.from.image, &self.globals.values);
        let name = name.map(|expanded| expanded.text).unwrap_or_default();
        if let Some(parent) = find_stage(&self.file.stages, stage.index, &name) {
            self.scope = scopes[parent].clone();
            for instruction in &self.file.stages[parent].instructions {
                if let Command::Onbuild(onbuild) = &instruction.command
                    && let Ok(trigger) =
                        parse_trigger(&onbuild.trigger, self.file.directives.escape)
                {
                    self.instruction(&trigger, findings);
                }
            }
            return;
        }
        let base = match name.as_str() {
            "scratch" => Some(super::BaseConfig::default()),
            _ => (self.context.base)(stage.index),
        };
        self.scope = Scope::on(base.as_ref());
        for trigger in base.iter().flat_map(|base| &base.triggers) {
            self.instruction(trigger, findings);
        }
    }

    fn instruction(&mut self, instruction: &Instruction, findings: &mut Findings<'_>) {
        let span = instruction.span;
        match &instruction.command {
            Command::Arg(args) => self.args(args, span, findings),
            Command::Env(pairs) => self.env(pairs, span, findings),
            Command::Label(pairs) => {
                for pair in pairs {
                    self.word(&pair.key, span, findings);
                    self.word(&pair.value, span, findings);
                }
            }
            Command::Workdir(path) => self.workdir(path, span, findings),
            Command::Shell(_) => self.scope.has_shell = true,
            Command::Expose(ports) => self.expose(ports, span, findings),
            Command::Copy(copy) => self.copy(copy, span, findings),
            Command::Add(add) => self.add(add, span, findings),
            Command::Run(run) => {
                for mount in &run.mounts {
                    self.mount(mount, span, findings);
                }
            }
            Command::Volume(words) => {
                for word in words {
                    self.word(word, span, findings);
                }
            }
            Command::User(word) | Command::Stopsignal(word) => {
                self.word(word, span, findings);
            }
            Command::Cmd(_)
            | Command::Entrypoint(_)
            | Command::Healthcheck(_)
            | Command::Maintainer(_)
            | Command::Onbuild(_) => {}
        }
    }

    fn undefined(&self, names: &BTreeSet<String>, span: Span, findings: &mut Findings<'_>) {
        if !self.silent && !names.is_empty() {
            let predefined = |name: &str| self.context.predefined.contains_key(name);
            variables::check(names, predefined, &self.scope, span, findings);
        }
    }

    /// Expands a word; one that cannot be expanded is an error of the build and no finding.
    fn word(&self, word: &str, span: Span, findings: &mut Findings<'_>) -> Option<Expanded> {
        let expanded = self.expander.word(word, &self.scope).ok()?;
        self.undefined(&expanded.undefined, span, findings);
        Some(expanded)
    }

    fn args(&mut self, args: &[ArgDef], span: Span, findings: &mut Findings<'_>) {
        for arg in args {
            let Ok(name) = self.expander.word(&arg.name, &self.scope) else {
                continue;
            };
            let name = name.text;
            if !self.silent {
                secrets::check("ARG", &name, span, findings);
            }
            let given = self.context.build_args.get(&name).cloned();
            let value = match (given, &arg.default) {
                (Some(given), _) => Some(given),
                (None, Some(word)) => self.word(word, span, findings).map(|e| e.text),
                (None, None) => self.globals.values.get(&name).cloned(),
            };
            self.scope.declare(name.clone());
            if let Some(value) = value {
                self.scope.set(name, value);
            }
        }
    }

    /// All words of one line see the values from before it (B16).
    fn env(&mut self, pairs: &[KeyValue], span: Span, findings: &mut Findings<'_>) {
        let mut set = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let key = self.word(&pair.key, span, findings);
            let value = self.word(&pair.value, span, findings);
            if let (Some(key), Some(value)) = (key, value) {
                if !self.silent {
                    secrets::check("ENV", &key.text, span, findings);
                }
                set.push((key.text, value.text));
            }
        }
        for (name, value) in set {
            self.scope.set(name, value);
        }
    }

    fn workdir(&mut self, path: &str, span: Span, findings: &mut Findings<'_>) {
        let expanded = self.word(path, span, findings);
        let is_first = !std::mem::replace(&mut self.scope.has_workdir, true);
        if let Some(expanded) = expanded
            && is_first
            && !self.silent
            // What the base image sets may well make it absolute.
            && (self.scope.knows_base || expanded.unset.is_empty())
        {
            workdir::check(&expanded.text, span, findings);
        }
    }

    fn expose(&self, ports: &[String], span: Span, findings: &mut Findings<'_>) {
        for word in ports {
            let ports = self.expander.words(word, &self.scope);
            for port in ports.iter().flatten() {
                if !self.silent {
                    expose::check(port, span, findings);
                }
            }
        }
    }

    fn copy(&self, copy: &Copy, span: Span, findings: &mut Findings<'_>) {
        let flags = [copy.chown.as_ref(), copy.chmod.as_ref()];
        self.flags(&flags, &copy.excludes, span, findings);
        let verb = copy.from.is_none().then_some("Copy");
        self.sources(verb, &copy.sources, &copy.destination, span, findings);
    }

    fn add(&self, add: &Add, span: Span, findings: &mut Findings<'_>) {
        let flags = [
            add.chown.as_ref(),
            add.chmod.as_ref(),
            add.checksum.as_ref(),
        ];
        self.flags(&flags, &add.excludes, span, findings);
        self.sources(Some("Add"), &add.sources, &add.destination, span, findings);
    }

    fn flags(
        &self,
        values: &[Option<&String>],
        excludes: &[String],
        span: Span,
        findings: &mut Findings<'_>,
    ) {
        for word in values.iter().flatten().copied().chain(excludes) {
            self.word(word, span, findings);
        }
    }

    /// `verb` is `None` when the sources are not in the context.
    fn sources(
        &self,
        verb: Option<&str>,
        sources: &[Source],
        destination: &str,
        span: Span,
        findings: &mut Findings<'_>,
    ) {
        for source in sources {
            match source {
                Source::Path(path) => {
                    let expanded = self.word(path, span, findings);
                    if let (Some(path), Some(verb), Some(ignored), false) =
                        (expanded, verb, self.context.ignored, self.silent)
                        && (self.scope.knows_base || path.unset.is_empty())
                        && !crate::instruction::is_remote(&path.text)
                    {
                        ignored::check(verb, &path.text, ignored, span, findings);
                    }
                }
                Source::Heredoc(heredoc) if heredoc.expand => {
                    let undefined = self.expander.undefined_in(&heredoc.content, &self.scope);
                    self.undefined(&undefined, span, findings);
                }
                Source::Heredoc(_) => {}
            }
        }
        self.word(destination, span, findings);
    }

    fn mount(&self, raw: &str, span: Span, findings: &mut Findings<'_>) {
        let mut undefined = BTreeSet::new();
        let mut expand = |word: &str| -> Result<String, ExpandError> {
            let mut expanded = self.expander.word(word, &self.scope)?;
            undefined.append(&mut expanded.undefined);
            Ok(expanded.text)
        };
        // What is wrong with it is an error of the build.
        drop(Mount::parse(raw, &mut expand));
        self.undefined(&undefined, span, findings);
    }
}
