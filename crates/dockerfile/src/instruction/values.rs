//! Values that are wrong whatever the variables are. They count when the stage is built, so they are kept beside the
//! instruction instead of making the file wrong.

use std::ops::Range;

use super::Line;
use crate::chmod::Chmod;
use crate::error::Fault;
use crate::expand::{ExpandFault, Expander};
use crate::expose::check_expose;
use crate::flags::Flags;
use crate::glob::Glob;
use crate::logical::Located;
use crate::pattern::PatternSet;
use crate::signal::validate_signal;

/// What is only known to be wrong when all of the file has been read, or when the stage is built.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    pub(crate) values: Vec<Located>,
    /// Names of stages or images, and where they stand.
    pub(crate) stages: Vec<(String, Range<usize>)>,
}

impl Line<'_> {
    pub(super) fn doubt(&self, fault: impl Into<Fault>, part: &str) {
        let located = self.logical.fault(fault.into(), part);
        self.doubts.borrow_mut().values.push(located);
    }

    /// `name` may be a stage.
    pub(super) fn refers_to(&self, name: &str, part: &str) {
        let at = self.logical.range_of(part);
        self.doubts.borrow_mut().stages.push((name.to_owned(), at));
    }

    /// Looks at a word of the line that will be expanded; gives its value if it has no variable.
    pub(super) fn check_word(&self, word: &str) -> Option<String> {
        self.check_value(word, word)
    }

    /// The same for a value that was taken from `part` of the line.
    pub(super) fn check_value(&self, value: &str, part: &str) -> Option<String> {
        if !value.contains(['$', '\'', '"', self.escape]) {
            return Some(value.to_owned());
        }
        match Expander::new(self.escape).word(value, &()) {
            Ok(expanded) => expanded.unset.is_empty().then_some(expanded.text),
            // What is required may be there when the step runs.
            Err(error) if matches!(error.fault, ExpandFault::Required { .. }) => None,
            Err(error) => {
                self.doubt(error, part);
                None
            }
        }
    }

    pub(super) fn check_flag(&self, flags: &Flags<'_>, name: &str) -> Option<String> {
        let (value, part) = flags.get(name)?;
        self.check_value(value, part)
    }

    pub(super) fn check_chmod(&self, flags: &Flags<'_>) {
        if let (Some(mode), Some((_, part))) = (self.check_flag(flags, "chmod"), flags.get("chmod"))
            && let Err(error) = Chmod::parse(&mode)
        {
            self.doubt(error, part);
        }
    }

    pub(super) fn check_excludes(&self, flags: &Flags<'_>) {
        for (value, part) in flags.all("exclude") {
            if let Some(pattern) = self.check_value(value, part)
                && let Err(error) = PatternSet::new([pattern])
            {
                self.doubt(error, part);
            }
        }
    }

    /// A source of `COPY` or `ADD` is a pattern unless it is remote.
    pub(super) fn check_source(&self, word: &str, part: &str) {
        if let Some(source) = self.check_value(word, part)
            && !super::copy::is_remote(&source)
            && let Err(error) = Glob::new(&source)
        {
            self.doubt(error, part);
        }
    }

    pub(super) fn check_platform(&self, flags: &Flags<'_>) {
        let (Some(value), Some((_, part))) =
            (self.check_flag(flags, "platform"), flags.get("platform"))
        else {
            return;
        };
        let parts = value.split('/');
        let is_word = |text: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "_-.()".contains(c);
            !text.is_empty() && text.chars().all(known)
        };
        // An empty one has a message of its own (C13).
        if !value.is_empty() && (parts.clone().count() > 3 || !parts.clone().all(is_word)) {
            self.doubt(Fault::Platform { value }, part);
        }
    }

    pub(super) fn check_ports(&self, word: &str) {
        let Some(ports) = self.check_word(word) else {
            return;
        };
        for port in ports.split_whitespace() {
            if let Err(error) = check_expose(port) {
                self.doubt(error, word);
            }
        }
    }

    pub(super) fn check_signal(&self, word: &str) {
        if let Some(signal) = self.check_word(word)
            && let Err(error) = validate_signal(&signal)
        {
            self.doubt(error, word);
        }
    }
}
