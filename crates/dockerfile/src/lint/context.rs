//! What the caller of the lint knows about the build.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::command::Instruction;
use crate::dockerfile::Check;
use crate::pattern::PatternSet;

/// What is known about a build beside its Dockerfile; [`LintContext::default`] knows nothing.
pub struct LintContext<'a> {
    /// Values from the command line.
    pub build_args: BTreeMap<String, String>,
    /// Variables that exist before the first line, such as `TARGETPLATFORM` (B27), with their values.
    pub predefined: BTreeMap<String, String>,
    /// The configuration of the image that the FROM of the stage with this index names; `None` when it is not known.
    /// Never asked about stages that continue another, or `scratch`.
    pub base: &'a dyn Fn(usize) -> Option<BaseConfig>,
    /// The stages whose instructions are evaluated; all of them if `None`.
    pub stages: Option<BTreeSet<usize>>,
    /// The ignore file of the context, if it is known.
    pub ignored: Option<&'a PatternSet>,
    /// Whether a text can name an image.
    pub is_image_name: &'a dyn Fn(&str) -> bool,
    /// Instead of the file's `# check=`.
    pub check: Option<Check>,
}

/// The configuration of a base image, as far as rules look at it.
#[derive(Debug, Clone, Default)]
pub struct BaseConfig {
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Whether it has a SHELL of its own.
    pub has_shell: bool,
    /// The ONBUILD instructions it brings.
    pub triggers: Vec<Instruction>,
}

impl Default for LintContext<'_> {
    fn default() -> Self {
        let platform = ["PLATFORM", "OS", "ARCH", "VARIANT", "OSVERSION"];
        let predefined = ["BUILD", "TARGET"]
            .into_iter()
            .flat_map(|prefix| platform.map(|name| format!("{prefix}{name}")))
            .chain(["TARGETSTAGE".to_owned()])
            .map(|name| (name, String::new()))
            .collect();
        Self {
            build_args: BTreeMap::new(),
            predefined,
            base: &|_| None,
            stages: None,
            ignored: None,
            is_image_name: &looks_like_an_image,
            check: None,
        }
    }
}

impl fmt::Debug for LintContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LintContext")
            .field("build_args", &self.build_args)
            .field("predefined", &self.predefined)
            .field("stages", &self.stages)
            .field("ignored", &self.ignored)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

/// Not empty, and no separator without something on both sides: what is left when a variable of a name is empty.
fn looks_like_an_image(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['/', ':', '@', '-', '.'])
        && !name.ends_with(['/', ':', '@', '-', '.'])
        && !["//", "/:", ":/", ":@"]
            .iter()
            .any(|pair| name.contains(pair))
        && !name.contains(char::is_whitespace)
}
