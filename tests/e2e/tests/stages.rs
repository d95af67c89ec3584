//! Several stages: names, numbers, targets, inheritance, and what is left out.

use kiln_e2e::{Base, Case, ImageSpec, Proxy, TarTree, kiln_only, namespace_only, needs_root};
use serde_json::json;

// conformance: C5 C20 C23 E22 E23
#[test]
fn names_and_numbers_feed_copy_from() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS first\nWORKDIR /made\nRUN echo one > one && ln -s one link && chown 33:50 one && chmod 4711 one\n\
         FROM {base}\nENV LEAK=yes\nRUN echo two > /two\nUSER app\nWORKDIR /leak\nVOLUME /leaked\n\
         FROM {base}\nCOPY --from=first made /named\nCOPY --from=0 /made/one /number/\nCOPY --from=1 two /\n\
         COPY --from=1 --chown=12 /two /chowned\n"
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let tree = image.tree();
    assert_eq!(tree.text("named/one"), "one\n");
    assert_eq!(
        tree.owner("named/one"),
        "4711 33:50",
        "owner and mode come along (E22, E23)"
    );
    assert_eq!(
        tree.node("named/link").to_string(),
        "symlink -> one 0777 0:0"
    );
    assert_eq!(tree.text("number/one"), "one\n");
    assert_eq!(tree.text("two"), "two\n");
    assert_eq!(tree.owner("chowned"), "0644 12:12");
    assert!(!tree.has("made") && !tree.has("leak"));
    assert_eq!(image.env("LEAK"), None);
    for key in ["User", "WorkingDir", "Volumes"] {
        let setting = image.setting(key).to_string();
        assert!(
            !setting.contains("app") && !setting.contains("leak"),
            "{key}: {setting}"
        );
    }
}

// conformance: C7 E22 E24 E25
#[test]
fn copy_from_an_image() {
    let case = Case::new();
    let (base, other) = (case.base(Base::Busybox), case.base(Base::Docker));
    let dockerfile = format!(
        "FROM scratch\nCOPY --from={base} /etc/motd /a\nCOPY --from={other} /usr/bin /b\nCOPY --from={base} /home /c\n"
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("a"), "second layer\n");
    assert_eq!(tree.owner("b/suid"), "4755 0:0");
    assert_eq!(tree.owner("c/app/.profile"), "0600 1000:1000");
    assert_eq!(
        tree.node("b/suid-twin").kind,
        tree.node("b/suid").kind,
        "hard links stay (E25)"
    );
    let capability = tree.node("b/capable").xattrs.get("security.capability");
    assert_eq!(
        capability.map(String::as_str),
        Some("0100000200200000000000000000000000000000"),
        "E24"
    );
}

// conformance: C7
#[test]
fn an_image_that_is_copied_from_fires_nothing() {
    kiln_only!();
    let case = Case::new();
    let reference = case.destination("with-triggers");
    let mut spec = ImageSpec::of(TarTree::new().file("f", 0o644, "copied"));
    spec.config = json!({ "OnBuild": ["COPY missing /"] });
    case.registry().push(&spec, &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM scratch\nCOPY --from={reference} /f /f\n"));
    assert_eq!(
        case.build(&context).run().image().tree().text("f"),
        "copied"
    );
    let context = context.dockerfile(format!("FROM {reference}\n"));
    case.build(&context)
        .run()
        .failed(1, &["\"/missing\": not found"]);
}

/// A step that only waits for another stage is not said to work: who reads the log would take the time for the step's.
// finding 57
#[test]
fn a_step_is_announced_when_it_begins_to_work() {
    kiln_only!();
    needs_root!();
    // In place, stages take turns: nobody waits.
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS deps\nRUN sleep 3 && date >/made\nFROM {base} AS app\nCOPY --from=deps /made /\nRUN true\n"
    );
    let built = case.build(&case.context().dockerfile(dockerfile)).run();
    let log = &built.ok().log;
    let lines = [
        "[app 1/2] waiting for stage deps",
        "[deps 1/1] done in ",
        "[app 1/2] COPY --from=deps /made /",
        "[app 2/2] RUN true",
        "[app 2/2] done in ",
    ];
    let places: Vec<Option<usize>> = lines.iter().map(|line| log.find(line)).collect();
    assert!(places.iter().all(Option::is_some), "{log}");
    assert!(places.is_sorted(), "{log}");
    // A short step without a command ends in silence.
    assert!(!log.contains("[app 1/2] done in"), "{log}");
    assert_eq!(built.steps("app"), "COPY miss, RUN miss");
}

