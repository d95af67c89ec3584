//! Lint findings, rule by rule.

use std::collections::BTreeMap;

use kiln_dockerfile::{
    BaseConfig, Check, LintContext, PatternSet, RULES, Rule, Warning, lint, parse,
};

/// What is found when nothing is known beside the file.
fn warnings(text: &str) -> Vec<Warning> {
    lint(&parse(text.as_bytes()).unwrap(), &LintContext::default())
}

fn shown(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

fn found(text: &str) -> Vec<String> {
    shown(&warnings(text))
}

/// Each row: file, what is found.
fn check(rows: &[(&str, &[&str])]) {
    assert!(!rows.is_empty());
    for (text, expected) in rows {
        assert_eq!(found(text), *expected, "{text}");
    }
}

// conformance: A8
#[test]
fn casing() {
    check(&[
        (
            "FROM a AS Base\n",
            &["StageNameCasing: Stage name 'Base' should be lowercase (line 1)"],
        ),
        (
            "FROM a as base\n",
            &["FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"],
        ),
        (
            "from --platform=$BUILDPLATFORM a AS base\n",
            &["FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 1)"],
        ),
        (
            "FROM a\nRun x\nRUN y\n",
            &[
                "ConsistentInstructionCasing: Command 'Run' should match the case of the command majority \
                 (uppercase) (line 2)",
            ],
        ),
        (
            "from a\nrun x\nRUN y\n",
            &[
                "ConsistentInstructionCasing: Command 'RUN' should match the case of the command majority \
                 (lowercase) (line 3)",
            ],
        ),
        // With as many of either, capitals are right.
        (
            "FROM a\nrun x\n",
            &[
                "ConsistentInstructionCasing: Command 'run' should match the case of the command majority \
                 (uppercase) (line 2)",
            ],
        ),
        ("arg X\narg Y\nFROM a\nRUN x\n", &[]),
        ("from a as b\nrun x\n", &[]),
    ]);
}

// conformance: A11
#[test]
fn empty_continuations() {
    // finding 40: at the end of the instruction, as in BuildKit.
    check(&[
        (
            "FROM a\nRUN x \\\n\n  y \\\n\n z\n",
            &["NoEmptyContinuation: Empty continuation line (line 6)"],
        ),
        (
            "FROM a \\\n \n AS b\n",
            &["NoEmptyContinuation: Empty continuation line (line 3)"],
        ),
        ("FROM a\nRUN x \\\n# comment\n  y\n", &[]),
        ("FROM a\nRUN <<EOF\n\nx\nEOF\n", &[]),
        ("FROM a\n\nRUN x\n\n", &[]),
    ]);
}

// conformance: A22
#[test]
fn old_forms() {
    check(&[
        (
            "FROM a\nMAINTAINER me\n",
            &[
                "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)",
            ],
        ),
        (
            "FROM a\nENV A b\nLABEL A b\n",
            &[
                "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format \
                 (line 2)",
                "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" \
                 format (line 3)",
            ],
        ),
        ("FROM a\nENV A=b\nLABEL A=\"b c\"\n", &[]),
    ]);
}

// conformance: C4
#[test]
fn stage_names() {
    check(&[
        (
            "FROM a AS x\nFROM b AS x\n",
            &[
                "DuplicateStageName: Duplicate stage name \"x\", stage names should be unique (line 2)",
            ],
        ),
        (
            "FROM a AS scratch\nFROM a AS context\n",
            &[
                "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 1)",
                "ReservedStageName: Stage name should not use the same name as reserved stage \"context\" (line 2)",
            ],
        ),
        ("FROM a\nFROM a\n", &[]),
    ]);
}

#[test]
fn instructions_that_count_once() {
    let many = |line: u32| {
        format!(
            "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because \
             only the last one will be used (line {line})"
        )
    };
    let (second, third) = (many(2), many(3));
    check(&[
        (
            "FROM a\nCMD [\"x\"]\nCMD [\"y\"]\nCMD [\"z\"]\n",
            &[&second, &third],
        ),
        (
            "FROM a\nCMD [\"x\"]\nENTRYPOINT [\"x\"]\nHEALTHCHECK NONE\n",
            &[],
        ),
        (
            "FROM a AS b\nCMD [\"x\"]\nFROM b\nCMD [\"x\"]\nFROM b\nCMD [\"x\"]\n",
            &[],
        ),
        (
            "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n",
            &[
                "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same \
                 stage because only the last one will be used (line 2)",
            ],
        ),
    ]);
}

#[test]
fn shell_forms() {
    check(&[
        (
            "FROM a\nCMD x\n",
            &[
                "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS \
                 signals (line 2)",
            ],
        ),
        ("FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT x\n", &[]),
        // A stage inherits the shell.
        (
            "FROM a AS b\nSHELL [\"/bin/bash\", \"-c\"]\nFROM b\nCMD x\n",
            &[],
        ),
        ("FROM a\nRUN x\nHEALTHCHECK CMD x\n", &[]),
    ]);
}

// conformance: B17 C22
#[test]
fn variables_in_from() {
    check(&[
        (
            "ARG VERSION=1\nFROM a:$VERISON\n",
            &[
                "UndefinedArgInFrom: FROM argument 'VERISON' is not declared (did you mean VERSION?) (line 2)",
                "InvalidDefaultArgInFrom: Default value for ARG a:$VERISON results in empty or invalid base image name \
                 (line 2)",
            ],
        ),
        (
            "FROM --platform=$BULIDPLATFORM a\n",
            &[
                "UndefinedArgInFrom: FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?) \
                 (line 1)",
            ],
        ),
        (
            "ARG VERSION\nFROM a:$VERSION\n",
            &[
                "InvalidDefaultArgInFrom: Default value for ARG a:$VERSION results in empty or invalid base image name \
                 (line 2)",
            ],
        ),
        (
            "ARG IMAGE\nFROM $IMAGE\n",
            &[
                "InvalidDefaultArgInFrom: Default value for ARG $IMAGE results in empty or invalid base image name \
                 (line 2)",
            ],
        ),
        (
            "ARG REG\nFROM ${REG}/img:${TAG:-1}\n",
            &[
                "InvalidDefaultArgInFrom: Default value for ARG ${REG}/img:${TAG:-1} results in empty or invalid base \
                 image name (line 2)",
            ],
        ),
        (
            "FROM ${REG}/img:${TAG:-1}\n",
            &[
                "UndefinedArgInFrom: FROM argument 'REG' is not declared (line 1)",
                "InvalidDefaultArgInFrom: Default value for ARG ${REG}/img:${TAG:-1} results in empty or invalid base \
                 image name (line 1)",
            ],
        ),
        ("ARG VERSION\nFROM a:${VERSION:-1}\n", &[]),
        ("FROM a:${VERSION:-1}\n", &[]),
        ("ARG V=1 I=a:$V\nFROM $I\n", &[]),
        ("FROM a-$TARGETARCH:1 AS x\nFROM a:x-$TARGETOS-y\n", &[]),
    ]);
}

#[test]
fn platforms() {
    check(&[
        (
            "FROM --platform=$TARGETPLATFORM a\n",
            &[
                "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this \
                 is the default behavior (line 1)",
            ],
        ),
        (
            "FROM --platform=linux/amd64 a AS base\n",
            &[
                "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\" \
                 (line 1)",
            ],
        ),
        ("FROM --platform=linux/amd64 a AS build-amd64\n", &[]),
        ("FROM --platform=linux/x86_64 a AS build-amd64\n", &[]),
        ("FROM --platform=linux a AS linux-base\n", &[]),
        ("FROM --platform=$BUILDPLATFORM a\n", &[]),
    ]);
}

// conformance: F6
#[test]
fn relative_workdirs() {
    check(&[
        (
            "FROM a\nWORKDIR app\nWORKDIR sub\n",
            &[
                "WorkdirRelativePath: Relative workdir \"app\" can have unexpected results if the base image changes \
                 (line 2)",
            ],
        ),
        ("FROM a AS b\nWORKDIR /app\nFROM b\nWORKDIR sub\n", &[]),
        ("FROM a\nARG D=/x\nWORKDIR $D/y\nWORKDIR sub\n", &[]),
        (
            "FROM a\nARG D=x\nWORKDIR $D/y\n",
            &[
                "WorkdirRelativePath: Relative workdir \"x/y\" can have unexpected results if the base image changes \
                 (line 3)",
            ],
        ),
        // The base may set it to an absolute path.
        ("FROM a\nWORKDIR $HOME\n", &[]),
        ("# escape=`\nFROM a\nWORKDIR C:\\app\n", &[]),
    ]);
}

#[test]
fn secrets() {
    let secret = |instruction: &str, name: &str, line: u32| {
        format!(
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?}) \
             (line {line})"
        )
    };
    let (token, password) = (secret("ARG", "API_TOKEN", 2), secret("ENV", "password", 3));
    check(&[
        (
            "FROM a\nARG API_TOKEN V=1\nENV X=1 password=2\n",
            &[&token, &password],
        ),
        (
            "FROM a\nENV TOKENS=1 MONKEY=2 PUBLIC_KEY=3 SSH_KEY_FILE=4 AUTH_VERSION=5\n",
            &[],
        ),
    ]);
}

