//! `ONBUILD` as it is written and as it fires.

use kiln_dockerfile::{Command, parse, parse_trigger};

fn trigger(line: &str) -> Result<String, String> {
    match parse(format!("FROM a\n{line}\n").as_bytes()) {
        Ok(file) => match &file.stages[0].instructions[0].command {
            Command::Onbuild(onbuild) => Ok(onbuild.trigger.clone()),
            other => panic!("{other:?}"),
        },
        Err(error) => Err(error.errors[0].fault.to_string()),
    }
}

// conformance: A29, A30, C18
#[test]
fn stored() {
    let rows = [
        ("ONBUILD RUN echo  $x", Ok("RUN echo  $x")),
        ("onbuild  copy --from=a b c", Ok("copy --from=a b c")),
        ("ONBUILD RUN a && \\\n  b", Ok("RUN a &&   b")),
        ("ONBUILD RUN <<-EOF\n\ta\n\tEOF", Ok("RUN <<-EOF\n\ta\nEOF")),
        (
            "ONBUILD COPY <<A <<B /d\na\nA\nb\nB",
            Ok("COPY <<A <<B /d\na\nA\nb\nB"),
        ),
        (
            "ONBUILD ONBUILD RUN a",
            Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ),
        (
            "ONBUILD from a",
            Err("FROM isn't allowed as an ONBUILD trigger"),
        ),
        (
            "ONBUILD MAINTAINER a",
            Err("MAINTAINER isn't allowed as an ONBUILD trigger"),
        ),
        ("ONBUILD", Err("ONBUILD requires at least one argument")),
        (
            "ONBUILD RNU a",
            Err("unknown instruction: RNU (did you mean RUN?)"),
        ),
        ("ONBUILD --x RUN a", Err("unknown flag: --x")),
        ("ONBUILD ENV a", Err("ENV must have two arguments")),
    ];
    for (line, expected) in rows {
        assert_eq!(
            trigger(line).as_deref().map_err(String::as_str),
            expected,
            "{line}"
        );
    }
}

// conformance: A29
#[test]
fn fired() {
    let text = trigger("ONBUILD RUN <<-EOF\n\ta\n\tEOF").unwrap();
    let Command::Run(run) = parse_trigger(&text, '\\').unwrap().command else {
        panic!("no RUN")
    };
    assert_eq!(run.script().map(|h| h.content.as_str()), Some("a\n"));

    let copy = parse_trigger("COPY --from=x a b", '\\').unwrap();
    assert_eq!(
        (copy.command.name(), copy.source.as_str()),
        ("COPY", "COPY --from=x a b")
    );
    assert_eq!(
        parse_trigger("ENV a=b`\n c=d", '`').unwrap().source,
        "ENV a=b c=d"
    );

    let rows = [
        ("", "file with no instructions"),
        ("RUN a\nRUN b", "expected one instruction, found more"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        (
            "ONBUILD RUN a",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        (
            "RUN <<EOF",
            "unterminated heredoc: no line consists of `EOF` alone",
        ),
    ];
    for (text, expected) in rows {
        let error = parse_trigger(text, '\\').unwrap_err();
        assert_eq!(error.errors[0].fault.to_string(), expected, "{text}");
    }
}
