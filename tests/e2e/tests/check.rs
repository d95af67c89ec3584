//! `executor --check`, and the warnings of an ordinary build.
#![allow(clippy::unwrap_used)]

use kiln_e2e::{Base, Case, Ran, kiln_only};
use serde_json::Value;

/// Runs `--check` on a Dockerfile whose base cannot be had, so that it would show if it were looked for.
fn checked(case: &Case, dockerfile: &str, format: &str) -> Ran {
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("kept", "")
        .file(".dockerignore", "gone\n");
    case.build(&context).nowhere().check(format)
}

// conformance: A6 A43
#[test]
fn findings_make_exit_code_1_and_nothing_is_built() {
    kiln_only!();
    let case = Case::new();
    let bad = "FROM unreachable.invalid/x AS Base\nCOPY gone /\nFROM unreachable.invalid/y\nENV A b\nRUN exit 9\n";
    let ran = checked(&case, bad, "text");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in [
        "Dockerfile:1:1: warning: StageNameCasing: ",
        "Dockerfile:2:1: warning: CopyIgnoredFile: ",
        "Dockerfile:4:1: warning: LegacyKeyValueFormat: ",
        "   4 | >>> ENV A b\n",
        "Dockerfile: 3 warnings\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(ran.stderr, "");

    let good = checked(&case, "FROM unreachable.invalid/x\nCOPY kept /\n", "text");
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""), "{good:?}");
    assert!(good.stdout.ends_with("Dockerfile: no warnings\n"));

    let skipped = checked(
        &case,
        &format!("# check=skip=all;error=true\n{bad}"),
        "text",
    );
    assert_eq!(skipped.code, Some(0), "{skipped:?}");
}

// conformance: A15
#[test]
fn all_errors_are_listed() {
    kiln_only!();
    let case = Case::new();
    let ran = checked(&case, "FROM x\nRNU a\nCOPY --form=y a b\nENV\n", "text");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in [
        "Dockerfile:2:1: error: unknown instruction: RNU (did you mean RUN?)\n2 | RNU a\n  | ^^^\n",
        "Dockerfile:3:6: error: unknown flag: --form (did you mean from?)\n3 | COPY --form=y a b\n  |      ^^^^^^^^\n",
        "Dockerfile:4:1: error: ENV requires at least one argument\n",
        "Dockerfile: 3 errors\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn programs_get_json_and_sarif() {
    kiln_only!();
    let case = Case::new();
    let bad = "FROM x AS Base\nCOPY --from=3 a b\n";
    for (format, pointer) in [
        ("json", "/warnings/0/ruleName"),
        ("sarif", "/runs/0/results/1/ruleId"),
    ] {
        let ran = checked(&case, bad, format);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let rule = report.pointer(pointer).and_then(Value::as_str);
        assert_eq!(rule, Some("StageNameCasing"), "{report:#}");
    }
    let wrong = checked(&case, bad, "yaml");
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("`text`, `json` or `sarif`"),
        "{wrong:?}"
    );
}

// conformance: A6
#[test]
fn a_build_shows_each_finding_once() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines =
        format!("FROM {base} AS Base\nENV A b\nENV X=$NOTHING Y=$PATH\nFROM Base\nENV C d\n");
    let context = case.context().dockerfile(lines.as_str());
    let outcome = case.build(&context).run();
    outcome.ok();
    let findings = [
        "Dockerfile:1: StageNameCasing: Stage name 'Base' should be lowercase",
        "Dockerfile:2: LegacyKeyValueFormat: ",
        // That no base sets it is known here.
        "Dockerfile:3: UndefinedVar: Usage of undefined variable '$NOTHING'",
        "Dockerfile:5: LegacyKeyValueFormat: ",
    ];
    assert_eq!(outcome.warnings().len(), findings.len(), "{}", outcome.log);
    for finding in findings {
        assert_eq!(
            outcome.log.matches(finding).count(),
            1,
            "{finding}: {}",
            outcome.log
        );
    }

    let strict = case
        .context()
        .dockerfile(format!("# check=error=true\n{lines}"));
    let outcome = case.build(&strict).run();
    outcome.failed(
        1,
        &[
            "4 warnings",
            "check=error=true",
            "Dockerfile:2: StageNameCasing",
            "Dockerfile:3: LegacyKeyValueFormat",
            "Dockerfile:4: UndefinedVar",
            "Dockerfile:6: LegacyKeyValueFormat",
        ],
    );
}

// finding 40
#[test]
fn it_says_what_it_did_not_look_at_and_looks_when_told_to() {
    kiln_only!();
    let case = Case::new();
    let file = "FROM unreachable.invalid/x\nCOPY --from=unreachable.invalid/tools /a /b\nRUN echo $NO_SUCH\n";
    let ran = checked(&case, file, "text");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let note = "not checked: whether images exist and what they set (unreachable.invalid/tools:latest, unreachable.invalid/x:latest); --check-bases";
    assert!(ran.stdout.contains(note), "{ran:?}");
    let json: Value = serde_json::from_str(&checked(&case, file, "json").stdout).unwrap();
    assert_eq!(json["imagesNotChecked"][1], "unreachable.invalid/x:latest");
    let ran = checked(&case, "FROM scratch\nCOPY kept /\n", "text");
    assert!(!ran.stdout.contains("not checked"), "{ran:?}");

    let base = case.base(Base::Busybox);
    let file = format!("FROM {base}\nENV A=$BASE_ENV B=$NO_SUCH\n");
    let context = case.context().dockerfile(&file);
    let ran = case
        .build(&context)
        .nowhere()
        .arg("--check-bases")
        .check("text");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout
            .contains("Usage of undefined variable '$NO_SUCH'"),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains("BASE_ENV'"), "{ran:?}");
    assert!(!ran.stdout.contains("not checked"), "{ran:?}");
    let context = case.context().dockerfile(format!("FROM {base}-missing\n"));
    let ran = case
        .build(&context)
        .nowhere()
        .arg("--check-bases")
        .check("text");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("Dockerfile:1:1: error: "), "{ran:?}");
}