// conformance: F2
#[test]
fn ports() {
    check(&[
        (
            "FROM a\nEXPOSE 80/TCP 53/udp\n",
            &[
                "ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 2)",
            ],
        ),
        (
            "FROM a\nARG P=8080:80\nEXPOSE 127.0.0.1:80:80 $P\n",
            &[
                "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found \
                 '127.0.0.1:80:80' (line 3)",
                "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found \
                 '8080:80' (line 3)",
            ],
        ),
        ("FROM a\nEXPOSE 80 80-90/udp\n", &[]),
    ]);
}

fn undefined(name: &str, meant: Option<&str>, line: u32) -> String {
    let meant = meant.map(|meant| format!(" (did you mean ${meant}?)"));
    let meant = meant.unwrap_or_default();
    format!("UndefinedVar: Usage of undefined variable '${name}'{meant} (line {line})")
}

#[test]
fn undefined_variables_where_everything_is_known() {
    let rows: &[(&str, &[(&str, u32)])] = &[
        ("COPY $a /", &[("a", 2)]),
        ("COPY a /$b", &[("b", 2)]),
        (
            "COPY --chown=$a --chmod=$b --exclude=$c . /",
            &[("a", 2), ("b", 2), ("c", 2)],
        ),
        (
            "ADD --checksum=$a https://x.example/$b /",
            &[("a", 2), ("b", 2)],
        ),
        ("COPY <<E /f\n$a\nE", &[("a", 2)]),
        ("COPY <<'E' /f\n$a\nE", &[]),
        ("ENV X=$a Y=${b} $c=1", &[("a", 2), ("b", 2), ("c", 2)]),
        ("ENV X=1\nENV Y=$X", &[]),
        ("ENV X=1 Y=$X", &[("X", 2)]),
        ("LABEL $a=$b", &[("a", 2), ("b", 2)]),
        ("ARG X=$a", &[("a", 2)]),
        ("ARG X\nLABEL x=$X", &[]),
        ("USER $a", &[("a", 2)]),
        ("VOLUME $a", &[("a", 2)]),
        ("WORKDIR /$a", &[("a", 2)]),
        ("STOPSIGNAL $a", &[("a", 2)]),
        (
            "RUN --mount=type=cache,target=/$a,id=$b true",
            &[("a", 2), ("b", 2)],
        ),
        ("RUN echo $a", &[]),
        ("CMD [\"$a\"]", &[]),
        // EXPOSE is silent in BuildKit too.
        ("EXPOSE $a", &[]),
        // A word that says what to do without a value is no mistake.
        ("LABEL x=${a:-1} y=${b-} z=${c:+d}", &[]),
        ("LABEL x=${a#b} y=${c/d/e}", &[("a", 2), ("c", 2)]),
        ("LABEL x='$a' y=\\$b z=$1", &[]),
        ("LABEL x=$PATH", &[]),
        ("LABEL x=$G", &[("G", 2)]),
        ("ARG G\nLABEL x=$G", &[]),
        ("LABEL x=$a y=$a", &[("a", 2)]),
    ];
    for (lines, expected) in rows {
        let text = format!("FROM scratch\n{lines}\n");
        let found = found(&format!("{text}FROM a\nARG G=1\n"));
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, line)| undefined(name, None, *line))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
    let text = "ARG G=1\nFROM scratch AS x\nENV PATH=$PAHT\nARG VERSION=1\nFROM x\nLABEL a=$VERISON b=$version\n";
    assert_eq!(
        found(text),
        [
            undefined("PAHT", Some("PATH"), 3),
            undefined("VERISON", Some("VERSION"), 6),
            undefined("version", None, 6),
        ]
    );
}

