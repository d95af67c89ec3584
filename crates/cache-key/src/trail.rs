//! The keys of an earlier build, to find what a step that missed should be compared with.
//!
//! A trail is stored as `{"version":1,"steps":[{"stage":"build","number":2,"instruction":"RUN make","key":"<64 hex
//! digits>","parent":"<64 hex digits>"}]}`. It only serves explanations: one that cannot be read is as good as none.

use serde::{Deserialize, Serialize};

use crate::CacheKey;
use crate::version::Version;

/// The steps of a build in the order of the Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    version: Version<1>,
    /// The steps.
    pub steps: Vec<TrailStep>,
}

/// A step of a build and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStep {
    /// The stage by its name, or by its number if it has none.
    pub stage: String,
    /// The number of the step in its stage.
    pub number: usize,
    /// The instruction as written: after a change of a build arg it is still the same.
    pub instruction: String,
    /// The key it had.
    pub key: CacheKey,
    /// The key of the step before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CacheKey>,
}

impl Trail {
    /// The trail of these steps.
    pub fn new(steps: Vec<TrailStep>) -> Self {
        Self {
            version: Version,
            steps,
        }
    }

    /// The step that is most likely the one that is now number `number` of `stage`.
    ///
    /// That is the one with the same text in the same stage, else the one with the same number there, else one with the
    /// same text in another stage; of several the one with the closest number, and then the earlier one.
    pub fn nearest(&self, stage: &str, number: usize, instruction: &str) -> Option<&TrailStep> {
        let closest = |fits: &dyn Fn(&TrailStep) -> bool| {
            let steps = self.steps.iter().filter(|step| fits(step));
            steps.min_by_key(|step| step.number.abs_diff(number))
        };
        closest(&|step| step.stage == stage && step.instruction == instruction)
            .or_else(|| closest(&|step| step.stage == stage && step.number == number))
            .or_else(|| closest(&|step| step.instruction == instruction))
    }
}

impl FromIterator<TrailStep> for Trail {
    fn from_iter<I: IntoIterator<Item = TrailStep>>(steps: I) -> Self {
        Self::new(steps.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parts, part};

    fn step(stage: &str, number: usize, instruction: &str) -> TrailStep {
        TrailStep {
            stage: stage.to_owned(),
            number,
            instruction: instruction.to_owned(),
            key: Parts::new().with(part::INSTRUCTION, instruction).key(None),
            parent: None,
        }
    }

    fn trail() -> Trail {
        Trail::new(vec![
            step("build", 1, "FROM rust"),
            step("build", 2, "COPY . ."),
            step("build", 3, "RUN make"),
            step("build", 6, "RUN make"),
            step("build", 9, "RUN make"),
            step("1", 1, "FROM scratch"),
            step("1", 2, "RUN ls"),
            step("test", 2, "RUN ls"),
            step("test", 8, "RUN ls"),
        ])
    }

    #[test]
    fn the_nearest_step() {
        let rows = [
            // The same text, wherever it moved to.
            ("build", 2, "COPY . .", Some(("build", 2))),
            ("build", 5, "COPY . .", Some(("build", 2))),
            // The closest of several; the earlier one if two are as close.
            ("build", 3, "RUN make", Some(("build", 3))),
            ("build", 5, "RUN make", Some(("build", 6))),
            ("build", 99, "RUN make", Some(("build", 9))),
            ("1", 4, "RUN make", Some(("build", 3))),
            ("x", 5, "RUN ls", Some(("1", 2))),
            ("x", 6, "RUN ls", Some(("test", 8))),
            ("build", 0, "RUN make", Some(("build", 3))),
            // The text changed: the same place.
            ("build", 2, "COPY src .", Some(("build", 2))),
            // The place comes before the same text in another stage.
            ("build", 2, "RUN ls", Some(("build", 2))),
            // The stage was renamed, or is a new one with known steps.
            ("builder", 2, "COPY . .", Some(("build", 2))),
            ("0", 2, "RUN ls", Some(("1", 2))),
            // Nothing alike.
            ("build", 4, "RUN other", None),
            ("new", 2, "copy . .", None),
        ];
        assert!(!rows.is_empty());
        let trail = trail();
        for (stage, number, instruction, expected) in rows {
            let found = trail.nearest(stage, number, instruction);
            let found = found.map(|step| (step.stage.as_str(), step.number));
            assert_eq!(found, expected, "{stage} {number} {instruction}");
        }
        assert_eq!(Trail::default().nearest("build", 1, "FROM rust"), None);
    }

    #[test]
    fn comes_back_from_json() {
        let mut trail: Trail = trail().steps.into_iter().take(2).collect();
        trail.steps[1].parent = Some(trail.steps[0].key);
        let json = serde_json::to_string(&trail).unwrap();
        assert_eq!(serde_json::from_str::<Trail>(&json).unwrap(), trail);
        let (first, second) = (trail.steps[0].key, trail.steps[1].key);
        assert_eq!(
            json,
            format!(
                r#"{{"version":1,"steps":[{{"stage":"build","number":1,"instruction":"FROM rust","key":"{first}"}},{{"stage":"build","number":2,"instruction":"COPY . .","key":"{second}","parent":"{first}"}}]}}"#
            )
        );
        let newer = json.replace(r#""version":1"#, r#""version":2"#);
        let message = serde_json::from_str::<Trail>(&newer)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("version 2 of the format is not known"),
            "{message}"
        );
    }
}
