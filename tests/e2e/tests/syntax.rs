//! Files as people write them: encodings, directives, continuations, every form of a word; and where errors point.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use kiln_e2e::{Base, Case, kiln_only, needs_root};
use serde_json::json;

/// With a frontend that is not fetched, a byte order mark, line ends of Windows, a backtick as escape character, and lines continued in every way.
const FROM_WINDOWS: &str = "\u{feff}# syntax=kiln-e2e.invalid/frontend:1\r\n# Escape = `\r\n\r\nfrom BASE As Here\r\n  \
    env A=c:\\dir `\r\n  # a comment inside\r\n\r\n  B=\"two `\r\nwords\" C=`$A\r\nLABEL x=\"$A`\"\" `\r\n   y=$C # z=1\r\n\
    # escape=\\\r\ncmd [\"a\",`\r\n \"\\u00e9\"]\r\nentrypoint ['not json'] `";

// conformance: A1 A4 A5 A7 A8 A9 A10 A11 A12 A20 B9 B10
#[test]
fn a_file_from_windows() {
    kiln_only!();
    let case = Case::new();
    let text = FROM_WINDOWS.replace("BASE", &case.base(Base::Busybox));
    let wrong = case.build(&case.context().dockerfile(&text)).run();
    wrong.failed(
        1,
        &[
            "Dockerfile:11:9: Syntax error - can't find = in \"#\"",
            "in the instruction on line 10",
        ],
    );
    let text = text.replace(" # z=1", "");
    let image = case.build(&case.context().dockerfile(text)).run().image();
    assert_eq!(image.env("A"), Some("c:\\dir"));
    assert_eq!(image.env("B"), Some("two words"));
    assert_eq!(image.env("C"), Some("$A"));
    assert_eq!(image.label("x"), Some("c:\\dir\""));
    assert_eq!(image.label("y"), Some("$A"));
    assert_eq!(image.setting("Cmd"), &json!(["a", "\u{e9}"]));
    let entrypoint = json!(["/bin/sh", "-c", "['not json']"]);
    assert_eq!(image.setting("Entrypoint"), &entrypoint);
}

// conformance: B1 B2 B3 B5 B6 B7 B11
#[test]
fn every_form_of_a_word() {
    kiln_only!();
    let case = Case::new();
    let rows = [
        ("${none:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${file:+set}", "set"),
        ("${none+set}", ""),
        ("${none:-${other:-deep}}", "deep"),
        ("${file:?no}", "/a/b.tar.gz"),
        ("${file##*/}", "b.tar.gz"),
        ("${file#*/}", "a/b.tar.gz"),
        ("${file%.*}", "/a/b.tar"),
        ("${file%%.*}", "/a/b"),
        ("${file/a/x}", "/x/b.tar.gz"),
        ("${file//a/x}", "/x/b.txr.gz"),
        ("$12x$@", "x"),
        ("a$", "a$"),
        ("'$file'\\$file", "$file$file"),
        ("<$none>", "<>"),
        ("$blank", "a b"),
    ];
    let mut labels = String::new();
    for (number, (word, _)) in rows.iter().enumerate() {
        writeln!(labels, "LABEL l{number}={word}").unwrap();
    }
    let lines = format!(
        "FROM {}\nARG file=/a/b.tar.gz empty= blank=\"a b\"\n{labels}COPY $blank /d/\nVOLUME $blank\nWORKDIR /$none/x\n",
        case.base(Base::Busybox)
    );
    let context = case.context().dockerfile(lines).file("a b", "one file");
    let image = case.build(&context).run().image();
    assert_eq!(image.tree().text("d/a b"), "one file");
    assert_eq!(image.setting("Volumes"), &json!({ "a b": {} }));
    assert_eq!(image.setting("WorkingDir"), "//x");
    for (number, (word, expected)) in rows.iter().enumerate() {
        assert_eq!(
            image.label(&format!("l{number}")),
            Some(*expected),
            "{word}"
        );
    }
}

// conformance: B13 B24 B25 B29 B30
#[test]
fn what_is_not_expanded_and_what_is_kept() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = format!(
        "FROM {}\nENV X=1 Y=2 Z=3\nENV Y=changed y=other\nARG NAME=app\nARG NAME=${{NAME}}-dev\nARG ODD\nENV ODD=$ODD\n\
         LABEL name=$NAME\nMAINTAINER $X\nRUN X=of-the-shell; echo $X > /own\nRUN [\"/bin/sh\", \"-c\", \"echo \\\"$1\\\" > /seen\", \"sh\", \"$X\"]\n\
         ENTRYPOINT [\"$X\"]\nCMD [\"$X\"]\nHEALTHCHECK CMD echo $X\nSHELL [\"/bin/$X\"]\n",
        case.base(Base::Busybox)
    );
    let odd = "a=b, 'c' \"d\"\n$X \\ e";
    let context = case.context().dockerfile(lines);
    let image = case
        .build(&context)
        .build_arg(format!("ODD={odd}"))
        .run()
        .image();
    assert_eq!(image.tree().text("seen"), "$X\n");
    assert_eq!(image.tree().text("own"), "of-the-shell\n");
    assert_eq!(image.config["author"], "$X");
    assert_eq!(image.setting("Entrypoint"), &json!(["$X"]));
    assert_eq!(image.setting("Cmd"), &json!(["$X"]));
    assert_eq!(image.setting("Shell"), &json!(["/bin/$X"]));
    assert_eq!(
        image.setting("Healthcheck"),
        &json!({ "Test": ["CMD-SHELL", "echo $X"] })
    );
    assert_eq!(image.label("name"), Some("app-dev"));
    assert_eq!(image.env("ODD"), Some(odd));
    let env = image.setting("Env").to_string();
    let order = ["X=1", "Y=changed", "Z=3", "y=other"].map(|pair| env.find(pair).unwrap());
    assert!(order.is_sorted(), "{env}");

    let again = case.build(&context).build_arg(format!("ODD={odd}"));
    let unused = again.build_arg("NOBODY=1").run();
    assert_eq!(&unused.image().config["config"], &image.config["config"]);
    assert!(
        unused
            .warnings()
            .iter()
            .any(|line| line.contains("`NOBODY` is not used"))
    );
}