#[test]
fn undefined_variables_on_an_unknown_base() {
    check(&[
        // The base may have them.
        ("FROM a\nLABEL x=$GOPATH y=$HOME z=$NODE_VERSION\n", &[]),
        (
            "ARG NODE_VERSION=1\nFROM a:$NODE_VERSION\nLABEL x=$NODE_VERSION\n",
            &[],
        ),
    ]);
    // No base has these.
    assert_eq!(
        found("FROM a\nARG VERSION=1\nLABEL x=$VERISON y=$TARGETARCH\n"),
        [
            undefined("VERISON", Some("VERSION"), 3),
            undefined("TARGETARCH", None, 3),
        ]
    );
}

#[test]
fn the_base_image_counts_when_it_is_known() {
    let file = parse(
        b"FROM a AS x\nLABEL x=$GOPATH y=$GOPTAH z=$nothing w=$T\nCMD x\nFROM x\nLABEL x=$GOPATH\n",
    )
    .unwrap();
    let trigger = kiln_dockerfile::parse_trigger("ARG T=1", '\\').unwrap();
    let base = |stage: usize| {
        assert_eq!(stage, 0, "the second stage continues the first");
        Some(BaseConfig {
            env: vec![("GOPATH".to_owned(), "/go".to_owned())],
            has_shell: true,
            triggers: vec![trigger.clone()],
        })
    };
    let context = LintContext {
        base: &base,
        ..LintContext::default()
    };
    assert_eq!(
        shown(&lint(&file, &context)),
        [
            undefined("GOPTAH", Some("GOPATH"), 2),
            undefined("nothing", None, 2),
        ]
    );
}

