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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    const FILE: &[u8] = b"FROM a AS one\nFROM b AS Two\nFROM c AS one\nFROM d\nFROM e AS later\n";

    // conformance: C2, C4
    #[test]
    fn latest_earlier_stage() {
        let stages = parse(FILE).unwrap().stages;
        let rows = [
            (5, "ONE", Some(2)),
            (2, "one", Some(0)),
            (0, "one", None),
            (3, "TWO", Some(1)),
            (4, "later", None),
            (99, "later", Some(4)),
            (5, "d", None),
        ];
        for (before, name, expected) in rows {
            assert_eq!(
                find_stage(&stages, before, name),
                expected,
                "{name} before {before}"
            );
        }
    }

    // conformance: C5, C6
    #[test]
    fn copy_sources() {
        let stages = parse(FILE).unwrap().stages;
        let later = "cannot copy from stage \"later\", it needs to be defined before current stage \"stage-3\"";
        let own =
            "cannot copy from stage \"3\", it needs to be defined before current stage \"stage-3\"";
        let rows = [
            (3, "0", Ok(Some(0))),
            (3, "One", Ok(Some(2))),
            (3, "busybox", Ok(None)),
            (3, "later", Err(later)),
            (3, "3", Err(own)),
            (3, "5", Err("invalid stage index 5")),
        ];
        for (current, name, expected) in rows {
            let got = copy_source(&stages, current, name).map_err(|e| e.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{name}");
        }
    }

    // conformance: C9
    #[test]
    fn targets() {
        let stages = parse(FILE).unwrap().stages;
        let rows: &[(&str, Result<usize, &str>)] = &[
            ("TWO", Ok(1)),
            (
                "nope",
                Err("target stage \"nope\" could not be found (did you mean one?)"),
            ),
            ("0", Err("target stage \"0\" could not be found")),
        ];
        assert!(!rows.is_empty());
        for (name, expected) in rows {
            let got = find_target(&stages, name).map_err(|e| e.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{name}");
        }
    }
}
