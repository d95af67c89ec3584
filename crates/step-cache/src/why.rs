//! Why a step was not in the cache: its key against that of the nearest step of the build before (H29).

use std::fmt;

use kiln_cache_key::{CacheKey, Change, Parts, Trail, compare};

use super::LayerCache;

/// Changes named in one line; the rest is counted.
const SHOWN: usize = 3;

/// A step that no place had.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The name of its stage.
    pub stage: String,
    /// Position in its stage, from 1.
    pub number: usize,
    /// As it is written.
    pub instruction: String,
    /// Its key.
    pub key: CacheKey,
    /// What the key is made of.
    pub parts: Parts,
    /// Whether it may still be there by content: it, or a step before it, reads another stage.
    pub asked_again: bool,
}

/// What explains a miss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No build of this name left a trail here.
    FirstBuild,
    /// The earlier build had no such step.
    NewStep,
    /// The step is as it was; its entry is not there any more.
    EntryGone,
    /// The step is as it was, but not what it stands on.
    EarlierStep,
    /// The earlier entry cannot be read any more, so nothing is known but that the key is another.
    Unknown,
    /// These parts of the key are others.
    Changed(Vec<Change>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::FirstBuild => f.write_str("no earlier build is known here"),
            Reason::NewStep => f.write_str("the step is new"),
            Reason::EntryGone => f.write_str(
                "nothing changed, but its entry is not there: expired, deleted or never stored",
            ),
            Reason::EarlierStep => f.write_str("a step before it changed"),
            Reason::Unknown => f.write_str("something changed, and the earlier entry is gone"),
            Reason::Changed(changes) => {
                let shown: Vec<String> = changes
                    .iter()
                    .take(SHOWN)
                    .map(ToString::to_string)
                    .collect();
                f.write_str(&shown.join("; "))?;
                match changes.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more changes"),
                }
            }
        }
    }
}

impl LayerCache {
    /// Compares a missed step with the nearest one of the earlier build.
    pub async fn explain(&self, trail: Option<&Trail>, missed: &Missed) -> Reason {
        let Some(trail) = trail else {
            return Reason::FirstBuild;
        };
        let nearest = trail.nearest(&missed.stage, missed.number, &missed.instruction);
        let Some(nearest) = nearest else {
            return Reason::NewStep;
        };
        if nearest.key == missed.key {
            return Reason::EntryGone;
        }
        let Some(before) = self.parts_of(nearest.key).await else {
            return Reason::Unknown;
        };
        let changes = compare(&before, &missed.parts);
        if changes.is_empty() {
            Reason::EarlierStep
        } else {
            Reason::Changed(changes)
        }
    }
}
