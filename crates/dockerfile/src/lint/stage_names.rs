//! Names of stages: `DuplicateStageName`, `ReservedStageName`.

use std::collections::HashSet;

use super::Findings;
use super::rules::{DUPLICATE_STAGE_NAME, RESERVED_STAGE_NAME};
use crate::dockerfile::Dockerfile;

const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    let mut seen = HashSet::new();
    for stage in &file.stages {
        let Some(name) = stage.name.as_deref() else {
            continue;
        };
        if RESERVED.contains(&name) {
            let message =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            findings.add(&RESERVED_STAGE_NAME, stage.from.span, message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            findings.add(&DUPLICATE_STAGE_NAME, stage.from.span, message);
        }
    }
}
