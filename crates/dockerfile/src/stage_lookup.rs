//! Which stage a name or number means (C2, C4-C6, C9).

use crate::dockerfile::Stage;
use crate::stage_error::StageError;
use crate::suggest::closest;

/// The latest stage with an index below `before` that has this name, in any case.
pub fn find_stage(stages: &[Stage], before: usize, name: &str) -> Option<usize> {
    stages[..before.min(stages.len())]
        .iter()
        .rposition(|stage| is_named(stage, name))
}

/// What `--from=name` (or a mount's `from`) in stage `current` means: a stage's index, or `None`
/// when it is not a stage of this file at all and names an image or context.
pub fn copy_source(
    stages: &[Stage],
    current: usize,
    name: &str,
) -> Result<Option<usize>, StageError> {
    let not_before = || StageError::NotBefore {
        name: name.to_owned(),
        current: stages
            .get(current)
            .map_or_else(|| format!("stage-{current}"), Stage::display_name),
    };
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
        return match name.parse::<usize>() {
            Ok(index) if index < current.min(stages.len()) => Ok(Some(index)),
            Ok(index) if index < stages.len() => Err(not_before()),
            _ => Err(StageError::NoIndex {
                index: name.to_owned(),
            }),
        };
    }
    if let Some(index) = find_stage(stages, current, name) {
        return Ok(Some(index));
    }
    if stages.iter().any(|stage| is_named(stage, name)) {
        return Err(not_before());
    }
    Ok(None)
}

/// The stage that `--target name` means: the last one of that name in any case, never a number.
pub fn find_target(stages: &[Stage], name: &str) -> Result<usize, StageError> {
    find_stage(stages, stages.len(), name).ok_or_else(|| {
        let names = stages.iter().filter_map(|stage| stage.name.as_deref());
        let suggestion = closest(name, names.clone()).map(str::to_owned);
        StageError::NoTarget {
            name: name.to_owned(),
            suggestion,
            stages: names.map(str::to_owned).collect(),
        }
    })
}

fn is_named(stage: &Stage, name: &str) -> bool {
    stage
        .name
        .as_deref()
        .is_some_and(|own| own.eq_ignore_ascii_case(name))
}
