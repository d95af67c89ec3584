//! Why a step was not in the cache: a line in the log, and `executor cache explain` for all of it.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use kiln_e2e::{Base, Build, Case, Context, ImageSpec, Proxy, TarTree, kiln_only, needs_root};
use serde_json::Value;

fn dockerfile(case: &Case, lines: &str) -> Context {
    let lines = lines.replace("BASE", &case.base(Base::Busybox));
    let mut context = case.context().dockerfile(lines).file("a", "one\n");
    for number in 0..20 {
        context = context.file(&format!("src/{number:02}"), "x\n");
    }
    context.file(".dockerignore", "Dockerfile\n")
}

/// Builds twice with a change in between; the second build's log has each of these lines.
fn says(lines: &str, flags: [&str; 2], change: impl FnOnce(&Context), expected: &[&str]) {
    let case = Case::new();
    let context = dockerfile(&case, lines);
    let build = case
        .build(&context)
        .no_push()
        .cached_in(case.destination("cache"));
    let first = build.clone().args(flags[0]).run();
    assert!(
        first
            .ok()
            .log
            .contains("not cached: no earlier build is known here"),
        "{}",
        first.log
    );
    change(&context);
    let second = build.args(flags[1]).run();
    for line in expected {
        assert!(
            second.ok().log.contains(line),
            "`{line}` is not in\n{}",
            second.log
        );
    }
}

// conformance: H29
#[test]
fn the_log_names_what_changed() {
    kiln_only!();
    needs_root!();
    let write = |path: &'static str| {
        move |context: &Context| fs::write(context.path().join(path), "new\n").unwrap()
    };
    let none = |_: &Context| {};
    says(
        "FROM BASE\nCOPY . /src\nRUN date\n",
        ["", ""],
        |context| {
            write("src/03")(context);
            write("a")(context);
        },
        &[
            "[stage-0 1] not cached: COPY . /src: 2 of 22 files changed: a, src/03",
            "[stage-0 2] not cached: RUN date: a step before it changed",
        ],
    );
    says(
        "FROM BASE AS one\nCOPY a /\nFROM BASE\nCOPY --from=one /etc/motd /\nRUN date\n",
        ["", ""],
        write("a"),
        &[
            "[one 1] not cached: COPY a /: 1 of 1 files changed: a",
            "[stage-1 1] not cached: COPY --from=one /etc/motd /: source changed",
            "; looked up again when the other stage is done",
            "[stage-1 2] not cached: RUN date: a step before it changed; looked up again when the other stage is done",
            "[stage-1 1] cached in",
            "[stage-1 2] cached in",
        ],
    );
    says(
        "FROM BASE\nARG VERSION\nRUN date\n",
        ["--build-arg=VERSION=1", "--build-arg=VERSION=2"],
        none,
        &["RUN date: build arg VERSION changed\n"],
    );
    says(
        "FROM BASE\nENV A=1\nRUN date\n",
        ["", ""],
        |context| {
            let path = context.path().join("Dockerfile");
            let lines = fs::read_to_string(&path).unwrap().replace("A=1", "A=2");
            fs::write(path, lines).unwrap();
        },
        &["RUN date: environment variable A changed from 1 to 2"],
    );
    says(
        "FROM BASE AS one\nCOPY a /\nFROM BASE\nRUN --mount=type=bind,from=one,target=/m date\n",
        ["", ""],
        write("a"),
        &[
            "[one 1] not cached: COPY a /: 1 of 1 files changed: a",
            "[stage-1 1] not cached: RUN --mount",
        ],
    );
}

// conformance: H29
#[test]
fn a_base_that_moved_is_named() {
    kiln_only!();
    let case = Case::new();
    let base = case.destination("base:1");
    let push = |text: &str| {
        let tar = TarTree::new().file("etc/name", 0o644, text);
        case.registry().push(&ImageSpec::of(tar), &base);
    };
    push("one");
    let context = dockerfile(&case, &format!("FROM {base}\nCOPY a /\nCOPY a /b\n"));
    let build = case
        .build(&context)
        .no_push()
        .cached_in(case.destination("cache"));
    build.run().ok();
    push("two");
    let second = build.run();
    let line = "COPY a /: base image moved from sha256:";
    assert!(second.ok().log.contains(line), "{}", second.log);
}

/// However short the build and however far the registry: every reason is said, and in the order of the steps.
// conformance: H29
#[test]
fn a_short_build_waits_for_its_reasons() {
    kiln_only!();
    let case = Case::new();
    let proxy = Proxy::distant(case.registry().host(), Duration::from_millis(50));
    let copies: Vec<String> = (0..20).map(|number| format!("COPY a /{number}")).collect();
    let copies = copies.join("\n");
    let context = dockerfile(&case, &format!("FROM scratch\n{copies}"));
    let cache = proxy.reference(&format!("{}/cache", case.id().to_lowercase()));
    let build = case.build(&context).no_push().cached_in(cache);
    build.run().ok();
    fs::write(context.path().join("a"), "new\n").unwrap();
    let second = build.run();
    let reasons =
        |line: &&str| line.contains("not cached: COPY a /") && line.ends_with("files changed: a");
    assert_eq!(
        second.ok().log.lines().filter(reasons).count(),
        20,
        "{}",
        second.log
    );
}

fn explained(build: &Build<'_>) -> Vec<Value> {
    let ran = build.explain("json");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let explanation: Value = serde_json::from_str(&ran.stdout).unwrap();
    explanation["steps"].as_array().unwrap().clone()
}

/// In full, in both forms, and without a trace: nothing is executed, stored or pushed.
// conformance: H29
#[test]
fn a_build_can_be_asked_what_it_would_find() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE AS one\nRUN echo exe''cuted\nFROM BASE\nCOPY . /src\nARG V=1\nRUN date +%N > /d\nRUN date > /e\n";
    let context = dockerfile(&case, lines);
    let cache = case.destination("cache");
    let build = case.build(&context).cached_in(&cache);

    let steps = explained(&build);
    assert!(
        steps.iter().all(|step| step["cached_in"].is_null()
            && step["reason"] == "no earlier build is known here"),
        "{steps:#?}"
    );
    assert!(case.registry().tags(&cache).is_empty());

    build.run().ok();
    let steps = explained(&build);
    assert_eq!(steps.len(), 3, "only what the target needs: {steps:#?}");
    assert!(
        steps.iter().all(|step| step["cached_in"] == *cache),
        "{steps:#?}"
    );

    fs::write(context.path().join("src/07"), "new\n").unwrap();
    let before = case.registry().blobs();
    let build = build.build_arg("V=2");
    let ran = build.explain("text");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in [
        "COPY . /src\n    not cached: 1 of 22 files changed: src/07",
        "changed src/07: content, size from 2 to 4",
        "RUN date +%N > /d\n    not cached: build arg V changed\n",
    ] {
        assert!(
            ran.stdout.contains(line),
            "`{line}` is not in\n{}",
            ran.stdout
        );
    }
    assert!(!ran.stdout.contains("INFO"), "{}", ran.stdout);
    assert!(!(ran.stdout + &ran.stderr).contains("executed"));
    let steps = explained(&build);
    let change = &steps[0]["changes"][0];
    assert_eq!(
        change["files"]["changed"][0]["path"], "src/07",
        "{change:#}"
    );
    assert_eq!(case.registry().blobs(), before, "explaining writes nothing");
}
