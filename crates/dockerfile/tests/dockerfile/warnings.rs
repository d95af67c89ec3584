//! Lint findings of the parser.

use kiln_dockerfile::parse;

fn found(text: &str) -> Vec<String> {
    parse(text.as_bytes())
        .unwrap()
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn rules() {
    let single = |rule: &str, message: &str, line: u32| format!("{rule}: {message} (line {line})");
    let rows = [
        // conformance: A11
        (
            "FROM a\nRUN x \\\n\n  y\n",
            single(
                "NoEmptyContinuation",
                "Empty continuation line found in: RUN x   y",
                2,
            ),
        ),
        (
            "FROM a\nMAINTAINER me\n",
            single(
                "MaintainerDeprecated",
                "Maintainer instruction is deprecated in favor of using label",
                2,
            ),
        ),
        // conformance: A22
        (
            "FROM a\nENV A b\n",
            single(
                "LegacyKeyValueFormat",
                "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
                2,
            ),
        ),
        (
            "FROM a\nLABEL A b\n",
            single(
                "LegacyKeyValueFormat",
                "\"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
                2,
            ),
        ),
        (
            "FROM a AS Base\n",
            single(
                "StageNameCasing",
                "Stage name 'Base' should be lowercase",
                1,
            ),
        ),
        (
            "FROM a as base\n",
            single(
                "FromAsCasing",
                "'as' and 'FROM' keywords' casing do not match",
                1,
            ),
        ),
        (
            "from a AS base\n",
            single(
                "FromAsCasing",
                "'AS' and 'from' keywords' casing do not match",
                1,
            ),
        ),
        (
            "FROM a\nCMD x\n",
            single(
                "JSONArgsRecommended",
                "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
                2,
            ),
        ),
        // conformance: C4
        (
            "FROM a AS x\nFROM b AS x\n",
            single(
                "DuplicateStageName",
                "Duplicate stage name \"x\", stage names should be unique",
                2,
            ),
        ),
        (
            "FROM a\nCMD [\"x\"]\nCMD [\"y\"]\n",
            single(
                "MultipleInstructionsDisallowed",
                "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
                2,
            ),
        ),
        (
            "FROM a\nRun x\nRUN y\n",
            single(
                "ConsistentInstructionCasing",
                "Command 'Run' should match the case of the command majority (uppercase)",
                2,
            ),
        ),
        (
            "from a\nrun x\nRUN y\n",
            single(
                "ConsistentInstructionCasing",
                "Command 'RUN' should match the case of the command majority (lowercase)",
                3,
            ),
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(found(text), [expected], "{text}");
    }
}

#[test]
fn nothing_to_say() {
    let rows = [
        "FROM a AS b\nFROM b\nCMD [\"x\"]\nFROM b\nCMD [\"x\"]\n",
        "from a as b\nrun x\n",
        "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT x\n",
        "FROM a\nRUN x \\\n# comment\n  y\n",
        "FROM a\nRUN <<EOF\n\nx\nEOF\n",
    ];
    for text in rows {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}

// conformance: A6
#[test]
fn check_directive_selects() {
    let text = "FROM a AS Base\nMAINTAINER me\nENV A b\n";
    assert_eq!(found(text).len(), 3);
    let some = found(&format!(
        "# check=skip=StageNameCasing,maintainerdeprecated\n{text}"
    ));
    assert!(
        matches!(some.as_slice(), [one] if one.starts_with("LegacyKeyValueFormat")),
        "{some:?}"
    );
    assert_eq!(found(&format!("# check=skip=all\n{text}")), [""; 0]);
}