// conformance: A16
#[test]
fn a_failing_command_is_shown_in_its_file() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = format!(
        "FROM {}\nENV A=1\nRUN echo before && \\\n  exit 7\nENV B=2\n",
        case.base(Base::Busybox)
    );
    let outcome = case.build(&case.context().dockerfile(lines)).run();
    outcome.failed(
        7,
        &[
            "Dockerfile:3: RUN echo before",
            "   2 |     ENV A=1\n   3 | >>> RUN echo before && \\\n   4 | >>>   exit 7\n   5 |     ENV B=2",
        ],
    );
}

// conformance: A34
#[test]
fn a_linked_dockerfile_is_followed() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .file(
            "elsewhere/real",
            format!("FROM {}\nENV A=1\n", case.base(Base::Busybox)),
        )
        .symlink("Dockerfile", "elsewhere/real");
    assert_eq!(case.build(&context).run().image().env("A"), Some("1"));
}

// conformance: A18 A29 B8 B14 C5 E29 E46 F2 F13
#[test]
fn wrong_values_are_found_before_anything_is_looked_up() {
    kiln_only!();
    let case = Case::new();
    let rows = [
        ("STOPSIGNAL SIGTREM", "2:12", "did you mean SIGTERM?"),
        ("EXPOSE 80 abc", "2:11", "invalid containerPort: abc"),
        ("COPY --chmod=9 a b", "2:6", "invalid chmod parameter"),
        ("COPY --from=7 a b", "2:6", "invalid stage index 7"),
        ("COPY --from=$x a b", "2:6", "define alias stage"),
        ("COPY --parent a b", "2:6", "did you mean parents?"),
        ("COPY --unpack a b", "2:6", "a flag of ADD"),
        ("COPY --link --link a b", "2:13", "duplicate flag"),
        (
            "ADD --checksum=md5:1 https://x.invalid/f /",
            "2:5",
            "`sha256:`",
        ),
        (
            "RUN --mount=type=cach,target=/x y",
            "2:5",
            "did you mean cache?",
        ),
        ("RUN --network=hots y", "2:5", "did you mean host?"),
        ("RUN --security=root y", "2:5", "sandbox or insecure"),
        ("ONBUILD ONBUILD RUN x", "2:9", "Chaining ONBUILD"),
        ("LABEL a=${b:=c}", "2:9", "unsupported modifier (:=)"),
        ("LABEL a='b", "2:9", "matching single-quote"),
        (
            "HEALTHCHECK --interval=1x CMD y",
            "2:13",
            "unknown unit `x`",
        ),
    ];
    for (line, place, message) in rows {
        let lines = format!("FROM unreachable.invalid/x\n{line}\n");
        let outcome = case.build(&case.context().dockerfile(lines)).run();
        outcome.failed_once(message, &[&format!("Dockerfile:{place}: "), "^"]);
        assert!(
            !outcome.log.contains("unreachable.invalid"),
            "{line}: {}",
            outcome.log
        );
    }
}

// conformance: C8
#[test]
fn wrong_values_of_a_stage_that_nothing_needs_do_not_matter() {
    kiln_only!();
    let case = Case::new();
    let lines = format!(
        "FROM {base} AS unused\nSTOPSIGNAL FOO\nCOPY --from=7 a b\nFROM {base}\nENV A=1\n",
        base = case.base(Base::Busybox)
    );
    case.build(&case.context().dockerfile(lines)).run().ok();
}

#[test]
fn a_misspelt_stage_is_named() {
    kiln_only!();
    let case = Case::new();
    let host = case.registry().host();
    let lines = format!(
        "FROM {} AS builder\nFROM scratch\nCOPY --from=bulider a b\n",
        case.base(Base::Busybox)
    );
    let outcome = case
        .build(&case.context().dockerfile(lines))
        // The name is an image's; nobody outside is asked for it.
        .arg(format!("--registry-map=index.docker.io={host}"))
        .arg("--insecure-pull")
        .run();
    outcome.failed(1, &["Dockerfile:3: ", "did you mean the stage `builder`?"]);
}
