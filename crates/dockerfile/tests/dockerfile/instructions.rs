//! One table per group of instructions: the line, and what it becomes or why it does not.

use std::time::Duration;

use kiln_dockerfile::{
    Command, CommandLine, Fault, HealthTest, Instruction, KeyValue, Run, Source, parse,
};

/// The instruction of a stage that has only `line`.
fn instruction(line: &str) -> Result<Instruction, String> {
    let file = parse(format!("FROM scratch\n{line}").as_bytes());
    match file {
        Ok(mut file) => Ok(file.stages[0].instructions.remove(0)),
        Err(error) => Err(error.errors[0].fault.to_string()),
    }
}

fn command(line: &str) -> Result<Command, String> {
    instruction(line).map(|i| i.command)
}

fn run(text: &str) -> Run {
    match command(text) {
        Ok(Command::Run(run)) => run,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(rows: &[(&str, &str)]) {
    assert!(!rows.is_empty());
    for (line, expected) in rows {
        assert_eq!(
            command(line).map(|_| ()),
            Err((*expected).to_owned()),
            "{line}"
        );
    }
}

fn shell(text: &str) -> CommandLine {
    CommandLine::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> CommandLine {
    CommandLine::Exec(words.iter().map(|w| (*w).to_owned()).collect())
}

// conformance: A8, A20, A21, A30
#[test]
fn command_lines() {
    let rows = [
        (r#"CMD ["a","b c"]"#, exec(&["a", "b c"])),
        ("cmd  a  b ", shell("a  b")),
        ("CMD []", exec(&[])),
        ("CMD", shell("")),
        ("CMD ['a']", shell("['a']")),
        (r#"CMD ["a"] b"#, shell(r#"["a"] b"#)),
        (r#"CMD ["C:\d"]"#, shell(r#"["C:\d"]"#)),
        ("CMD \\\n [\"a\", \\\n # no\n  \"b\"]", exec(&["a", "b"])),
        // Only RUN, COPY and ADD have heredocs.
        ("CMD cat <<EOF", shell("cat <<EOF")),
    ];
    for (line, expected) in rows {
        assert_eq!(command(line), Ok(Command::Cmd(expected)), "{line}");
    }
    // What is no JSON is words, where words are expected.
    for (line, sources, destination) in [
        ("COPY ['a', 'b']", ["['a',"], "'b']"),
        (r#"COPY ["a"] /b"#, [r#"["a"]"#], "/b"),
        (r#"COPY ["C:\d", "/b"]"#, [r#"["C:\d","#], r#""/b"]"#),
    ] {
        let Ok(Command::Copy(copy)) = command(line) else {
            panic!("{line}");
        };
        let sources = sources.map(|source| Source::Path(source.to_owned()));
        assert_eq!(copy.sources, sources, "{line}");
        assert_eq!(copy.destination, destination, "{line}");
        let Ok(Command::Add(add)) = command(&line.replace("COPY", "ADD")) else {
            panic!("ADD as {line}");
        };
        assert_eq!(add.sources, sources, "ADD as {line}");
    }
    assert_eq!(
        command("ENTRYPOINT []trailing"),
        Ok(Command::Entrypoint(shell("[]trailing")))
    );
    assert_eq!(run("RUN").command, shell(""));
    assert_eq!(run("RUN \\").command, shell(""));
    let words = vec!["/bin/bash".to_owned(), "-c".to_owned()];
    assert_eq!(
        command(r#"SHELL ["/bin/bash","-c"]"#),
        Ok(Command::Shell(words))
    );
    refused(&[
        (r#"CMD ["a",1]"#, "arrays must be comprised of strings only"),
        (
            r#"RUN ["a",null]"#,
            "arrays must be comprised of strings only",
        ),
        (
            r#"COPY ["a",{}]"#,
            "arrays must be comprised of strings only",
        ),
        (
            "SHELL /bin/sh -c",
            "SHELL requires the arguments to be in JSON form",
        ),
        ("SHELL []", "SHELL requires at least one argument"),
        ("SHELL", "SHELL requires at least one argument"),
        ("CMD --port 80", "unknown flag: --port"),
    ]);
}

// conformance: A22, A23, F1
#[test]
fn pairs() {
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("a=b", &[("a", "b")]),
        (
            "a=b c=\"d e\" f='$g'",
            &[("a", "b"), ("c", "\"d e\""), ("f", "'$g'")],
        ),
        ("ONE TWO= THREE=world", &[("ONE", "TWO= THREE=world")]),
        ("A  b   c ", &[("A", "b   c")]),
        ("a=b=c", &[("a", "b=c")]),
        ("a=", &[("a", "")]),
        (
            "a=b\\ c d=\\\n  e=f",
            &[("a", "b\\ c"), ("d", ""), ("e", "f")],
        ),
        ("\"b c\"=\"d e\"", &[("\"b c\"", "\"d e\"")]),
    ];
    assert!(!rows.is_empty());
    for (args, expected) in rows {
        let pair = |(key, value): &(&str, &str)| KeyValue {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        let expected: Vec<KeyValue> = expected.iter().map(pair).collect();
        let env = command(&format!("ENV {args}"));
        assert_eq!(env, Ok(Command::Env(expected.clone())), "{args}");
        assert_eq!(
            command(&format!("LABEL {args}")),
            Ok(Command::Label(expected)),
            "{args}"
        );
    }
    refused(&[
        (
            "ENV a=b c",
            "Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("ENV A", "ENV must have two arguments"),
        ("LABEL A", "LABEL must have two arguments"),
        ("ENV =x", "ENV names can not be blank"),
        ("LABEL a=b =x", "LABEL names can not be blank"),
        ("ENV", "ENV requires at least one argument"),
        ("LABEL", "LABEL requires at least one argument"),
    ]);
}

// conformance: A24
#[test]
fn args() {
    let Ok(Command::Arg(args)) = command("ARG a=1 b c=3 d= e=\"x y\"") else {
        panic!("no ARG");
    };
    let shown: Vec<_> = args
        .iter()
        .map(|a| (a.name.as_str(), a.default.as_deref()))
        .collect();
    let expected = [
        ("a", Some("1")),
        ("b", None),
        ("c", Some("3")),
        ("d", Some("")),
        ("e", Some("\"x y\"")),
    ];
    assert_eq!(shown, expected);
    refused(&[
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
    ]);
}

// conformance: A25
#[test]
fn from() {
    let rows = [
        ("FROM a", Ok(("a", None, None))),
        ("from a as B.c-d_1", Ok(("a", Some("b.c-d_1"), None))),
        (
            "FROM --platform=$BUILDPLATFORM a:1 aS x",
            Ok(("a:1", Some("x"), Some("$BUILDPLATFORM"))),
        ),
        ("FROM", Err("FROM requires either one or three arguments")),
        (
            "FROM a b",
            Err("FROM requires either one or three arguments"),
        ),
        (
            "FROM a AS b c",
            Err("FROM requires either one or three arguments"),
        ),
        (
            "FROM a AS 1x",
            Err(
                "invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
            ),
        ),
        (
            "FROM a AS _x",
            Err(
                "invalid name for build stage: \"_x\", name can't start with a number or contain symbols",
            ),
        ),
        (
            "FROM a AS x/y",
            Err(
                "invalid name for build stage: \"x/y\", name can't start with a number or contain symbols",
            ),
        ),
        (
            "FROM --plaform=x a",
            Err("unknown flag: --plaform (did you mean platform?)"),
        ),
    ];
    for (line, expected) in rows {
        let got = parse(line.as_bytes());
        let got = match &got {
            Ok(file) => {
                let stage = &file.stages[0];
                let (from, name) = (&stage.from, stage.name.as_deref());
                Ok((from.image.as_str(), name, from.platform.as_deref()))
            }
            Err(error) => Err(error.errors[0].fault.to_string()),
        };
        assert_eq!(got, expected.map_err(str::to_owned), "{line}");
    }
}

// conformance: A18, A26, B14, E45
#[test]
fn copy_and_add() {
    let Ok(Command::Copy(copy)) = command(
        "COPY --from=base --chown=1:2 --chmod=755 --link --parents --exclude=*.md --exclude=!a x y/ /z/",
    ) else {
        panic!("no COPY");
    };
    let path = |p: &str| Source::Path(p.to_owned());
    assert_eq!(copy.sources, [path("x"), path("y/")]);
    assert_eq!(copy.destination, "/z/");
    assert_eq!(copy.from.as_deref(), Some("base"));
    assert_eq!(copy.chown.as_deref(), Some("1:2"));
    assert_eq!(copy.chmod.as_deref(), Some("755"));
    assert!(copy.link && copy.parents);
    assert_eq!(copy.excludes, ["*.md", "!a"]);

    let Ok(Command::Add(add)) = command(
        "ADD --checksum=sha256:0 --keep-git-dir=true --unpack=false [\"https://h/a b\", \"/d\"]",
    ) else {
        panic!("no ADD");
    };
    assert_eq!(add.sources, [path("https://h/a b")]);
    assert_eq!((add.keep_git_dir, add.unpack), (Some(true), Some(false)));
    assert_eq!(add.checksum.as_deref(), Some("sha256:0"));

    let alone = "requires at least two arguments, but only one was provided. Destination could not be determined";
    let from = "'from' doesn't support variable expansion, define alias stage instead: `FROM $x AS name`, then `--from=name`";
    refused(&[
        ("COPY a", &format!("COPY {alone}")),
        ("ADD", &format!("ADD {alone}")),
        ("COPY [\"a\"]", &format!("COPY {alone}")),
        (
            "COPY a <<EOF\nEOF",
            "COPY cannot accept a heredoc as a destination",
        ),
        ("COPY --from=$x a b", from),
        ("COPY http://h/a b", "source can't be a URL for COPY"),
        ("COPY git@h:r b", "source can't be a URL for COPY"),
        (
            "COPY --form=x a b",
            "unknown flag: --form (did you mean from?)",
        ),
        ("ADD --from=x a b", "unknown flag: --from (a flag of COPY)"),
        (
            "COPY --link=maybe a b",
            "expecting boolean value for flag --link, not: maybe",
        ),
    ]);
}

// conformance: A4, A30, A31, A33, E49
#[test]
fn copied_heredocs() {
    let text = "COPY a <<-\"X\" << Y b /d/\n\t# no comment\n\n\tX\n$y \\\nX\nY\n";
    let Ok(Command::Copy(copy)) = command(text) else {
        panic!("no COPY")
    };
    let [
        Source::Path(a),
        Source::Heredoc(x),
        Source::Heredoc(y),
        Source::Path(b),
    ] = copy.sources.as_slice()
    else {
        panic!("{:?}", copy.sources);
    };
    assert_eq!(
        (a.as_str(), b.as_str(), copy.destination.as_str()),
        ("a", "b", "/d/")
    );
    assert_eq!(
        (x.name.as_str(), x.content.as_str()),
        ("X", "# no comment\n\n")
    );
    assert!(x.chomp && !x.expand);
    assert_eq!((y.name.as_str(), y.content.as_str()), ("Y", "$y \\\nX\n"));
    assert!(y.expand && !y.chomp);
    // In the JSON form it is a file name.
    let Ok(Command::Copy(copy)) = command("COPY [\"<<EOF\", \"/d\"]") else {
        panic!("no COPY")
    };
    assert_eq!(copy.sources, [Source::Path("<<EOF".to_owned())]);
    let Ok(Command::Add(add)) = command("ADD 3<<-A a /d/\n\tx\n\tA\n") else {
        panic!("no ADD")
    };
    assert!(matches!(&add.sources[0], Source::Heredoc(a) if a.content == "x\n"));
    // Whatever the escape character of the file, a delimiter is quoted as in a shell.
    for (delimiter, name, expand) in [("E\\OF", "EOF", false), ("E`OF", "E`OF", true)] {
        let text = format!("# escape=`\nFROM a\nCOPY <<{delimiter} /f\n$x\n{name}\n");
        let file = parse(text.as_bytes()).unwrap();
        let Command::Copy(copy) = &file.stages[0].instructions[0].command else {
            panic!("no COPY")
        };
        let Source::Heredoc(found) = &copy.sources[0] else {
            panic!("{:?}", copy.sources)
        };
        assert_eq!((found.name.as_str(), found.expand), (name, expand));
    }
}

// conformance: A30, A32, A33, D21, D22, D23
#[test]
fn run_heredocs() {
    let alone = run("RUN --network=none <<EOF\n#!/bin/sh\necho \\\n\n# x\nEOF\n");
    assert_eq!(
        alone.script().map(|h| h.content.as_str()),
        Some("#!/bin/sh\necho \\\n\n# x\n")
    );
    assert_eq!(alone.command, shell("<<EOF"));

    let crlf = run("RUN <<EOF\r\na\r\nEOF\r\n");
    assert_eq!(crlf.script().map(|h| h.content.as_str()), Some("a\r\n"));

    let rows = [
        (
            "RUN python3 <<EOF\nprint()\nEOF",
            "python3 <<EOF\nprint()\nEOF",
        ),
        (
            "RUN cat <<A <<B | x\na\nA\nb\nB\n",
            "cat <<A <<B | x\na\nA\nb\nB",
        ),
        ("RUN 3<<EOF\na\nEOF", "3<<EOF\na\nEOF"),
        ("RUN cat <<EOF>f\na\nEOF", "cat <<EOF>f\na\nEOF"),
        ("RUN <<A <<B\na\nA\nb\nB", "<<A <<B\na\nA\nb\nB"),
        ("RUN cat <<A && \\\n  x\na\nA", "cat <<A &&   x\na\nA"),
    ];
    for (text, expected) in rows {
        let run = run(text);
        assert!(run.script().is_none(), "{text}");
        assert_eq!(run.shell_text(), expected);
    }
    assert_eq!(run("RUN echo $((1 << 2))").heredocs, []);
    assert_eq!(run("RUN [\"echo\", \"<<EOF\"]").heredocs, []);
    refused(&[(
        "RUN <<EOF\na\n EOF\n",
        "unterminated heredoc: no line consists of `EOF` alone",
    )]);
}

// conformance: A17, A18, D24, D39
#[test]
fn run_flags() {
    let run = run(
        "RUN --mount=type=cache,target=/a --mount=type=ssh --security=insecure --device=x --device=z y",
    );
    assert_eq!(run.mounts, ["type=cache,target=/a", "type=ssh"]);
    assert_eq!(run.security.as_deref(), Some("insecure"));
    assert_eq!(run.devices, ["x", "z"]);
    assert_eq!(run.command, shell("y"));
    refused(&[
        (
            "RUN --mont=x y",
            "unknown flag: --mont (did you mean mount?)",
        ),
        (
            "RUN --network=hots y",
            "invalid value `hots` for flag --network: expected default, none or host (did you mean host?)",
        ),
        (
            "RUN --mount=type=cach,target=/a y",
            "unsupported mount type `cach` (did you mean cache?)",
        ),
        (
            "RUN --mount=tagret=$x y",
            "unexpected key 'tagret' in 'tagret=$x' (did you mean target?)",
        ),
    ]);
}

// conformance: A20, A27
#[test]
fn single_values_and_lists() {
    let text = |t: &str| t.to_owned();
    let list = |l: &[&str]| l.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let rows = [
        ("WORKDIR  /a b ", Command::Workdir(text("/a b"))),
        ("USER \"\"", Command::User(text("\"\""))),
        ("USER a  b ", Command::User(text("a  b"))),
        ("STOPSIGNAL SIGTERM", Command::Stopsignal(text("SIGTERM"))),
        ("STOPSIGNAL $A  $B", Command::Stopsignal(text("$A  $B"))),
        (
            "MAINTAINER A B <a@b>",
            Command::Maintainer(text("A B <a@b>")),
        ),
        (
            "EXPOSE 80 $P  90/udp",
            Command::Expose(list(&["80", "$P", "90/udp"])),
        ),
        ("VOLUME /a /b", Command::Volume(list(&["/a", "/b"]))),
        ("VOLUME [\"/a b\"]", Command::Volume(list(&["/a b"]))),
        (
            "VOLUME /a [\"b\"]",
            Command::Volume(list(&["/a", "[\"b\"]"])),
        ),
        (
            "VOLUME ['/a' , b]",
            Command::Volume(list(&["['/a'", ",", "b]"])),
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(command(line), Ok(expected), "{line}");
    }
    refused(&[
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER ", "USER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        (
            "VOLUME [\" \"]",
            "VOLUME specified can not be an empty string",
        ),
    ]);
}

// conformance: A28, F12
#[test]
fn healthchecks() {
    let Ok(Command::Healthcheck(check)) = command(
        "HEALTHCHECK --interval=1m30s --timeout=1ms --start-period=0s --retries=3 cmd curl -f x",
    ) else {
        panic!("no HEALTHCHECK");
    };
    assert_eq!(check.test, HealthTest::Shell("curl -f x".to_owned()));
    assert_eq!(check.interval, Some(Duration::from_secs(90)));
    assert_eq!(check.timeout, Some(Duration::from_millis(1)));
    assert_eq!(
        (check.start_period, check.start_interval, check.retries),
        (None, None, Some(3))
    );
    let Ok(Command::Healthcheck(check)) = command("HEALTHCHECK --retries=0 CMD [\"a\"]") else {
        panic!("no HEALTHCHECK");
    };
    assert_eq!(
        (check.test, check.retries),
        (HealthTest::Exec(vec!["a".to_owned()]), None)
    );
    assert!(matches!(
        command("HEALTHCHECK none"),
        Ok(Command::Healthcheck(_))
    ));
    refused(&[
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        (
            "HEALTHCHECK curl x",
            "Unknown type \"curl\" in HEALTHCHECK (try CMD)",
        ),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        (
            "HEALTHCHECK --retries=-1 CMD x",
            "--retries cannot be negative (-1)",
        ),
        (
            "HEALTHCHECK --retries=x CMD x",
            "--retries is not a number: `x`",
        ),
        (
            "HEALTHCHECK --timeout=1us CMD x",
            "Interval \"timeout\" cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --timeout=-1s CMD x",
            "Interval \"timeout\" cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --timeout=3 CMD x",
            "missing unit in duration `3`: expected ns, us, ms, s, m or h in flag --timeout",
        ),
    ]);
}

#[test]
fn sources_keep_what_was_written() {
    let instruction = instruction("  env  A=b \\\n# c\n   C=d  ").unwrap();
    assert_eq!(instruction.source, "env  A=b    C=d");
    assert_eq!(instruction.span.start.to_string(), "2:3");
    assert_eq!(instruction.span.end.line, 4);
}

#[test]
fn latin1_in_a_comment_is_fine() {
    assert!(parse(b"# caf\xe9\nFROM a\n").is_ok());
    let error = parse(b"FROM a\nRUN caf\xe9\n").unwrap_err();
    assert_eq!(
        (error.line(), &error.errors[0].fault),
        (Some(2), &Fault::NotUtf8)
    );
}