// conformance: C5 C8
#[test]
fn stages_that_nothing_needs_are_not_built() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM doesnt/exist:ever AS unused\nRUN false\nFROM {base} AS failing\nRUN false\n\
         FROM scratch AS files\nCOPY Dockerfile /f\n\
         FROM {base} AS wanted\nCOPY Dockerfile /\nCOPY --from=2 /f /counted\nFROM {base} AS later\nRUN false\n"
    );
    let context = case.context().dockerfile(dockerfile);
    let image = case.build(&context).target("wanted").run().image();
    assert!(image.tree().has("Dockerfile") && image.tree().has("counted"));
}

// conformance: C9
#[test]
fn of_several_targets_all_are_built_and_the_first_is_pushed() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base} AS one\nRUN echo ran-one-$((1+1)) && touch /one\nFROM {base} AS two\n\
         RUN echo ran-two-$((1+1)) && touch /two\nFROM {base} AS three\nRUN echo ran-three-$((1+1))\n"
    ));
    for (first, second) in [("one", "two"), ("two", "one")] {
        let build = case.build(&context).target(first);
        let outcome = build.arg(format!("--target={second}")).run();
        let tree = outcome.image().tree();
        assert!(tree.has(first) && !tree.has(second), "{first} and {second}");
        for (stage, ran) in [("one", true), ("two", true), ("three", false)] {
            let said = outcome.log.contains(&format!("ran-{stage}-2"));
            assert_eq!(said, ran, "{stage}: {}", outcome.log);
        }
    }
}

// conformance: C2 C9 B20
#[test]
fn names_come_in_any_case() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS One\nENV STAGE=one\nARG A=inherited\nFROM One AS two\nENV STAGE=two-$A\nFROM one AS Three\nCOPY --from=TWO /etc/motd /\n"
    );
    let context = case.context().dockerfile(dockerfile);
    for (at, (target, expected)) in [("one", "one"), ("TWO", "two-inherited"), ("three", "one")]
        .into_iter()
        .enumerate()
    {
        let build = case
            .build(&context)
            .target(target)
            .destination(case.destination(&format!("n{at}")));
        assert_eq!(build.run().image().env("STAGE"), Some(expected), "{target}");
    }
}

// conformance: C3 B20
#[test]
fn a_stage_from_a_stage_inherits_everything() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS parent\nENV E=env\nUSER app\nWORKDIR /home/app\nLABEL l=1\nEXPOSE 1\n\
         ENTRYPOINT [\"e\"]\nCMD [\"c\"]\nRUN echo parent > file\n\
         FROM parent\nRUN echo \"$E $(id -un) $(pwd) $(cat file)\" > seen\n"
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let tree = image.tree();
    assert_eq!(tree.text("home/app/seen"), "env app /home/app parent\n");
    assert_eq!(tree.owner("home/app/seen"), "0644 1000:1000");
    assert_eq!(image.setting("User"), "app");
    assert_eq!(image.label("l"), Some("1"));
    assert_eq!(image.setting("Cmd")[0], "c");
}

// conformance: C3
#[test]
fn all_but_triggers_and_annotations_is_inherited() {
    kiln_only!();
    let case = Case::new();
    let settings = "ENV E=env\nUSER app\nWORKDIR /home/app\nLABEL l=1\nEXPOSE 1\nVOLUME /v\n\
        SHELL [\"/bin/ash\", \"-c\"]\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK CMD true\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\n\
        COPY f /f\nONBUILD ENV FIRED=yes\n";
    let lines = format!(
        "FROM {} AS parent\n{settings}FROM parent\nLABEL child=1\n",
        case.base(Base::Index)
    );
    let context = case.context().file("f", "f").dockerfile(lines);
    let reference = case.destination("parent");
    let platform = "--custom-platform=linux/arm/v7";
    let build = case.build(&context).arg(platform);
    let parent = build.clone().target("parent").arg("--annotation=a=b");
    let parent = parent.destination(&reference).run().image();
    assert_eq!(parent.manifest["annotations"]["a"], "b");
    let of_stage = build.run().image();
    // Of an image; whatever the platform of the build, what comes is that of the image.
    let context = context.dockerfile(format!("FROM {reference}\nLABEL child=1\n"));
    let of_image = case.build(&context).run().image();
    let keys = [
        "User",
        "WorkingDir",
        "Cmd",
        "Entrypoint",
        "ExposedPorts",
        "Volumes",
        "Shell",
        "StopSignal",
        "Healthcheck",
    ];
    for child in [of_stage, of_image] {
        for key in keys {
            assert!(!parent.setting(key).is_null(), "config.{key}");
            assert_eq!(child.setting(key), parent.setting(key), "config.{key}");
        }
        for key in ["os", "architecture", "variant"] {
            assert_eq!(child.config[key], parent.config[key], "{key}");
        }
        assert_eq!(child.config["variant"], "v7");
        assert_eq!(child.env("E"), Some("env"));
        assert_eq!(
            (child.label("l"), child.label("child")),
            (Some("1"), Some("1"))
        );
        assert_eq!(child.env("FIRED"), Some("yes"));
        assert!(child.list("OnBuild").is_empty(), "{}", child.config);
        let history = parent.history();
        assert_eq!(child.history()[..history.len()], history);
        assert!(child.above(&parent).is_empty() && child.tree().has("f"));
        let annotations = &child.manifest["annotations"];
        assert!(annotations["a"].is_null(), "{annotations}");
    }
}

