//! What a build would find in the cache, and why not more: a build that stops before its first step.

use std::fmt::Write as _;

use kiln_cache_key::Change;
use kiln_dockerfile::shortened;
use serde::Serialize;

use kiln_step_cache::Reason;

/// Every step of a build that may make a layer.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Stage by stage, in the order of the file.
    pub steps: Vec<ExplainedStep>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedStep {
    /// The stage's name, or its number when it has none.
    pub stage: String,
    /// Position of the step in its stage, from 1.
    pub number: usize,
    /// The instruction as it is written.
    pub instruction: String,
    /// The key by definition; none after a stage whose result is not known before it has run.
    pub key: Option<String>,
    /// The place of the cache that has it.
    pub cached_in: Option<String>,
    /// Whether the build needs the step's stage at all, given what is cached.
    pub needed: bool,
    /// Why it is not in the cache, in one line.
    pub reason: Option<String>,
    /// What differs from the nearest step of the earlier build.
    pub changes: Vec<Change>,
}

impl ExplainedStep {
    pub(crate) fn explain(&mut self, reason: &Reason) {
        self.reason = Some(reason.to_string());
        if let Reason::Changed(changes) = reason {
            self.changes.clone_from(changes);
        }
    }
}

impl Explanation {
    /// The comparison in full, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let first = shortened(step.instruction.lines().next().unwrap_or_default());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[{} {}] {first}", step.stage, step.number);
            let state = match (&step.cached_in, &step.reason, step.needed) {
                (Some(place), ..) => format!("cached in {place}"),
                (None, _, false) => "not needed: what reads it is cached".to_owned(),
                (None, Some(reason), true) => format!("not cached: {reason}"),
                (None, None, true) => {
                    "not cached: its key depends on a stage that has to run".to_owned()
                }
            };
            let _ = writeln!(text, "    {state}");
            for line in step
                .changes
                .iter()
                .map(Change::details)
                .collect::<Vec<_>>()
                .join("\n")
                .lines()
            {
                let _ = writeln!(text, "      {line}");
            }
        }
        text
    }
}