#[test]
fn triggers_of_the_same_file_set_variables() {
    check(&[(
        "FROM scratch AS x\nONBUILD ENV A=1\nFROM x\nLABEL x=$A\n",
        &[],
    )]);
}

// conformance: B18
#[test]
fn build_args_count() {
    let file = parse(b"ARG I\nFROM $I\nARG D=x\nWORKDIR $D\nARG E=$nothing\n").unwrap();
    let given = [("I", "a"), ("D", "/d"), ("E", "1")];
    let context = LintContext {
        build_args: given.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..LintContext::default()
    };
    // The default of FROM is judged without them.
    assert_eq!(
        shown(&lint(&file, &context)),
        [
            "InvalidDefaultArgInFrom: Default value for ARG $I results in empty or invalid base image name (line 2)"
        ]
    );
}

#[test]
fn only_wanted_stages_are_evaluated() {
    let file = parse(b"FROM scratch AS a\nLABEL x=$a\nFROM scratch\nLABEL x=$b\n").unwrap();
    let context = LintContext {
        stages: Some([1].into()),
        ..LintContext::default()
    };
    assert_eq!(shown(&lint(&file, &context)), [undefined("b", None, 4)]);
}

// conformance: A43
#[test]
fn ignored_sources() {
    let rows = [
        ("f", "COPY f /", Some("Attempting to Copy file \"f\"")),
        ("f", "ADD ./f /", Some("Attempting to Add file \"f\"")),
        ("d", "COPY d/x /", Some("Attempting to Copy file \"d/x\"")),
        ("d\n!d/x", "COPY d/x /", None),
        ("d\n!d/x", "COPY d /", None),
        (
            "d\n!d/x",
            "COPY d/y /",
            Some("Attempting to Copy file \"d/y\""),
        ),
        ("*\n!src", "COPY . /", None),
        ("*\n!src", "COPY src /", None),
        (
            "*\n!src",
            "COPY doc /",
            Some("Attempting to Copy file \"doc\""),
        ),
        (
            "*.md",
            "COPY *.md /",
            Some("Attempting to Copy file \"*.md\""),
        ),
        ("?", "COPY * /", None),
        ("f", "COPY --from=x f /", None),
        ("f", "ADD https://x.example/f /", None),
        ("f", "COPY <<f /\nf", None),
        ("f", "COPY $UNKNOWN/f /", None),
    ];
    for (ignored, line, expected) in rows {
        let file = parse(format!("FROM a\n{line}\n").as_bytes()).unwrap();
        let ignored = PatternSet::parse_ignore_file(ignored.as_bytes()).unwrap();
        let context = LintContext {
            ignored: Some(&ignored),
            ..LintContext::default()
        };
        let expected: Vec<String> = expected
            .map(|start| {
                format!("CopyIgnoredFile: {start} that is excluded by .dockerignore (line 2)")
            })
            .into_iter()
            .collect();
        assert_eq!(shown(&lint(&file, &context)), expected, "{line}");
    }
}

