//! Whole files, as the parser sees them.

use std::fmt::Write as _;

use kiln_dockerfile::{Command, Instruction, LintContext, Position, Source, Span, lint, parse};

fn shown(text: &str) -> String {
    let file = parse(text.as_bytes()).unwrap();
    let mut out = format!("{:?}\n", file.directives);
    let line = |out: &mut String, i: &Instruction| {
        let _ = writeln!(out, "  {} {:?}", i.span, i.command);
    };
    for arg in &file.global_args {
        line(&mut out, arg);
    }
    for stage in &file.stages {
        let from = &stage.from;
        let _ = writeln!(
            out,
            "{} {} {} from {:?} platform {:?}",
            from.span,
            stage.index,
            stage.display_name(),
            from.image,
            from.platform
        );
        for instruction in &stage.instructions {
            line(&mut out, instruction);
        }
    }
    for comment in &file.comments {
        let _ = writeln!(out, "{} # {}", comment.span, comment.text);
    }
    for warning in lint(&file, &LintContext::default()) {
        let _ = writeln!(out, "{warning}");
    }
    out
}

#[test]
fn two_stages() {
    insta::assert_snapshot!(shown(
        r#"# syntax=docker/dockerfile:1
# check=skip=JSONArgsRecommended;error=true
ARG GO=1.24 ALPINE

# build
FROM --platform=$BUILDPLATFORM golang:${GO}-alpine AS Build
ARG TARGETOS TARGETARCH
WORKDIR /src
RUN --mount=type=cache,target=/go/pkg \
    --mount=type=bind,source=go.mod,target=go.mod \
    # comment inside
    go mod download && \

    go build -o /out/app .

FROM alpine:${ALPINE:-3.22}
LABEL org.opencontainers.image.title="my app" \
      maintainer='me <me@example.org>'
ENV PATH=/opt/app:$PATH LEGACY=1
COPY --from=build --chown=app:app --chmod=0755 /out/app /usr/bin/
COPY <<-"EOF" <<motd /etc/
	indented $HOME
	EOF
hello $USER
motd
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.org/a.tar.gz /tmp/
EXPOSE 80/tcp 443
VOLUME ["/data"]
HEALTHCHECK --interval=30s --timeout=1.5s CMD ["app", "health"]
STOPSIGNAL SIGQUIT
ONBUILD RUN echo child
SHELL ["/bin/sh", "-ec"]
USER app
CMD exec app
"#
    ));
}

#[test]
fn windows_habits() {
    insta::assert_snapshot!(shown(
        "\u{feff}#escape = `\r\nfrom scratch\r\ncopy a.txt c:\\ \r\nrun dir `\r\n  c:\\\r\n"
    ));
}

fn span(from: (u32, u32), to: (u32, u32)) -> Span {
    Span {
        start: Position::new(from.0, from.1),
        end: Position::new(to.0, to.1),
    }
}

// conformance: A1 A2 A8 A10 A33
#[test]
fn comments_and_directives_keep_their_places() {
    let text = "# Syntax = x\n  # check=skip=all\n#\n# one\n\n# two\n  #three \nFROM a AS b\nRUN x \\\n \
                # in\u{e9} it\n  y\n# four\nCOPY <<E /f\n# no comment\nE\n#last";
    let file = parse(text.as_bytes()).unwrap();
    let comments: Vec<_> = file
        .comments
        .iter()
        .map(|c| (c.text.as_str(), c.span))
        .collect();
    assert_eq!(
        comments,
        [
            ("", span((3, 1), (3, 2))),
            ("one", span((4, 1), (4, 6))),
            ("two", span((6, 1), (6, 6))),
            ("three", span((7, 3), (7, 10))),
            ("in\u{e9} it", span((10, 2), (10, 10))),
            ("four", span((12, 1), (12, 7))),
            ("last", span((16, 1), (16, 6))),
        ]
    );
    let directives = &file.directives;
    assert_eq!(directives.span("syntax"), Some(span((1, 1), (1, 13))));
    assert_eq!(directives.span("check"), Some(span((2, 3), (2, 19))));
    assert_eq!(directives.span("escape"), None);
    let above = |span: Span| -> Vec<&str> {
        let comments = file.comments_above(span);
        comments.iter().map(|c| c.text.as_str()).collect()
    };
    let stage = &file.stages[0];
    assert_eq!(above(stage.from.span), ["two", "three"]);
    assert_eq!(above(stage.instructions[0].span), [""; 0]);
    assert_eq!(above(stage.instructions[1].span), ["four"]);
}

// conformance: A30 A32 A33
#[test]
fn heredocs_keep_their_places() {
    let text = "FROM a\nCOPY <<A <<-B \\\n\n# c\n  /d/\nA\n\t\tx\n\tB\nRUN <<C\nC\n";
    let file = parse(text.as_bytes()).unwrap();
    let instructions = &file.stages[0].instructions;
    let Command::Copy(copy) = &instructions[0].command else {
        panic!("{:?}", instructions[0])
    };
    let bodies: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            Source::Heredoc(heredoc) => (heredoc.content.as_str(), heredoc.span),
            Source::Path(path) => panic!("{path}"),
        })
        .collect();
    // The blank lines and the comment belong to the continued line; the body begins behind the last continuation.
    assert_eq!(
        bodies,
        [("", span((6, 1), (6, 1))), ("x\n", span((7, 1), (8, 1))),]
    );
    let Command::Run(run) = &instructions[1].command else {
        panic!("{:?}", instructions[1])
    };
    assert_eq!(run.heredocs[0].span, span((10, 1), (10, 1)));
}
