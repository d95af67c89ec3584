//! What events are about: stages, steps, and whom a layer or a transfer is for.

use std::fmt;

/// A stage of the Dockerfile. Shown by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage {
    /// Its number in the file, from 0.
    pub number: usize,
    /// The name that FROM gives it, or `stage-` and its number.
    pub name: String,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A step of a stage. Shown as `builder 3/7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// Its stage.
    pub stage: Stage,
    /// Its position in the stage, from 1.
    pub number: usize,
    /// How many steps the stage has, those of ONBUILD included.
    pub total: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.stage, self.number, self.total)
    }
}

/// Whom a layer or a transfer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A step, which made the layer.
    Step(Step),
    /// A stage: the files that its FROM names.
    Stage(Stage),
    /// All steps of a build, whose layers become one.
    AllSteps,
    /// An image, by its name.
    Image(String),
    /// An archive that is pushed, by its path.
    Archive(String),
    /// A cache of steps, by the name of its place.
    Cache(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Step(step) => step.fmt(f),
            Subject::Stage(stage) => stage.fmt(f),
            Subject::AllSteps => f.write_str("all steps"),
            Subject::Image(name) | Subject::Archive(name) | Subject::Cache(name) => {
                f.write_str(name)
            }
        }
    }
}
