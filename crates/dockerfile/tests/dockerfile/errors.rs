//! Errors as people read them.

use kiln_dockerfile::{Fault, parse};

fn rendered(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

// conformance: A14
#[test]
fn files_without_stages() {
    let rows: [(&str, Fault); 6] = [
        ("", Fault::Empty),
        ("\n  \n", Fault::NoInstructions),
        ("# only\n# comments\n", Fault::NoInstructions),
        ("\\\n", Fault::NoInstructions),
        ("ARG a\nARG b=1\n", Fault::NoStages),
        (
            "ARG a\nRUN x\nRUN y\nFROM z",
            Fault::BeforeFrom {
                instruction: "RUN".into(),
            },
        ),
    ];
    for (text, expected) in rows {
        let error = parse(text.as_bytes()).unwrap_err();
        let faults: Vec<_> = error.errors.iter().map(|e| &e.fault).collect();
        assert_eq!(faults, [&expected], "{text:?}");
    }
    let others = [
        "ADD a b",
        "CMD a",
        "COPY a b",
        "ENTRYPOINT a",
        "ENV a=b",
        "EXPOSE 1",
        "HEALTHCHECK NONE",
        "LABEL a=b",
        "MAINTAINER a",
        "ONBUILD RUN a",
        "SHELL [\"a\"]",
        "STOPSIGNAL 9",
        "USER a",
        "VOLUME a",
        "WORKDIR a",
    ];
    for line in others {
        let text = format!("ARG a\n{line}\nFROM z\n");
        let error = parse(text.as_bytes()).unwrap_err();
        let before = matches!(error.errors[0].fault, Fault::BeforeFrom { .. });
        assert!(before, "{line}: {error}");
    }
}

// conformance: A15
#[test]
fn line_comes_first() {
    let text = "FROM alpine\n\nFNTRYPOINT [\"x\"]\n";
    let first = rendered(text);
    let expected = "dockerfile parse error on line 3: unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)";
    assert_eq!(first.lines().next(), Some(expected));
    let error = parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.line(), Some(3));
    let named = error.in_file("sub/Dockerfile").to_string();
    let expected = "sub/Dockerfile:3:1: unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)";
    assert_eq!(named.lines().next(), Some(expected));
    assert!(named.contains("FNTRYPOINT [\"x\"]"), "{named}");
    let empty = parse(b"").unwrap_err().in_file("D").to_string();
    assert_eq!(empty, "D: the Dockerfile cannot be empty");
}

// conformance: A3, A15, A18, A20, A32
#[test]
fn several_at_once() {
    let text = "\
# escape=`
# escape=`
FROM alpine AS 0
RUN echo a `
  && echo b
RNU echo
COPY --chmod=755 `
     --form=base `
\ta b
\tENV a=b `
  c d=e
CMD [\"a\", 1]
HEALTHCHECK --interval=5 CMD x
FROM
RUN --mount=type=cache,taget=/x make
RUN <<EOF
never closed
";
    insta::assert_snapshot!(rendered(text));
}

#[test]
fn carets_and_long_lines() {
    let text = format!(
        "FROM a\n\tENV {} \u{e9}\u{e8} x\nÜNKNOWN é\n",
        "a=b ".repeat(200)
    );
    insta::assert_snapshot!(rendered(&text));
}

// conformance: A16
#[test]
fn excerpts() {
    let body = "  line\n".repeat(40);
    let text = format!("FROM a\nRUN x \\\n  y\n\nRUN z\nRUN <<EOF\n{body}EOF\nCMD w\n");
    let file = parse(text.as_bytes()).unwrap();
    let shown: Vec<_> = file.stages[0]
        .instructions
        .iter()
        .map(|i| file.excerpt(i.span))
        .collect();
    insta::assert_snapshot!(shown.join("----\n"));
}
