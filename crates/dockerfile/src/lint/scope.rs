//! The variables of a stage, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{BaseConfig, LintContext};
use crate::command::ArgDef;
use crate::dockerfile::Dockerfile;
use crate::expand::Expander;
use crate::lookup::Lookup;

/// Every image has a PATH, its own or this (C12).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is kept of a value: no rule looks further.
const LONGEST_VALUE: usize = 4096;

/// What the variables of all stages together may take; a lint that cannot follow them says nothing more.
pub(super) const MOST_HELD: usize = 8 << 20;

/// What is declared before the first FROM.
#[derive(Debug, Clone)]
pub(super) struct Globals {
    pub(super) values: BTreeMap<String, String>,
    /// With or without a value.
    pub(super) declared: BTreeSet<String>,
}

impl Globals {
    /// `None` when a value cannot be expanded; the build will say why.
    pub(super) fn new(
        file: &Dockerfile,
        context: &LintContext<'_>,
        build_args: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let expander = Expander::new(file.directives.escape);
        let mut globals = Self {
            values: context.predefined.clone(),
            declared: context.predefined.keys().cloned().collect(),
        };
        for (name, value) in &mut globals.values {
            if let Some(given) = build_args.get(name) {
                value.clone_from(given);
            }
        }
        let mut held = 0;
        for arg in file.global_args.iter().filter_map(|i| i.command.args()) {
            for ArgDef { name, default } in arg {
                let name = expander.word(name, &globals.values).ok()?.text;
                let value = match (build_args.get(&name), default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(word)) => Some(expander.word(word, &globals.values).ok()?.text),
                    (None, None) => None,
                };
                globals.declared.insert(name.clone());
                if let Some(value) = value {
                    held += name.len() + value.len();
                    globals.values.insert(name, value);
                }
                if held > MOST_HELD {
                    return None;
                }
            }
        }
        Some(globals)
    }
}

/// Between two instructions of a stage.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    values: BTreeMap<String, String>,
    /// Bytes that were set.
    pub(super) held: usize,
    /// ARGs without a value.
    declared: BTreeSet<String>,
    /// Whether the base image's environment is among the values.
    pub(super) knows_base: bool,
    pub(super) has_shell: bool,
    /// There was a WORKDIR.
    pub(super) has_workdir: bool,
}

impl Scope {
    /// On an image with this configuration; `None` when it is not known.
    pub(super) fn on(base: Option<&BaseConfig>) -> Self {
        let mut values = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
        values.extend(base.iter().flat_map(|base| base.env.iter().cloned()));
        Self {
            held: values
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum(),
            values,
            declared: BTreeSet::new(),
            knows_base: base.is_some(),
            has_shell: base.is_some_and(|base| base.has_shell),
            has_workdir: false,
        }
    }

    pub(super) fn set(&mut self, name: String, mut value: String) {
        value.truncate(value.floor_char_boundary(LONGEST_VALUE));
        value.shrink_to_fit();
        self.held += name.len() + value.len();
        self.values.insert(name, value);
    }

    pub(super) fn declare(&mut self, name: String) {
        self.declared.insert(name);
    }

    pub(super) fn is_declared(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.declared.contains(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().chain(&self.declared).map(String::as_str)
    }
}

impl Lookup for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}
