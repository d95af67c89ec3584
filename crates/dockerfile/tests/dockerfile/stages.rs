//! Which stage a name or number means.

use kiln_dockerfile::{copy_source, find_stage, find_target, parse};

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
    let later =
        "cannot copy from stage \"later\", it needs to be defined before current stage \"stage-3\"";
    let own =
        "cannot copy from stage \"3\", it needs to be defined before current stage \"stage-3\"";
    let after =
        "cannot copy from stage \"4\", it needs to be defined before current stage \"stage-3\"";
    let rows = [
        (3, "0", Ok(Some(0))),
        (3, "One", Ok(Some(2))),
        (3, "busybox", Ok(None)),
        (3, "later", Err(later)),
        (3, "3", Err(own)),
        (3, "4", Err(after)),
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
