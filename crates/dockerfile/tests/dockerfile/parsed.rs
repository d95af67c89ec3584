//! Whole files, as the parser sees them.

use std::fmt::Write as _;

use kiln_dockerfile::{Dockerfile, Instruction, parse};

fn shown(text: &str) -> String {
    let Dockerfile {
        directives,
        global_args,
        stages,
        warnings,
        ..
    } = parse(text.as_bytes()).unwrap();
    let mut out = format!("{directives:?}\n");
    let line = |out: &mut String, i: &Instruction| {
        let _ = writeln!(out, "  {} {:?}", i.span, i.command);
    };
    for arg in &global_args {
        line(&mut out, arg);
    }
    for stage in &stages {
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
    for warning in &warnings {
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
