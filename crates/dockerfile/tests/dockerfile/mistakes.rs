//! Every mistake the parser knows: what is said, and the exact place it is said of.

use kiln_dockerfile::{Diagnostic, parse};

/// `LINE:COLUMN [what is marked] message`, without a place for faults of the whole file.
fn shown(error: &Diagnostic) -> String {
    let message = &error.fault;
    let Some(position) = error.position() else {
        return message.to_string();
    };
    let (source, marks) = error.excerpt.split_once('\n').unwrap();
    let marked: String = source
        .chars()
        .zip(marks.chars())
        .filter(|(_, mark)| *mark == '^')
        .map(|(c, _)| c)
        .collect();
    format!("{position} [{marked}] {message}")
}

/// What is wrong with a file that cannot be parsed.
fn refused(text: &str) -> Vec<String> {
    let error = parse(text.as_bytes()).unwrap_err();
    error.errors.iter().map(shown).collect()
}

/// What is wrong with the stages of a file that can be parsed.
fn doubted(text: &str) -> Vec<String> {
    let file = parse(text.as_bytes()).unwrap();
    let faults = file.stages.iter().flat_map(|stage| &stage.faults);
    faults.map(shown).collect()
}

/// Each row: the lines behind `FROM a`, what is said.
fn check(found: fn(&str) -> Vec<String>, rows: &[(&str, &str)]) {
    assert!(!rows.is_empty());
    for (lines, expected) in rows {
        let text = format!("FROM a\n{lines}\n");
        assert_eq!(found(&text), [*expected], "{text}");
    }
}