// conformance: C21
#[test]
fn a_stage_that_only_continues_another_is_the_same_image() {
    kiln_only!();
    let case = Case::new();
    let context = case.context().file("f", "f").dockerfile(format!(
        "FROM {} AS one\nENV A=1\nCOPY f /d/f\nWORKDIR /w\nFROM one AS two\n",
        case.base(Base::Busybox)
    ));
    // Without the times of two builds.
    let build = case.build(&context).arg("--reproducible");
    let [one, two] = ["one", "two"].map(|target| {
        let build = build.clone().target(target);
        build.destination(case.destination(target)).run().image()
    });
    assert_eq!(two.config, one.config);
    assert_eq!(two.digest, one.digest);
}

// conformance: C24
#[test]
fn what_several_stages_need_is_asked_for_and_downloaded_once() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let base = proxy.through(&case.base(Base::Busybox));
    let context = case.context().dockerfile(format!(
        "FROM {base} AS a\nRUN echo a > /a\nFROM {base} AS b\nRUN echo b > /b\n\
         FROM {base}\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from={base} /etc/motd /m\nRUN cat /a /b /m > /seen\n"
    ));
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("seen"), "a\nb\nsecond layer\n");
    let of_tag = |path: &String| path.ends_with("/manifests/1");
    let asked = proxy.seen("GET").iter().filter(|path| of_tag(path)).count();
    assert_eq!(asked, 1, "{}", proxy.protocol());
    let mut blobs = proxy.blobs();
    let all = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert_eq!(blobs.len(), all, "{}", proxy.protocol());
    assert!(all >= 3, "the configuration and two layers");
}

// finding 24: an ARG counts for its own stage; a child sees what the image sets.
// conformance: B20 B22 F19
#[test]
fn an_arg_hides_an_env_in_its_own_stage_only() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS a\nENV V=env\nARG V=arg\nARG ONLY=arg\nRUN echo $V > /own\nLABEL own=$V\n\
         FROM a AS b\nLABEL child=$V only=$ONLY\nRUN echo $V $ONLY > /child\nCOPY f /$V\n\
         FROM b\nARG V=again\nLABEL again=$V\nONBUILD LABEL trigger=$V\n\
         FROM b AS last\nLABEL last=$V\nRUN echo $V > /last\n"
    );
    let context = case.context().file("f", "f").dockerfile(dockerfile);
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(tree.text("own"), "arg\n");
    assert_eq!(tree.text("child"), "env arg\n");
    assert_eq!(tree.text("last"), "env\n");
    assert!(tree.has("env"));
    for (label, value) in [
        ("own", "arg"),
        ("child", "env"),
        ("only", "arg"),
        ("last", "env"),
    ] {
        assert_eq!(image.label(label), Some(value), "{label}");
    }
    let history = image.history();
    let runs: Vec<&&str> = history
        .iter()
        .filter(|line| line.starts_with("RUN"))
        .collect();
    assert!(
        runs[0].starts_with("RUN |2 V=arg ONLY=arg /bin/sh"),
        "{runs:?}"
    );
    assert!(
        runs[1].starts_with("RUN |2 V=env ONLY=arg /bin/sh"),
        "{runs:?}"
    );
}

