//! What changes the key of a step, and what does not: each row is a build, a change, and a build after it.
//!
//! Rows read `COPY hit, RUN miss`: what became of the steps in the second build. Stages have names, `stage: steps`.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_e2e::{
    Base, Case, Context, HttpServer, Image, ImageSpec, Proxy, Response, SshAgent, TarTree,
    kiln_only, needs_root,
};

/// A build, what is changed, and what becomes of the steps.
struct Row {
    name: &'static str,
    lines: String,
    then: String,
    flags: [String; 2],
    env: [Option<(&'static str, &'static str)>; 2],
    change: fn(&Path),
    steps: &'static str,
}

/// A row in which nothing changes and everything is a hit; `BASE` is busybox.
fn row(name: &'static str, lines: &str) -> Row {
    Row {
        name,
        lines: lines.to_owned(),
        then: lines.to_owned(),
        flags: [String::new(), String::new()],
        env: [None, None],
        change: |_| {},
        steps: "",
    }
}

impl Row {
    /// The Dockerfile of the second build.
    fn then(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.then);
        self
    }

    /// The second Dockerfile has this text in place of that.
    fn with(mut self, text: &str, other: &str) -> Self {
        assert!(
            self.lines.contains(text),
            "{}: nothing to change",
            self.name
        );
        self.then = self.lines.replace(text, other);
        self
    }

    /// Flags of the first build and of the second.
    fn flags(mut self, first: &str, second: &str) -> Self {
        self.flags = [first.to_owned(), second.to_owned()];
        self
    }

    /// A variable of the environment in the second build only.
    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env[1] = Some((name, value));
        self
    }

    /// What happens to the context, and its neighbours in the case's folder.
    fn change(mut self, change: fn(&Path)) -> Self {
        self.change = change;
        self
    }

    fn is(mut self, steps: &'static str) -> Self {
        self.steps = steps;
        self
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The context that all rows start with.
fn context(case: &Case) -> Context {
    case.context()
        .file("a", "one\n")
        .file("bc", "two\n")
        .file("ab", "one\n")
        .file("c", "two\n")
        .file("dir/x", "x\n")
        .file("dir/sub/y", "y\n")
        .symlink("dir/link", "x")
        .symlink("outward", "a")
        .file("ignored", "never seen\n")
        .file(".dockerignore", "ignored*\nDockerfile\n")
}

/// Builds every row twice; a row whose steps are all hits must not have moved a layer either (H21).
fn check(rows: Vec<Row>) {
    assert!(!rows.is_empty());
    let mut wrong = Vec::new();
    for row in rows {
        let case = Case::new();
        let proxy = Proxy::before(case.registry().host());
        let repository = proxy.reference(&format!("{}/cache", case.id().to_lowercase()));
        let base = case.base(Base::Busybox);
        let context = context(&case);
        let build = |lines: &str, number: usize| {
            let dockerfile = context.path().join("Dockerfile");
            fs::write(dockerfile, lines.replace("BASE", &base)).unwrap();
            let build = case.build(&context).no_push().cached_in(&repository);
            let build = build.args(&row.flags[number]).env("SECRET", "s");
            let build = match row.env[number] {
                Some((name, value)) => build.env(name, value),
                None => build,
            };
            let outcome = build.run();
            outcome.ok();
            outcome
        };
        let first = build(&row.lines, 0);
        assert!(
            !first.log.contains("cached in"),
            "{}\n{}",
            row.name,
            first.log
        );
        proxy.forget();
        (row.change)(context.path());
        let second = build(&row.then, 1);
        for expected in row.steps.split("; ") {
            let (stage, steps) = expected.split_once(": ").unwrap_or(("stage-0", expected));
            let steps = if steps == "left out" { "" } else { steps };
            let found = second.steps(stage);
            if found != steps {
                let name = row.name;
                let log = &second.log;
                wrong.push(format!("{name}: {stage}: {found}, not {steps}\n{log}"));
            }
        }
        if !row.steps.contains("miss") && !proxy.downloads().is_empty() {
            wrong.push(format!("{}: fetched {:?}", row.name, proxy.downloads()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// conformance: H6 H7 H17
#[test]
fn files_of_the_context_count_by_what_will_be_written() {
    const A: &str = "FROM scratch\nCOPY a /\n";
    const DIR: &str = "FROM scratch\nCOPY dir /dir/\n";
    const ALL: &str = "FROM scratch\nCOPY . /all/\n";
    kiln_only!();
    check(vec![
        row("nothing", A).is("COPY hit"),
        row("touch", A)
            .change(|dir| write(&dir.join("a"), "one\n"))
            .is("COPY hit"),
        row("other content of equal size", A)
            .change(|dir| write(&dir.join("a"), "ONE\n"))
            .is("COPY miss"),
        row("chmod +x", A)
            .change(|dir| mode(&dir.join("a"), 0o755))
            .is("COPY miss"),
        row("mode of a directory", DIR)
            .change(|dir| mode(&dir.join("dir/sub"), 0o700))
            .is("COPY miss"),
        row("rename", DIR)
            .change(|dir| fs::rename(dir.join("dir/x"), dir.join("dir/z")).unwrap())
            .is("COPY miss"),
        row("renamed across a `-`", DIR)
            .change(|dir| fs::rename(dir.join("dir/sub/y"), dir.join("dir/sub-y")).unwrap())
            .is("COPY miss"),
        row("new empty directory", ALL)
            .change(|dir| fs::create_dir(dir.join("dir/empty")).unwrap())
            .is("COPY miss"),
        row("removed file", ALL)
            .change(|dir| fs::remove_file(dir.join("dir/x")).unwrap())
            .is("COPY miss"),
        row("ignored file", ALL)
            .change(|dir| write(&dir.join("ignored"), "changed\n"))
            .is("COPY hit"),
        row("new ignored file", ALL)
            .change(|dir| write(&dir.join("ignored-too"), "new\n"))
            .is("COPY hit"),
        row("file outside of the sources", DIR)
            .change(|dir| write(&dir.join("a"), "changed\n"))
            .is("COPY hit"),
        row("text of a symbolic link", DIR)
            .change(|dir| {
                fs::remove_file(dir.join("dir/link")).unwrap();
                symlink("sub/y", dir.join("dir/link")).unwrap();
            })
            .is("COPY miss"),
        row("file in place of a symbolic link", DIR)
            .change(|dir| {
                fs::remove_file(dir.join("dir/link")).unwrap();
                write(&dir.join("dir/link"), "x\n");
            })
            .is("COPY miss"),
        row(
            "file behind a link to outside",
            "FROM scratch\nCOPY dir/link /\n",
        )
        .change(|dir| write(&dir.join("dir/x"), "changed\n"))
        .is("COPY miss"),
        row("a second name of a file that is ignored", ALL)
            .change(|dir| fs::hard_link(dir.join("ignored"), dir.join("twin")).unwrap())
            .is("COPY miss"),
    ]);
}

// conformance: H6
#[test]
fn owners_in_the_context_do_not_count() {
    kiln_only!();
    needs_root!();
    check(vec![
        row("chown", "FROM scratch\nCOPY a dir /d/\n")
            .change(|dir| chown(dir.join("a"), Some(7), Some(8)).unwrap())
            .is("COPY hit"),
    ]);
}

// conformance: H1 H3 H5 H15
#[test]
fn a_copy_counts_as_it_acts() {
    const ARG: &str = "FROM scratch\nARG A=1\nCOPY a /$A/\n";
    kiln_only!();
    check(vec![
        row("variable in a path", ARG)
            .flags("--build-arg=A=1", "--build-arg=A=2")
            .is("COPY miss"),
        row("default of the variable", ARG)
            .with("A=1", "A=2")
            .is("COPY miss"),
        row("the same value from elsewhere", ARG)
            .with("ARG A=1", "ENV A=1")
            .is("COPY hit"),
        row(
            "words glued in another way",
            "FROM scratch\nCOPY a bc /d/\n",
        )
        .with("a bc", "ab c")
        .is("COPY miss"),
        row(
            "names glued in another way",
            "FROM scratch\nCOPY [\"a\", \"bc\", \"/d/\"]\n",
        )
        .with("\"a\", \"bc\"", "\"a bc\"")
        .change(|dir| fs::create_dir(dir.join("a bc")).unwrap())
        .is("COPY miss"),
        row("variable of an ADD", &ARG.replace("COPY", "ADD"))
            .flags("--build-arg=A=1", "--build-arg=A=2")
            .is("ADD miss"),
        row(
            "variable of a WORKDIR",
            "FROM scratch\nARG A=1\nWORKDIR /$A\n",
        )
        .flags("--build-arg=A=1", "--build-arg=A=2")
        .is("WORKDIR miss"),
        row("platform", "FROM scratch\nCOPY a /\n")
            .flags(
                "--custom-platform=linux/riscv64",
                "--custom-platform=linux/arm/v7",
            )
            .is("COPY miss"),
        row("destination", "FROM scratch\nCOPY a /d/\n")
            .with("/d/", "/d")
            .is("COPY miss"),
        row("chown", "FROM scratch\nCOPY --chown=1:2 a /\n")
            .with("1:2", "1:3")
            .is("COPY miss"),
        row("chmod", "FROM scratch\nCOPY --chmod=600 a /\n")
            .with("600", "640")
            .is("COPY miss"),
        row("no chmod", "FROM scratch\nCOPY --chmod=600 a /\n")
            .with("--chmod=600 ", "")
            .is("COPY miss"),
        row("blanks and comments", "FROM scratch\nCOPY a bc /d/\n")
            .with("a bc", "\\\n  a  \\\n# comment\n bc")
            .is("COPY hit"),
        row("WORKDIR", "FROM scratch\nWORKDIR /w\nCOPY a .\n")
            .with("/w", "/v")
            .is("WORKDIR miss, COPY miss"),
        row(
            "ENV and USER before",
            "FROM scratch\nENV A=1\nUSER 1\nCOPY a /\n",
        )
        .then("FROM scratch\nENV A=2\nUSER 2\nCOPY a /\n")
        .is("COPY hit"),
        row(
            "step before",
            "FROM scratch\nCOPY a /\nCOPY bc /\nWORKDIR /w\n",
        )
        .change(|dir| mode(&dir.join("a"), 0o600))
        .is("COPY miss, COPY miss, WORKDIR miss"),
        row("step after", "FROM scratch\nCOPY a /\nCOPY bc /\n")
            .change(|dir| mode(&dir.join("bc"), 0o600))
            .is("COPY hit, COPY miss"),
        row(
            "step before --link",
            "FROM scratch\nCOPY a /\nCOPY --link bc /\n",
        )
        .change(|dir| mode(&dir.join("a"), 0o600))
        .is("COPY miss, COPY hit"),
    ]);
}

// conformance: H14
#[test]
fn a_named_owner_counts_as_its_id() {
    const LINES: &str =
        "FROM BASE\nRUN echo new:x:7:7::/:/bin/sh >> /etc/passwd\nCOPY --chown=new a /\n";
    kiln_only!();
    needs_root!();
    check(vec![
        row("nothing", LINES).is("RUN hit, COPY hit"),
        row("id", LINES)
            .with("7:7", "8:7")
            .is("RUN miss, COPY miss"),
        // What is below is in the key of this one for its account alone.
        row("another id, --link", &LINES.replace("COPY", "COPY --link"))
            .with("7:7", "8:7")
            .is("RUN miss, COPY miss"),
        row("name", "FROM BASE\nCOPY --chown=app a /\n")
            .with("app", "daemon")
            .is("COPY miss"),
    ]);
}

// conformance: H8 H5
#[test]
fn bodies_of_heredocs_count_as_they_are_written() {
    const PLAIN: &str = "FROM scratch\nARG A=1\nCOPY <<E /f\nvalue $A\nE\n";
    const QUOTED: &str = "FROM scratch\nARG A=1\nCOPY <<'E' /f\nvalue $A\nE\n";
    kiln_only!();
    check(vec![
        row("nothing", PLAIN).is("COPY hit"),
        row("body", PLAIN).with("value", "VALUE").is("COPY miss"),
        row("variable", PLAIN).with("A=1", "A=2").is("COPY miss"),
        row("variable that is no variable", QUOTED)
            .with("A=1", "A=2")
            .is("COPY hit"),
        row("body of a quoted one", QUOTED)
            .with("value", "VALUE")
            .is("COPY miss"),
        row("delimiter", PLAIN)
            .then("FROM scratch\nARG A=1\nCOPY <<F /f\nvalue $A\nF\n")
            .is("COPY miss"),
    ]);
}

// conformance: H3 H4 H8 B26 B29
#[test]
fn a_run_counts_with_all_that_it_sees() {
    const ARG: &str = "FROM BASE\nARG A=1\nRUN date +%N > /d\nARG B=1\n";
    kiln_only!();
    needs_root!();
    check(vec![
        row("nothing", ARG).is("RUN hit"),
        row("command", ARG).with("/d", "/e").is("RUN miss"),
        row("declared, not named", ARG)
            .flags("--build-arg=A=1", "--build-arg=A=2")
            .is("RUN miss"),
        row("default", ARG).with("A=1", "A=2").is("RUN miss"),
        row("declared and without a value", ARG)
            .with("ARG A=1", "ARG A=1\nARG NONE")
            .is("RUN hit"),
        row("the default as a flag", ARG)
            .flags("", "--build-arg=A=1")
            .is("RUN hit"),
        row("declared later", ARG)
            .flags("", "--build-arg=B=2")
            .is("RUN hit"),
        row("undeclared", ARG)
            .flags("", "--build-arg=C=2")
            .is("RUN hit"),
        row("proxies", ARG)
            .flags(
                "",
                "--build-arg=HTTP_PROXY=http://u:p@host:1 --build-arg=no_proxy=x",
            )
            .is("RUN hit"),
        row("proxies of the environment", ARG)
            .env("FTP_PROXY", "http://u:p@host:1")
            .is("RUN hit"),
        row("global and not declared", &format!("ARG G=1\n{ARG}"))
            .with("G=1", "G=2")
            .is("RUN hit"),
        row("ENV", "FROM BASE\nENV A=1\nRUN date +%N > /d\n")
            .with("A=1", "A=2")
            .is("RUN miss"),
        row("USER", "FROM BASE\nUSER 1000\nRUN date\n")
            .with("1000", "1000:33")
            .is("RUN miss"),
        row(
            "WORKDIR that is there",
            "FROM BASE\nWORKDIR /tmp\nRUN date\n",
        )
        .with("/tmp", "/var")
        .is("WORKDIR miss, RUN miss"),
        row(
            "SHELL",
            "FROM BASE\nSHELL [\"/bin/sh\", \"-c\"]\nRUN date +%N > /d\n",
        )
        .with("\"-c\"", "\"-ec\"")
        .is("RUN miss"),
        row(
            "SHELL of an exec form",
            "FROM BASE\nSHELL [\"/bin/sh\", \"-c\"]\nRUN [\"true\"]\n",
        )
        .with("\"-c\"", "\"-ec\"")
        .is("RUN hit"),
        row(
            "body of a heredoc",
            "FROM BASE\nRUN <<E\ndate +%N > /d\nE\n",
        )
        .with("/d", "/e")
        .is("RUN miss"),
        row("continuation and comment", "FROM BASE\nRUN date && true\n")
            .with("&& true", "\\\n# comment\n&& true")
            .is("RUN hit"),
        row("network", "FROM BASE\nRUN date\n")
            .with("RUN", "RUN --network=none")
            .is("RUN miss"),
    ]);
}

// conformance: H3
#[test]
fn settings_of_the_image_are_in_no_key() {
    kiln_only!();
    needs_root!();
    let settings = "CMD [\"1\"]\nENTRYPOINT [\"1\"]\nLABEL a=1\nEXPOSE 1\nVOLUME /v1\nSTOPSIGNAL 1\n\
                    HEALTHCHECK CMD 1\nMAINTAINER 1\nONBUILD RUN 1\n";
    let lines = format!("FROM BASE\n{settings}COPY a /\nRUN date +%N > /d\nWORKDIR /w\n");
    let other = lines.replace('1', "2");
    check(vec![
        row("every one of them", &lines)
            .then(&other)
            .is("COPY hit, RUN hit, WORKDIR hit"),
        row("none of them", &lines)
            .with(settings, "")
            .is("COPY hit, RUN hit, WORKDIR hit"),
    ]);
}

// conformance: H10 D31 D36
#[test]
fn of_mounts_count_what_they_show_and_no_secret() {
    const BIND: &str = "FROM BASE\nRUN --mount=type=bind,source=dir,target=/m cat /m/x > /x\n";
    const CACHE: &str = "FROM BASE\nRUN --mount=type=cache,target=/m,id=ID date +%N > /m/d\n";
    const TMPFS: &str = "FROM BASE\nRUN --mount=type=tmpfs,target=/m,size=1m date > /m/d\n";
    const SECRET: &str = "FROM BASE\nRUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null\n";
    const STAGE: &str = "FROM BASE AS one\nCOPY a /\nFROM BASE\nRUN --mount=type=bind,from=one,target=/m cat /m/a > /x\n";
    kiln_only!();
    needs_root!();
    check(vec![
        row("bind", BIND).is("RUN hit"),
        row("content of a bind", BIND)
            .change(|dir| write(&dir.join("dir/sub/y"), "changed"))
            .is("RUN miss"),
        row("what a bind does not show", BIND)
            .change(|dir| write(&dir.join("a"), "changed"))
            .is("RUN hit"),
        row("target of a bind", BIND)
            .with("target=/m cat /m", "target=/n cat /n")
            .is("RUN miss"),
        row("bind of a stage", STAGE).is("one: left out; stage-1: RUN hit"),
        row("content of a stage", STAGE)
            .change(|dir| write(&dir.join("a"), "changed"))
            .is("one: COPY miss; stage-1: RUN miss"),
        row("what is in a cache", CACHE).is("RUN hit"),
        row("id of a cache", CACHE)
            .with("ID", "OTHER")
            .is("RUN miss"),
        row("tmpfs", TMPFS).is("RUN hit"),
        row("size of a tmpfs", TMPFS)
            .with("1m", "2m")
            .is("RUN miss"),
        row("secret", SECRET)
            .flags("--secret=id=s,src=context/a", "--secret=id=s,src=context/c")
            .is("RUN hit"),
        row("content of a secret", SECRET)
            .flags("--secret=id=s,src=context/a", "--secret=id=s,src=context/a")
            .change(|dir| write(&dir.join("a"), "changed"))
            .is("RUN hit"),
        row(
            "secret as a variable",
            "FROM BASE\nRUN --mount=type=secret,id=s,env=S date +%N > /d\n",
        )
        .flags("--secret=id=s,src=context/a", "--secret=id=s,env=SECRET")
        .change(|dir| write(&dir.join("a"), "changed"))
        .is("RUN hit"),
    ]);
}

/// Neither what an agent holds nor whether there is one counts.
// conformance: H10
#[test]
fn an_agent_does_not_count() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines = format!("FROM {base}\nRUN --mount=type=ssh date +%N > /d\n");
    let context = case.context().dockerfile(lines);
    let build = case
        .build(&context)
        .no_push()
        .cached_in(case.destination("cache"));
    build.run().went("RUN miss");
    let agent = SshAgent::start(&case);
    let ssh = format!("--ssh=default={}", agent.socket().display());
    build.arg(ssh).run().went("RUN hit");
}

// conformance: F15 H13
#[test]
fn flags_about_the_image_are_in_no_key() {
    const LINES: &str = "FROM BASE AS one\nCOPY a /\nRUN date +%N > /d\nFROM one\nWORKDIR /w\n";
    const HIT: &str = "one: COPY hit, RUN hit";
    const MISS: &str = "one: COPY miss, RUN miss";
    kiln_only!();
    needs_root!();
    let same = [
        "--label=a=b",
        "--annotation=a=b",
        "--target=one",
        "--compression=zstd",
        "--compression-level=9",
        "--image-format=oci",
        "--image-format=docker",
        "--verbosity=debug",
        "--log-format=text",
        "--log-timestamp",
        "--digest-file=out/digest",
        "--compressed-caching=false",
        "--push-retry=3",
        "--use-new-run",
        "--snapshot-mode=redo",
    ];
    let mut rows: Vec<Row> = same
        .iter()
        .map(|flag| row("a flag", LINES).flags("", flag).is(HIT))
        .collect();
    rows.push(
        row("times are left out", LINES)
            .flags("", "--reproducible")
            .is(MISS),
    );
    rows.push(
        row("times are let in", LINES)
            .flags("--reproducible", "")
            .is(MISS),
    );
    // The time of the image, not of files.
    rows.push(
        row("time", LINES)
            .env("SOURCE_DATE_EPOCH", "1500000000")
            .is(HIT),
    );
    rows.push(
        row("without times", LINES)
            .flags("--reproducible", "--reproducible")
            .is("one: COPY hit, RUN hit; stage-1: WORKDIR hit"),
    );
    rows.push(
        row("paths that are in no layer", LINES)
            .flags("", "--ignore-path=/skipped")
            .is("one: COPY hit, RUN miss"),
    );
    check(rows);
}

// conformance: H9 H16
#[test]
fn what_is_copied_from_a_stage_counts_by_content() {
    const LINES: &str = "FROM BASE AS one\nARG V=1\nRUN echo $((1+1)) > /made\nCOPY a /\nFROM BASE\n\
                         COPY --from=one /made /\nRUN date +%N > /d\nWORKDIR /w\n";
    kiln_only!();
    needs_root!();
    check(vec![
        row("nothing", LINES).is("one: left out; stage-1: COPY hit, RUN hit, WORKDIR hit"),
        row("another command, the same result", LINES)
            .with("$((1+1))", "$((4-2))")
            .is("one: RUN miss, COPY miss; stage-1: COPY hit, RUN hit, WORKDIR hit"),
        row("build arg, the same result", LINES)
            .with("V=1", "V=2")
            .is("one: RUN miss, COPY miss; stage-1: COPY hit, RUN hit, WORKDIR hit"),
        row("another result", LINES)
            .with("$((1+1))", "3")
            .is("one: RUN miss, COPY miss; stage-1: COPY miss, RUN miss, WORKDIR miss"),
        row("a file that is not copied", LINES)
            .change(|dir| write(&dir.join("a"), "changed"))
            .is("one: RUN hit, COPY miss; stage-1: COPY hit, RUN hit, WORKDIR hit"),
        row("mode of what is copied", LINES)
            .with("> /made", "> /made; chmod 600 /made")
            .is("stage-1: COPY miss, RUN miss, WORKDIR miss"),
        row("an allow list", LINES)
            .change(|dir| write(&dir.join(".dockerignore"), "*\n!a\n"))
            .is("one: left out; stage-1: COPY hit, RUN hit, WORKDIR hit"),
        row("an equal stage", LINES)
            .then(&LINES.replace("FROM BASE\n", "FROM BASE AS two\nRUN echo $((1+1)) > /made\nFROM BASE\n").replace("from=one", "from=two"))
            .is("two: RUN miss; stage-2: COPY hit, RUN hit, WORKDIR hit"),
        row("through a third stage", "FROM BASE AS one\nRUN echo $((1+1)) > /made\nFROM BASE AS two\nCOPY --from=one /made /\n\
             FROM BASE\nCOPY --from=two /made /\nRUN date\n")
            .with("$((1+1))", "$((4-2))")
            .is("one: RUN miss; two: COPY hit; stage-2: COPY hit, RUN hit"),
    ]);
}

/// A server for ADD whose file can be changed.
struct Site {
    server: HttpServer,
    text: Arc<Mutex<String>>,
}

impl Site {
    fn new() -> Self {
        let text = Arc::new(Mutex::new("one".to_owned()));
        let shown = text.clone();
        let server = HttpServer::start(move |_| {
            let text = shown.lock().unwrap().clone();
            Response::new(200, "text/plain", text)
        });
        Self { server, text }
    }
}

/// Builds a context twice, with `change` in between, and gives the steps of the second build.
fn twice(case: &Case, context: &Context, flags: &str, change: impl FnOnce()) -> String {
    let build = case.build(context).no_push().args(flags);
    let build = build.cached_in(case.destination("cache"));
    build.run().ok();
    change();
    let second = build.run();
    second.ok();
    second.steps("stage-0")
}

// conformance: H11
#[test]
fn what_add_fetches_counts_by_content() {
    kiln_only!();
    let checksum = format!(
        "sha256:{}",
        "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    );
    let table = [
        ("ADD URL /f", "one", "ADD hit"),
        ("ADD URL /f", "two", "ADD miss"),
        (
            "ADD --chmod=600 URL /d/\nCOPY a /",
            "two",
            "ADD miss, COPY miss",
        ),
        (
            &format!("ADD --checksum={checksum} URL /f"),
            "one",
            "ADD hit",
        ),
        // The checksum says what is wanted, so that nobody has to ask what is there.
        (
            &format!("ADD --checksum={checksum} URL /f"),
            "two",
            "ADD hit",
        ),
    ];
    for (lines, text, steps) in table {
        let (case, site) = (Case::new(), Site::new());
        let lines = lines.replace("URL", &site.server.url("file"));
        let context = context(&case).dockerfile(format!("FROM scratch\n{lines}\n"));
        let change = || text.clone_into(&mut site.text.lock().unwrap());
        assert_eq!(twice(&case, &context, "", change), steps, "{lines}");
    }
}

// conformance: H11
#[test]
fn archives_for_add_count_by_content_and_by_whether_they_are_unpacked() {
    kiln_only!();
    let case = Case::new();
    let archive = |text: &str| TarTree::new().file("f", 0o644, text).finish();
    let context = context(&case)
        .file("archive.tar", archive("one"))
        .dockerfile("FROM scratch\nADD archive.tar /d/\n");
    let path = context.path().join("archive.tar");
    let change = || fs::write(&path, archive("two")).unwrap();
    assert_eq!(twice(&case, &context, "", change), "ADD miss");
    let change = || {
        let copy = "FROM scratch\nCOPY archive.tar /d/\n";
        fs::write(context.path().join("Dockerfile"), copy).unwrap();
    };
    assert_eq!(twice(&case, &context, "", change), "COPY miss");
}

// conformance: H2 H12 I22
#[test]
fn the_base_counts_by_its_digest() {
    kiln_only!();
    let case = Case::new();
    let spec = |text: &str| ImageSpec::of(TarTree::new().file("etc/name", 0o644, text));
    let base = |name: &str| case.destination(name);
    case.registry().push(&spec("one"), &base("base:1"));
    case.registry().push(&spec("one"), &base("base:2"));
    case.registry().push(&spec("one"), &base("elsewhere:1"));
    let digest = Image::read(&format!("docker://{}", base("base:1"))).digest;
    let context = context(&case);
    let from = |name: &str| {
        let lines = format!("FROM {}\nCOPY a /\nWORKDIR /w\n", base(name));
        fs::write(context.path().join("Dockerfile"), lines).unwrap();
    };
    from("base:1");
    assert_eq!(
        twice(&case, &context, "", || from("base:2")),
        "COPY hit, WORKDIR hit"
    );
    for name in [format!("base@{digest}"), "elsewhere:1".to_owned()] {
        assert_eq!(
            twice(&case, &context, "", || from(&name)),
            "COPY hit, WORKDIR hit",
            "{name}"
        );
    }
    // The same through another registry, and through a place that a map names for one that does not exist.
    let proxy = Proxy::before(case.registry().host());
    let path = base("base:1");
    let path = path.split_once('/').unwrap().1;
    let map = format!("--registry-map=kiln-e2e.invalid={}", case.registry().host());
    for reference in [proxy.reference(path), format!("kiln-e2e.invalid/{path}")] {
        let lines = format!("FROM {reference}\nCOPY a /\nWORKDIR /w\n");
        let elsewhere = || fs::write(context.path().join("Dockerfile"), lines).unwrap();
        from("base:1");
        assert_eq!(
            twice(&case, &context, &map, elsewhere),
            "COPY hit, WORKDIR hit",
            "{reference}"
        );
    }
    from("base:1");
    let moved = || case.registry().push(&spec("two"), &base("base:1"));
    let steps = twice(&case, &context, "", moved);
    assert_eq!(steps, "COPY miss, WORKDIR miss");
    // Another manifest with the same files is another base too, and named so.
    let mut other = spec("two");
    other.config = serde_json::json!({ "Env": ["A=1"] });
    let moved = || case.registry().push(&other, &base("base:1"));
    assert_eq!(twice(&case, &context, "", moved), "COPY miss, WORKDIR miss");
}

// conformance: H9 H12
#[test]
fn an_image_that_is_copied_from_counts_by_its_digest() {
    kiln_only!();
    let case = Case::new();
    let source = case.destination("source:1");
    let push = |text: &str| {
        let tar = TarTree::new().file("f", 0o644, text);
        case.registry().push(&ImageSpec::of(tar), &source);
    };
    push("one");
    let context = context(&case).dockerfile(format!("FROM scratch\nCOPY --from={source} /f /f\n"));
    assert_eq!(twice(&case, &context, "", || push("one")), "COPY hit");
    assert_eq!(twice(&case, &context, "", || push("two")), "COPY miss");
}

// conformance: C16
#[test]
fn triggers_of_the_base_are_steps_like_others() {
    kiln_only!();
    let case = Case::new();
    let mut spec = ImageSpec::of(TarTree::new().file("f", 0o644, "one"));
    spec.config = serde_json::json!({ "OnBuild": ["COPY a /onbuild", "WORKDIR /made"] });
    let base = case.destination("base:1");
    case.registry().push(&spec, &base);
    let context = context(&case).dockerfile(format!("FROM {base}\nCOPY c /\n"));
    let steps = twice(&case, &context, "", || ());
    assert_eq!(steps, "COPY hit, WORKDIR hit, COPY hit");
    let change = || fs::write(context.path().join("a"), "changed").unwrap();
    let steps = twice(&case, &context, "", change);
    assert_eq!(steps, "COPY miss, WORKDIR miss, COPY miss");
}

#[test]
fn platforms_do_not_share() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Index);
    let context = context(&case).dockerfile(format!("FROM {base}\nCOPY a /\n"));
    let build = |platform: &str| {
        let build = case
            .build(&context)
            .no_push()
            .cached_in(case.destination("cache"));
        build.arg(format!("--custom-platform={platform}")).run()
    };
    build("linux/riscv64").went("COPY miss");
    build("linux/arm/v7").went("COPY miss");
    build("linux/riscv64").went("COPY hit");
}

// conformance: H6 H13
#[test]
fn neither_the_place_of_the_context_nor_the_machine_count() {
    kiln_only!();
    let (case, other) = (Case::new(), Case::new());
    let lines = "FROM scratch\nCOPY dir /d\nCOPY . /all\n";
    let cache = case.destination("cache");
    let first = context(&case).dockerfile(lines);
    case.build(&first)
        .no_push()
        .cached_in(&cache)
        .run()
        .went("COPY miss, COPY miss");
    let second = context(&other).dockerfile(lines);
    let build = other.build(&second).no_push().cached_in(&cache);
    build
        .under(["taskset", "-c", "0"])
        .run()
        .went("COPY hit, COPY hit");
}