// conformance: A3 A4 A6 A14
#[test]
fn whole_files_and_directives() {
    let rows = [
        ("", "the Dockerfile cannot be empty"),
        ("# x\n", "file with no instructions"),
        ("ARG A\n", "dockerfile contains no stages to build"),
        (
            "RUN x\nFROM a\n",
            "1:1 [RUN] no build stage in current context: `RUN` stands before the first FROM",
        ),
        (
            "# syntax=a\n# Syntax = b\nFROM a\n",
            "2:1 [# Syntax = b] only one syntax parser directive can be used",
        ),
        (
            "# check=skip=all\n# check=skip=all\nFROM a\n",
            "2:1 [# check=skip=all] only one check parser directive can be used",
        ),
        (
            "# escape=x\nFROM a\n",
            "1:1 [# escape=x] invalid escape token 'x' does not match ` or \\",
        ),
        (
            "# check=skp=all\nFROM a\n",
            "1:1 [# check=skp=all] invalid check option `skp=all`: expected skip=RULE,..., error=true or \
             experimental=RULE,...",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(refused(text), [expected], "{text}");
    }
}

// conformance: A15 A18 A25
#[test]
fn instructions_and_from() {
    check(
        refused,
        &[
            (
                "RNU x",
                "2:1 [RNU] unknown instruction: RNU (did you mean RUN?)",
            ),
            (
                "  \n  entrypont x",
                "3:3 [entrypont] unknown instruction: entrypont (did you mean ENTRYPOINT?)",
            ),
            ("Zzz", "2:1 [Zzz] unknown instruction: Zzz"),
            (
                "FROM",
                "2:1 [FROM] FROM requires either one or three arguments",
            ),
            (
                "FROM a b",
                "2:1 [FROM] FROM requires either one or three arguments",
            ),
            (
                "FROM a IS b",
                "2:1 [FROM] FROM requires either one or three arguments",
            ),
            (
                "FROM a AS 1x",
                "2:11 [1x] invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
            ),
            (
                "FROM --paltform=x a",
                "2:6 [--paltform=x] unknown flag: --paltform (did you mean platform?)",
            ),
            (
                "FROM --platform=x --platform=y a",
                "2:19 [--platform=y] duplicate flag specified: --platform",
            ),
            (
                "FROM --platform a",
                "2:6 [--platform] missing a value on flag: --platform",
            ),
        ],
    );
}

// conformance: A17 A18 A19 A20 A26 B14 E45
#[test]
fn copy_and_add() {
    check(
        refused,
        &[
            (
                "COPY a",
                "2:1 [COPY] COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            (
                "ADD a",
                "2:1 [ADD] ADD requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            (
                "COPY a <<E\nE",
                "2:6 [a <<E] COPY cannot accept a heredoc as a destination",
            ),
            (
                "COPY [\"a\", 1]",
                "2:6 [[\"a\", 1]] arrays must be comprised of strings only",
            ),
            (
                "COPY <<E /\nx",
                "2:6 [<<E] unterminated heredoc: no line consists of `E` alone",
            ),
            (
                "COPY --form=b a /",
                "2:6 [--form=b] unknown flag: --form (did you mean from?)",
            ),
            (
                "COPY --checksum=x a /",
                "2:6 [--checksum=x] unknown flag: --checksum (a flag of ADD)",
            ),
            (
                "COPY --form=b \\\n --x a /",
                "2:6 [--form=b] unknown flag: --form (did you mean from?)",
            ),
            (
                "COPY \\\n\t--chwon=b a /",
                "3:2 [--chwon=b] unknown flag: --chwon (did you mean chown?)",
            ),
            (
                "COPY --link --link a /",
                "2:13 [--link] duplicate flag specified: --link",
            ),
            (
                "COPY --chown=1 --chown=1 a /",
                "2:16 [--chown=1] duplicate flag specified: --chown",
            ),
            (
                "COPY --link=maybe a /",
                "2:6 [--link=maybe] expecting boolean value for flag --link, not: maybe",
            ),
            (
                "COPY --parents= a /",
                "2:6 [--parents=] missing a value on flag: --parents",
            ),
            (
                "COPY --from a /",
                "2:6 [--from] missing a value on flag: --from",
            ),
            (
                "COPY --from=$x a /",
                "2:6 [--from=$x] 'from' doesn't support variable expansion, define alias stage instead: `FROM $x AS name`, then `--from=name`",
            ),
            (
                "COPY https://x.example/f /",
                "2:6 [https://x.example/f /] source can't be a URL for COPY",
            ),
            (
                "COPY git@x.example:r.git /",
                "2:6 [git@x.example:r.git /] source can't be a URL for COPY",
            ),
            (
                "ADD --from=b a /",
                "2:5 [--from=b] unknown flag: --from (a flag of COPY)",
            ),
            (
                "ADD --parents a /",
                "2:5 [--parents] unknown flag: --parents (a flag of COPY)",
            ),
            (
                "ADD --unpak a /",
                "2:5 [--unpak] unknown flag: --unpak (did you mean unpack?)",
            ),
            (
                "ADD --unpack=1 a /",
                "2:5 [--unpack=1] expecting boolean value for flag --unpack, not: 1",
            ),
            (
                "ADD --keep-git-dir --keep-git-dir a /",
                "2:20 [--keep-git-dir] duplicate flag specified: --keep-git-dir",
            ),
        ],
    );
}

// conformance: A18 D24 D25 D38 D39 B14
#[test]
fn run() {
    check(
        refused,
        &[
            (
                "RUN --mont=x y",
                "2:5 [--mont=x] unknown flag: --mont (did you mean mount?)",
            ),
            (
                "RUN --mount y",
                "2:5 [--mount] missing a value on flag: --mount",
            ),
            (
                "RUN --mount=type=bnd,target=/x y",
                "2:5 [--mount=type=bnd,target=/x] unsupported mount type `bnd` (did you mean bind?)",
            ),
            (
                "RUN --mount=type=cache,taget=/x y",
                "2:5 [--mount=type=cache,taget=/x] unexpected key 'taget' in 'taget=/x' (did you mean target?)",
            ),
            (
                "RUN --mount=type=tmpfs,id=a,target=/x y",
                "2:5 [--mount=type=tmpfs,id=a,target=/x] unexpected key 'id' for mount type 'tmpfs': it takes type, target, readonly, readwrite, size",
            ),
            (
                "RUN --mount=type=bind,target=/ y",
                "2:5 [--mount=type=bind,target=/] invalid mount target \"/\": bind needs a path below the root",
            ),
            (
                "RUN --mount=target=/x,mode=9 y",
                "2:5 [--mount=target=/x,mode=9] unexpected key 'mode' for mount type 'bind': it takes type, target, source, from, readonly, readwrite",
            ),
            (
                "RUN --mount=type=cache,target=/x,mode=9 y",
                "2:5 [--mount=type=cache,target=/x,mode=9] invalid value for mode: `9`, expected an octal number up to 7777",
            ),
            (
                "RUN --mount=type=cache,target=/x,uid=a y",
                "2:5 [--mount=type=cache,target=/x,uid=a] invalid value for uid: `a`, expected a decimal number",
            ),
            (
                "RUN --mount=type=cache,target=/x,sharing=lock y",
                "2:5 [--mount=type=cache,target=/x,sharing=lock] invalid value for sharing: `lock`, expected shared, private or locked (did you mean locked?)",
            ),
            (
                "RUN --mount=target=/x,from=$b y",
                "2:5 [--mount=target=/x,from=$b] 'from' doesn't support variable expansion, define alias stage instead: `FROM $b AS name`, then `from=name`",
            ),
            (
                "RUN --mount=target y",
                "2:5 [--mount=target] invalid field 'target' must be a key=value pair",
            ),
            (
                "RUN --network=nne y",
                "2:5 [--network=nne] invalid value `nne` for flag --network: expected default, none or host (did you mean none?)",
            ),
            (
                "RUN --network=none --network=none y",
                "2:20 [--network=none] duplicate flag specified: --network",
            ),
            (
                "RUN --security=sandbx y",
                "2:5 [--security=sandbx] invalid value `sandbx` for flag --security: expected sandbox or insecure (did you mean sandbox?)",
            ),
            (
                "RUN --security=sandbox --security=sandbox y",
                "2:24 [--security=sandbox] duplicate flag specified: --security",
            ),
            (
                "RUN [\"a\", 1]",
                "2:5 [[\"a\", 1]] arrays must be comprised of strings only",
            ),
            (
                "RUN <<E <<F\nE\n",
                "2:9 [<<F] unterminated heredoc: no line consists of `F` alone",
            ),
        ],
    );
}

// conformance: A21 A23 A24 A27
#[test]
fn other_instructions() {
    check(
        refused,
        &[
            ("ENV", "2:1 [ENV] ENV requires at least one argument"),
            ("ENV A", "2:1 [ENV] ENV must have two arguments"),
            (
                "ENV a=b c",
                "2:9 [c] Syntax error - can't find = in \"c\". Must be of the form: name=value",
            ),
            ("ENV =b", "2:5 [=b] ENV names can not be blank"),
            ("ENV --x=1 a=b", "2:5 [--x=1] unknown flag: --x"),
            ("LABEL a=b =c", "2:11 [=c] LABEL names can not be blank"),
            ("ARG", "2:1 [ARG] ARG requires at least one argument"),
            ("ARG a =b", "2:7 [=b] ARG names can not be blank"),
            (
                "EXPOSE",
                "2:1 [EXPOSE] EXPOSE requires at least one argument",
            ),
            (
                "VOLUME",
                "2:1 [VOLUME] VOLUME requires at least one argument",
            ),
            (
                "VOLUME []",
                "2:1 [VOLUME] VOLUME requires at least one argument",
            ),
            (
                "VOLUME [\"\"]",
                "2:8 [[\"\"]] VOLUME specified can not be an empty string",
            ),
            ("USER", "2:1 [USER] USER requires exactly one argument"),
            (
                "WORKDIR",
                "2:1 [WORKDIR] WORKDIR requires exactly one argument",
            ),
            (
                "STOPSIGNAL",
                "2:1 [STOPSIGNAL] STOPSIGNAL requires exactly one argument",
            ),
            (
                "MAINTAINER",
                "2:1 [MAINTAINER] MAINTAINER requires exactly one argument",
            ),
            (
                "SHELL /bin/sh",
                "2:7 [/bin/sh] SHELL requires the arguments to be in JSON form",
            ),
            (
                "SHELL []",
                "2:1 [SHELL] SHELL requires at least one argument",
            ),
            (
                "CMD [1]",
                "2:5 [[1]] arrays must be comprised of strings only",
            ),
            ("CMD --x y", "2:5 [--x] unknown flag: --x"),
        ],
    );
}

// conformance: A28 A29
#[test]
fn health_checks_and_triggers() {
    check(
        refused,
        &[
            (
                "HEALTHCHECK",
                "2:1 [HEALTHCHECK] HEALTHCHECK requires at least one argument",
            ),
            (
                "HEALTHCHECK x",
                "2:13 [x] Unknown type \"x\" in HEALTHCHECK (try CMD)",
            ),
            (
                "HEALTHCHECK NONE x",
                "2:18 [x] HEALTHCHECK NONE takes no arguments",
            ),
            (
                "HEALTHCHECK CMD",
                "2:13 [CMD] Missing command after HEALTHCHECK CMD",
            ),
            (
                "HEALTHCHECK --intrval=1s CMD x",
                "2:13 [--intrval=1s] unknown flag: --intrval (did you mean interval?)",
            ),
            (
                "HEALTHCHECK --retries=1 --retries=1 CMD x",
                "2:25 [--retries=1] duplicate flag specified: --retries",
            ),
            (
                "HEALTHCHECK --interval=1us CMD x",
                "2:13 [--interval=1us] Interval \"interval\" cannot be less than 1ms",
            ),
            (
                "HEALTHCHECK --timeout=5 CMD x",
                "2:13 [--timeout=5] missing unit in duration `5`: expected ns, us, ms, s, m or h in flag --timeout",
            ),
            (
                "HEALTHCHECK --retries=-1 CMD x",
                "2:13 [--retries=-1] --retries cannot be negative (-1)",
            ),
            (
                "HEALTHCHECK --retries=x CMD x",
                "2:13 [--retries=x] --retries is not a number: `x`",
            ),
            (
                "ONBUILD",
                "2:1 [ONBUILD] ONBUILD requires at least one argument",
            ),
            (
                "ONBUILD ONBUILD RUN x",
                "2:9 [ONBUILD] Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            (
                "ONBUILD FROM a",
                "2:9 [FROM] FROM isn't allowed as an ONBUILD trigger",
            ),
            (
                "ONBUILD MAINTAINER a",
                "2:9 [MAINTAINER] MAINTAINER isn't allowed as an ONBUILD trigger",
            ),
            (
                "ONBUILD COPY --form=b a /",
                "2:14 [--form=b] unknown flag: --form (did you mean from?)",
            ),
            (
                "ONBUILD RNU x",
                "2:9 [RNU] unknown instruction: RNU (did you mean RUN?)",
            ),
        ],
    );
}

// conformance: B8 B9 C5 C6 C13 E6 E29 E34 E46 F2 F13
#[test]
fn values_that_no_build_can_take() {
    check(
        doubted,
        &[
            (
                "COPY --chmod=999 a /",
                "2:6 [--chmod=999] invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
            ),
            (
                "ADD --chmod=u+y a /",
                "2:5 [--chmod=u+y] invalid chmod parameter: 'u+y'. it should be octal string and between 0 and 07777",
            ),
            (
                "COPY --exclude=a[ a /",
                "2:6 [--exclude=a[] syntax error in pattern: `a[`",
            ),
            ("COPY ok a[ /", "2:9 [a[] syntax error in pattern: `a[`"),
            ("COPY --from=3 a /", "2:6 [--from=3] invalid stage index 3"),
            (
                "COPY --from=0 a /",
                "2:6 [--from=0] cannot copy from stage \"0\", it needs to be defined before current stage \"stage-0\"",
            ),
            (
                "COPY --from=z a /\nFROM b AS Z",
                "2:6 [--from=z] cannot copy from stage \"z\", it needs to be defined before current stage \"stage-0\"",
            ),
            (
                "RUN --mount=from=z,target=/z x\nFROM b AS Z",
                "2:5 [--mount=from=z,target=/z] cannot copy from stage \"z\", it needs to be defined before current stage \"stage-0\"",
            ),
            (
                "ADD --checksum=x https://x.example/f /",
                "2:5 [--checksum=x] invalid value `x` for flag --checksum: write `sha256:` and 64 hexadecimal digits",
            ),
            (
                "ADD --checksum=x f /",
                "2:5 [--checksum=x] invalid value `x` for flag --checksum: the source has to be a URL or a git repository",
            ),
            (
                "ADD --checksum=x https://x.example/f g /",
                "2:5 [--checksum=x] invalid value `x` for flag --checksum: there has to be exactly one source",
            ),
            ("EXPOSE 80 abc", "2:11 [abc] invalid containerPort: abc"),
            ("EXPOSE 80/tpc", "2:8 [80/tpc] invalid proto: tpc"),
            (
                "STOPSIGNAL SIGTREM",
                "2:12 [SIGTREM] invalid signal: SIGTREM (did you mean SIGTERM?)",
            ),
            (
                "FROM --platform=a/b/c/d x",
                "2:6 [--platform=a/b/c/d] `a/b/c/d` is not a platform: write `os/architecture` or `os/architecture/variant`",
            ),
            (
                "FROM ${x:=y}",
                "2:6 [${x:=y}] failed to process \"${x:=y}\": unsupported modifier (:=) in substitution",
            ),
            (
                "ENV a=1 b='x",
                "2:11 ['x] failed to process \"'x\": unexpected end of statement while looking for matching single-quote",
            ),
            (
                "LABEL a=${",
                "2:9 [${] failed to process \"${\": syntax error: missing '}'",
            ),
            (
                "WORKDIR /a${}",
                "2:9 [/a${}] failed to process \"/a${}\": syntax error: bad substitution",
            ),
            (
                "USER ${x:YYY}",
                "2:6 [${x:YYY}] failed to process \"${x:YYY}\": unsupported modifier (:Y) in substitution",
            ),
            (
                "COPY --chown=${ a /",
                "2:6 [--chown=${] failed to process \"${\": syntax error: missing '}'",
            ),
            (
                "COPY a /${x/y",
                "2:8 [/${x/y] failed to process \"/${x/y\": syntax error: missing '/' in ${}",
            ),
        ],
    );
}

#[test]
fn values_that_may_be_right() {
    let rows = [
        "COPY --chmod=$M --chown=$O --exclude=$E $S /$D[",
        "COPY --from=image a /",
        "COPY --from=image:tag a[[]b /",
        "ADD --checksum=$C https://x.example/f /",
        "ADD --checksum=0123abc https://x.example/r.git /",
        "ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d http://x.example/f /",
        "ADD https://x.example/a[b /",
        "EXPOSE $P 80-90/UDP 127.0.0.1:80:80",
        "STOPSIGNAL $S",
        "USER ${x:?needed}",
        "FROM --platform=$P $I",
        "FROM --platform=windows(10.0.17763)/amd64 b",
        "FROM --platform=linux b",
        "ARG x=${",
        "ONBUILD STOPSIGNAL FOO",
        "VOLUME [\"/a b\"]",
    ];
    for lines in rows {
        assert_eq!(doubted(&format!("FROM a\n{lines}\n")), [""; 0], "{lines}");
    }
}

// conformance: A15
#[test]
fn a_fault_on_a_later_line_names_both_lines() {
    let error = parse(b"FROM a\nCOPY --link \\\n  --form=b a /\n").unwrap_err();
    assert_eq!(
        error.in_file("Dockerfile").to_string(),
        "Dockerfile:3:3: unknown flag: --form (did you mean from?), in the instruction on line 2\n\
         3 |   --form=b a /\n  |   ^^^^^^^^"
    );
    assert_eq!(error.line(), Some(2));
    let shown = error.to_string();
    assert!(shown.starts_with("dockerfile parse error on line 2: unknown flag"));
}

// conformance: A13
#[test]
fn lines_of_any_length() {
    let long = "x".repeat(200_000);
    let text = format!("FROM a\n# {long}\nRUN echo {long} \\\n {long}\nRUN <<E\n{long}\nE\n");
    let file = parse(text.as_bytes()).unwrap();
    let [first, second] = file.stages[0].instructions.as_slice() else {
        panic!("two instructions")
    };
    assert_eq!(first.source.len(), "RUN echo ".len() + 2 * long.len() + 2);
    assert_eq!(second.span.end.line, 7);
    assert_eq!(file.comments[0].text.len(), long.len());
    assert_eq!(
        refused(&format!("FROM a\nENV {long}\n")),
        ["2:1 [ENV] ENV must have two arguments"]
    );
}