// conformance: C16 C17 C18
#[test]
fn onbuild_fires_once_and_in_order() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let parent = case.destination("parent");
    let first = case.context_named("first").dockerfile(format!(
        "FROM {base}\nENV V=before\nONBUILD COPY file /from-$V\nONBUILD RUN echo \"$V\" >> /order\n\
         ONBUILD RUN echo second >> /order\nENV V=parent\n"
    ));
    let image = case.build(&first).destination(&parent).run().image();
    let stored = json!([
        "COPY file /from-$V",
        "RUN echo \"$V\" >> /order",
        "RUN echo second >> /order"
    ]);
    assert_eq!(image.setting("OnBuild"), &stored);
    assert!(!image.tree().has("order"));

    let child = case.destination("child");
    let second = case
        .context_named("second")
        .dockerfile(format!("FROM {parent}\nRUN echo own >> /order\n"));
    let image = case
        .build(&second.file("file", "x"))
        .destination(&child)
        .run()
        .image();
    assert_eq!(image.tree().text("order"), "parent\nsecond\nown\n");
    assert!(image.tree().has("from-parent"), "{}", image.tree());
    assert!(
        image
            .setting("OnBuild")
            .as_array()
            .is_none_or(Vec::is_empty),
        "triggers are gone"
    );

    let third = case
        .context_named("third")
        .dockerfile(format!("FROM {child}\nRUN echo grandchild >> /order\n"));
    let image = case
        .build(&third)
        .destination(case.destination("grandchild"))
        .run()
        .image();
    assert_eq!(
        image.tree().text("order"),
        "parent\nsecond\nown\ngrandchild\n"
    );
}

// conformance: C16
#[test]
fn triggers_may_need_stages_and_images() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let (base, image) = (case.base(Base::Busybox), case.base(Base::Docker));
    // Nothing else needs these stages.
    let stages = format!(
        "FROM {base} AS copied\nRUN echo copied > /c\nFROM {base} AS mounted\nRUN echo mounted > /m\n"
    );
    let context = case.context().dockerfile(format!(
        "{stages}FROM {base} AS parent\nONBUILD COPY --from=copied /c /c\n\
         ONBUILD RUN --mount=from=mounted,target=/x cat /x/m /c > /seen\nONBUILD COPY --from={image} /etc/motd /i\n\
         FROM parent\n"
    ));
    let parent = case.destination("parent");
    let build = case.build(&context).target("parent");
    build.destination(&parent).run().ok();
    let of_stage = case.build(&context).run().image();
    let context = context.dockerfile(format!("{stages}FROM {parent}\n"));
    let of_image = case.build(&context).run().image();
    for image in [of_stage, of_image] {
        let tree = image.tree();
        assert_eq!(tree.text("seen"), "mounted\ncopied\n");
        assert_eq!(tree.text("i"), "second layer\n");
    }
}

// conformance: C17
#[test]
fn a_mistake_in_a_trigger_is_one_of_the_base() {
    kiln_only!();
    let case = Case::new();
    let reference = case.destination("wrong");
    let mut spec = Base::Busybox.image_spec();
    spec.config["OnBuild"] = json!(["RNU x"]);
    case.registry().push(&spec, &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nENV A=1\n"));
    let said = [&*reference, "unknown instruction: RNU", "Dockerfile:1"];
    case.build(&context).run().failed(1, &said);
}

/// Each stage waits for the other, so one after the other they would both give up.
// conformance: D30
#[test]
fn independent_stages_run_at_the_same_time() {
    kiln_only!();
    needs_root!();
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id={0},target=/meet touch /meet/{own}; \
             for i in $(seq 600); do [ -e /meet/{other} ] && echo met > /{own} && exit 0; sleep 0.1; done; exit 1\n",
            case.id()
        )
    };
    let dockerfile = format!(
        "FROM {base} AS one\n{}FROM {base} AS two\n{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        meet("one", "two"),
        meet("two", "one")
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.paths(), ["one", "two"]);
}

// conformance: C10
#[test]
fn the_last_stage_is_built_and_later_ones_are_not_looked_at() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base} AS first\nENV STAGE=first\nFROM {base} AS last\nENV STAGE=last\n"
    ));
    assert_eq!(
        case.build(&context).run().image().env("STAGE"),
        Some("last")
    );
    // None of this can be built, planned or looked up.
    let context = context.dockerfile(format!(
        "FROM {base} AS first\nENV STAGE=first\nFROM ${{nothing}} AS second\nFROM 127.0.0.1:1/no/such AS third\n\
         COPY --from=9 a /b\nCOPY not-there /x\nENV A=${{B:?unset}}\n"
    ));
    let build = case.build(&context).target("first");
    assert_eq!(build.run().image().env("STAGE"), Some("first"));
}