// conformance: A6
#[test]
fn descriptions_only_if_asked_for() {
    let text = "# nothing about it\nARG A=1\n# B is described\nARG B=1\n\n# about the image\n\nFROM a\n#\n\
                # x what it is\nFROM a AS x\n# more of it\nFROM a AS y\n# two of them\nARG C D\n";
    assert_eq!(found(text), [""; 0]);
    let described = |what: &str, name: &str, line: u32| {
        format!(
            "InvalidDefinitionDescription: Comment for {what} should follow the format: `# {name} <description>` \
             (line {line})"
        )
    };
    for check in ["InvalidDefinitionDescription", "all"] {
        assert_eq!(
            found(&format!("# check=experimental={check}\n{text}")),
            [
                described("ARG", "A", 3),
                described("FROM", "y", 14),
                described("ARG", "<arg_key>", 16),
            ]
        );
    }
    // A directive is no comment.
    let directive = "# check=experimental=all\nFROM a AS x\n";
    assert_eq!(found(directive), [""; 0]);
}

// conformance: A6
#[test]
fn the_check_directive_selects() {
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
    let experimental = format!("# check=skip=all;experimental=all\n# z\n{text}");
    assert_eq!(found(&experimental).len(), 1);
    let file = parse(format!("# check=skip=all\n{text}").as_bytes()).unwrap();
    let context = LintContext {
        check: Some(Check::parse("skip=StageNameCasing").unwrap()),
        ..LintContext::default()
    };
    assert_eq!(
        lint(&file, &context).len(),
        2,
        "from outside it counts instead"
    );
}

// conformance: A6
#[test]
fn a_comment_above_an_instruction_selects_for_it() {
    let legacy = "LegacyKeyValueFormat";
    let rows: &[(&str, usize)] = &[
        ("# check=skip=LegacyKeyValueFormat\n", 1),
        ("# check=skip=LegacyKeyValueFormat because of history\n", 1),
        ("# CHECK = skip=all\n# another\n", 1),
        ("# another\n# check=skip=all\n", 1),
        ("# check=skip=all\n\n", 2),
        ("# check=skip=UndefinedVar\n", 2),
        ("# check=nonsense\n", 2),
        ("", 2),
    ];
    for (comment, expected) in rows {
        let text = format!("FROM a\n{comment}ENV A b\nENV C d\n");
        let found = found(&text);
        assert_eq!(found.len(), *expected, "{text}{found:?}");
        assert!(found.iter().all(|one| one.starts_with(legacy)));
    }
}

#[test]
fn every_rule_was_seen_in_its_place() {
    let ignored = PatternSet::new(["gone"]).unwrap();
    let context = LintContext {
        ignored: Some(&ignored),
        build_args: BTreeMap::new(),
        ..LintContext::default()
    };
    let text = "# check=experimental=all\n# not a description\nARG NONE\n\
        FROM --platform=linux/arm64 $NONE AS Context\nfrom scratch AS context\n\
        FROM --platform=$TARGETPLATFORM $WHAT\nMAINTAINER me\nENV TOKEN x\nWORKDIR app\nWORKDIR ${T}\n\
        EXPOSE 1:2/TCP\nCOPY gone \\\n\n/\nCMD x\nCMD y\nFROM scratch\nLABEL x=$y\n";
    let file = parse(text.as_bytes()).unwrap();
    let found = lint(&file, &context);
    for rule in RULES {
        let seen: Vec<&Warning> = found.iter().filter(|w| w.rule == *rule).collect();
        assert!(!seen.is_empty(), "{rule}: {:?}", shown(&found));
        for warning in seen {
            assert!(file.excerpt(warning.span).contains(">>>"));
        }
    }
    assert_eq!(Rule::named("undefinedvar").unwrap().name, "UndefinedVar");
}