// finding 41: what is missing is known before the first command runs.
// conformance: E7 E8
#[test]
fn missing_sources_are_found_before_anything_runs() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table = [
        ("COPY missing /", "\"/missing\": not found", "Dockerfile:4"),
        (
            "ARG N=miss\nCOPY ${N}ing /",
            "\"/missing\": not found",
            "Dockerfile:5",
        ),
        (
            "ADD missing.tar /",
            "\"/missing.tar\": not found",
            "Dockerfile:4",
        ),
        ("COPY ignored /", "\"/ignored\": not found", "Dockerfile:4"),
        ("COPY no-dir/* /", "not found", "Dockerfile:4"),
        (
            "RUN --mount=type=bind,source=missing,target=/m true",
            "mount source \"/missing\": not found",
            "Dockerfile:4",
        ),
    ];
    for (line, error, place) in table {
        let context = case
            .context()
            .file("ignored", "")
            .file(".dockerignore", "ignored\n")
            .dockerfile(format!("FROM {base} AS a\nRUN echo it-ran-$((1+1))\nFROM {base}\n{line}\nCOPY --from=a /etc/motd /\n"));
        let outcome = case.build(&context).no_push().run();
        outcome.failed(1, &[error, place]);
        assert!(!outcome.log.contains("it-ran-2"), "{line}\n{}", outcome.log);
        let ran = case.build(&context).no_push().dry_run("text");
        assert_eq!(ran.code, Some(1), "{line}: {ran:?}");
    }
    // What is not needed may be missing; so may what a wildcard names, and what other stages will have.
    let context = case.context().file("f", "f").dockerfile(format!(
        "FROM {base} AS unused\nCOPY missing /\nFROM {base} AS a\nRUN echo x > /made\nFROM {base}\n\
         COPY no* /\nCOPY f* /\nCOPY --from=a /made /\nCOPY <<E /here\nx\nE\nRUN --mount=type=bind,target=/m cat /m/f\n"
    ));
    assert!(case.build(&context).run().image().tree().has("made"));
}

// finding 41: a trigger reads the context of the build that fires it.
#[test]
fn missing_sources_of_triggers_are_found_before_anything_runs() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base} AS a\nRUN echo it-ran-$((1+1))\nONBUILD COPY missing /\nFROM a\n"
    ));
    let outcome = case.build(&context).no_push().run();
    outcome.failed(1, &["\"/missing\": not found", "Dockerfile:4"]);
    assert!(!outcome.log.contains("it-ran-2"), "{}", outcome.log);
}

// finding 50
#[test]
fn a_stage_that_is_misspelled_is_suggested_before_an_image_is_asked_for() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch AS build\nFROM scratch\nCOPY --from=biuld /a /b\n");
    let build = case
        .build(&context)
        .no_push()
        .arg("--registry-map=docker.io=127.0.0.1:1")
        .arg("--image-download-retry=0");
    let outcome = build.run();
    outcome.failed(1, &["no stage is called `biuld", "did you mean `build`?"]);
    let suggested = outcome.log.find("did you mean").unwrap();
    let asked = outcome.log.find("127.0.0.1:1").unwrap_or(usize::MAX);
    assert!(suggested < asked, "{}", outcome.log);
}

// finding 36
#[test]
fn images_for_windows_are_refused() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .file("f", "f")
        .dockerfile("FROM scratch\nCOPY f /f\n");
    let outcome = case
        .build(&context)
        .no_push()
        .arg("--custom-platform=windows/amd64")
        .run();
    outcome.failed(1, &["--custom-platform", "Windows"]);
    let context = case
        .context()
        .dockerfile("FROM --platform=windows/amd64 scratch\nCOPY f /f\n");
    case.build(&context)
        .no_push()
        .run()
        .failed(1, &["Windows", "Dockerfile:1"]);
    let reference = case.destination("windows");
    let mut spec = Base::Busybox.image_spec();
    spec.os = "windows";
    case.registry().push(&spec, &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nCOPY f /f\n"));
    case.build(&context)
        .no_push()
        .run()
        .failed(1, &["Windows", "Dockerfile:1"]);
}

// finding 56: the kernel takes 500 directories in one overlay.
#[test]
fn a_stage_of_six_hundred_steps() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let mut lines = format!("FROM {base} AS a\nRUN echo gone > /gone\n");
    for number in 0..600 {
        let line = match number {
            300 => "RUN rm /gone && echo 300 > /last && echo new > /etc/motd\n".to_owned(),
            _ if number % 3 == 0 => format!("RUN echo {number} > /last\n"),
            _ => format!("COPY f /f{number}\n"),
        };
        lines.push_str(&line);
    }
    let last = format!(
        "FROM a\nRUN cat /last /etc/motd > /seen; ls / | grep -c ^f[0-9] >> /seen; test ! -e /gone\nFROM {base}\nCOPY --from=1 /seen /seen\nCOPY --from=a /last /f1 /c/\n"
    );
    lines.push_str(&last);
    let tree = case
        .build(&case.context().file("f", "f").dockerfile(lines))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("seen"), "597\nnew\n400\n");
    assert_eq!(tree.text("c/last"), "597\n");
}
