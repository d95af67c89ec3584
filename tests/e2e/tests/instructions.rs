//! All eighteen instructions, and what each leaves in the image config and history.

use kiln_e2e::{Base, Case, Image, kiln_only, needs_root};
use serde_json::{Value, json};

/// One Dockerfile with every instruction there is.
const EVERY: &str = r#"
ARG BASE=nothing
FROM $BASE
MAINTAINER ann@example.test
ARG WHO=world
ENV GREETING="hello $WHO" TWO=2
LABEL one=1 "b c"="d e"
EXPOSE 80 53/udp 80/tcp
VOLUME /data
USER root
WORKDIR /work
COPY file copied
ADD file added
SHELL ["/bin/sh", "-ec"]
RUN echo "$GREETING" > ran
HEALTHCHECK --interval=1m CMD true
STOPSIGNAL SIGTERM
ONBUILD RUN echo fired
ENTRYPOINT ["/bin/cat"]
CMD ["/work/ran"]
"#;

// conformance: F1 F2 F6 F9 F12 F13 F14 F16 F17 B17 E12
#[test]
fn every_instruction_has_its_effect() {
    needs_root!();
    let case = Case::new();
    let context = case.context().dockerfile(EVERY).file("file", "content\n");
    let base = case.base(Base::Busybox);
    let image = case
        .build(&context)
        .build_arg(format!("BASE={base}"))
        .run()
        .image();

    let tree = image.tree();
    assert_eq!(tree.text("work/copied"), "content\n");
    assert_eq!(tree.text("work/added"), "content\n");
    assert_eq!(tree.text("work/ran"), "hello world\n");
    assert!(
        !tree.has("etc/removed-later"),
        "the base's own whiteouts hold"
    );

    assert_eq!(image.config["author"], "ann@example.test");
    assert_eq!(image.env("GREETING"), Some("hello world"));
    assert_eq!(image.env("TWO"), Some("2"));
    assert_eq!(image.env("BASE_ENV"), Some("from base"));
    assert_eq!(image.env("WHO"), None, "an ARG is not in the config (B23)");
    assert_eq!(image.label("one"), Some("1"));
    assert_eq!(image.label("b c"), Some("d e"));
    assert_eq!(image.label("base.label"), Some("kept"));
    let table: [(&str, Value); 9] = [
        ("ExposedPorts", json!({ "80/tcp": {}, "53/udp": {} })),
        ("Volumes", json!({ "/data": {} })),
        ("User", json!("root")),
        ("WorkingDir", json!("/work")),
        ("Shell", json!(["/bin/sh", "-ec"])),
        ("StopSignal", json!("SIGTERM")),
        ("OnBuild", json!(["RUN echo fired"])),
        ("Entrypoint", json!(["/bin/cat"])),
        ("Cmd", json!(["/work/ran"])),
    ];
    for (key, expected) in &table {
        assert_eq!(image.setting(key), expected, "config.{key}");
    }
    assert_eq!(image.setting("Healthcheck")["Test"][1], "true");
    assert_eq!(image.setting("Healthcheck")["Interval"], 60_000_000_000_u64);
    assert_eq!(image.config["os"], "linux");
    let last = image.config["history"].as_array().unwrap().last().unwrap();
    assert!(last["created"].is_string(), "{last}");
    assert_eq!(image.config["created"], last["created"]);
}

/// What lines make of the settings that a base brings.
// conformance: F1 F9 F10 F12 F13 F14 F16
#[test]
fn settings_add_to_those_of_the_base() {
    kiln_only!();
    let case = Case::new();
    let base = case.destination("settings");
    let mut spec = Base::Busybox.image_spec();
    spec.config = json!({
        "Env": ["PATH=/bin", "OLD=old"], "Labels": { "kept": "base", "old": "old" },
        "ExposedPorts": { "1/tcp": {} }, "Volumes": { "/old": {} },
        "Shell": ["/shell", "-c"], "Entrypoint": ["/base"], "Cmd": ["base"],
    });
    case.registry().push(&spec, &base);
    let table = [
        (
            "EXPOSE 2\nVOLUME /new\nENV A=1 OLD=new\nENV A=2\nLABEL a=1 old=new\nLABEL a=2 \" k \"=v\n\
             MAINTAINER ann\nMAINTAINER bob",
            json!({
                "ExposedPorts": { "1/tcp": {}, "2/tcp": {} }, "Volumes": { "/old": {}, "/new": {} },
                "Env": ["PATH=/bin", "OLD=new", "A=2"],
                "Labels": { "kept": "base", "old": "new", "a": "2", " k ": "v" },
                "Shell": ["/shell", "-c"], "Entrypoint": ["/base"], "Cmd": ["base"],
            }),
        ),
        (
            "CMD c d",
            json!({ "Entrypoint": ["/base"], "Cmd": ["/shell", "-c", "c d"] }),
        ),
        ("ENTRYPOINT []", json!({ "Entrypoint": [], "Cmd": [] })),
        (
            "CMD [\"c\"]\nENTRYPOINT []",
            json!({ "Entrypoint": [], "Cmd": ["c"] }),
        ),
        (
            "SHELL [\"/a\", \"-c\"]\nENTRYPOINT e f\nHEALTHCHECK --retries=3 CMD h i\nSHELL [\"/b\"]",
            json!({
                "Entrypoint": ["/a", "-c", "e f"], "Cmd": [], "Shell": ["/b"],
                "Healthcheck": { "Test": ["CMD-SHELL", "h i"], "Retries": 3 },
            }),
        ),
        (
            "HEALTHCHECK NONE\nHEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4ms CMD [\"a\", \"b\"]\n\
             STOPSIGNAL SIGKILL\nSTOPSIGNAL RTMIN+3",
            json!({
                "Healthcheck": {
                    "Test": ["CMD", "a", "b"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000_u64,
                    "StartPeriod": 3_000_000_000_u64, "StartInterval": 4_000_000,
                },
                "StopSignal": "RTMIN+3",
            }),
        ),
        (
            "HEALTHCHECK CMD a\nHEALTHCHECK NONE\nSTOPSIGNAL 9\nONBUILD   RUN  echo  $OLD\nONBUILD COPY a b",
            json!({
                "Healthcheck": { "Test": ["NONE"] }, "StopSignal": "9",
                "OnBuild": ["RUN  echo  $OLD", "COPY a b"],
            }),
        ),
    ];
    for (at, (lines, expected)) in table.into_iter().enumerate() {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let build = case.build(&context);
        let image = build
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        for (key, expected) in expected.as_object().unwrap() {
            if expected.as_array().is_some_and(Vec::is_empty) {
                // Absent and empty mean the same.
                assert!(image.list(key).is_empty(), "{lines}: config.{key}");
            } else {
                assert_eq!(image.setting(key), expected, "{lines}: config.{key}");
            }
        }
        if lines.contains("MAINTAINER") {
            assert_eq!(image.config["author"], "bob");
        }
    }
}

/// Only what is joined is cleaned.
// conformance: F6
#[test]
fn working_directories_are_joined_or_kept_as_written() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines = "WORKDIR rel\nWORKDIR //x\nWORKDIR y\nWORKDIR $NONE\nWORKDIR ../z\nWORKDIR /with blank\nWORKDIR /a/../b/\n";
    let context = case.context().dockerfile(format!("FROM {base}\n{lines}"));
    let image = case.build(&context).run().image();
    let expected = [
        "WORKDIR /rel",
        "WORKDIR //x",
        "WORKDIR /x/y",
        "WORKDIR /x/z",
        "WORKDIR /with blank",
        "WORKDIR /a/../b/",
    ];
    assert_eq!(image.history()[2..], expected);
    assert_eq!(image.setting("WorkingDir"), "/a/../b/");
    let tree = image.tree();
    for path in ["rel", "x/y", "x/z", "with blank", "b"] {
        assert!(tree.has(path), "{path} is not in\n{tree}");
    }
}

// conformance: F16 F19 F20 F21 F22 F23
#[test]
fn history_reads_like_buildkits() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let context = case.context().dockerfile(EVERY).file("file", "content\n");
    let base = case.base(Base::Busybox);
    let image = case
        .build(&context)
        .build_arg(format!("BASE={base}"))
        // Seen by the RUN, and said by nobody.
        .build_arg("HTTP_PROXY=http://127.0.0.1:1")
        .run()
        .image();
    let history = image.history();
    let expected = [
        "MAINTAINER ann@example.test",
        "ARG WHO=world",
        "ENV GREETING=hello world TWO=2",
        "LABEL one=1 b c=d e",
        "EXPOSE [53/udp 80/tcp]",
        "VOLUME [/data]",
        "USER root",
        "WORKDIR /work",
        "COPY file copied # buildkit",
        "ADD file added # buildkit",
        "SHELL [/bin/sh -ec]",
        "RUN |1 WHO=world /bin/sh -ec echo \"$GREETING\" > ran # buildkit",
        "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/bin/cat\"]",
        "CMD [\"/work/ran\"]",
    ];
    assert_eq!(
        history[..2],
        ["base layer 0", "base layer 1"],
        "the base's history stays"
    );
    assert_eq!(history[2..], expected);
    for entry in image.config["history"].as_array().unwrap().iter().skip(2) {
        assert_eq!(entry["comment"], "buildkit.dockerfile.v0", "{entry}");
        let text = entry["created_by"].as_str().unwrap();
        let name = text.split(' ').next().unwrap();
        let layer = ["RUN", "COPY", "ADD", "WORKDIR"].contains(&name);
        assert_eq!(entry["empty_layer"] == true, !layer, "{entry}");
    }
}

// conformance: F20
#[test]
fn history_of_copies_shows_few_flags_and_no_bodies() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .file("a", "a")
        .file("b", "b")
        .dockerfile(
            "FROM scratch\nARG O=33\nCOPY --link --exclude=x --parents --chown=$O --chmod=755 a b /dst/\n\
             COPY <<EOF <<'OTHER' /$O/\none\nEOF\ntwo\nOTHER\nADD --chmod=600 --link a /$O/\n",
        );
    let image = case.build(&context).run().image();
    let expected = [
        "ARG O=33",
        "COPY --parents --chown=33 --chmod=755 a b /dst/ # buildkit",
        "COPY <<EOF <<OTHER /33/ # buildkit",
        "ADD --chmod=600 a /33/ # buildkit",
    ];
    assert_eq!(image.history(), expected);
}

// conformance: F9
#[test]
fn entrypoint_clears_an_inherited_cmd_unless_cmd_is_set_here() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table: [(&str, &[&str], &[&str]); 3] = [
        ("ENTRYPOINT [\"/e\"]", &["/e"], &[]),
        ("CMD [\"c\"]\nENTRYPOINT [\"/e\"]", &["/e"], &["c"]),
        ("CMD c d", &[], &["/bin/sh", "-c", "c d"]),
    ];
    for (at, (lines, entrypoint, cmd)) in table.into_iter().enumerate() {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let image = case
            .build(&context)
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        assert_eq!(image.list("Entrypoint"), entrypoint, "{lines}");
        assert_eq!(image.list("Cmd"), cmd, "{lines}");
    }
}

// conformance: F10
#[test]
fn a_later_shell_does_not_rewrite_an_earlier_command() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!("FROM {base}\nSHELL [\"/bin/ash\", \"-c\"]\nCMD c\nSHELL [\"/x\"]\n");
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    assert_eq!(image.list("Cmd"), ["/bin/ash", "-c", "c"]);
}

// conformance: F2 B11
#[test]
fn expose_knows_ranges_and_protocols() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile =
        format!("FROM {base}\nENV P=\"3000 4000/udp\"\nEXPOSE 80-82 53/UDP $P 7/sctp\n");
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let ports: Vec<&String> = image
        .setting("ExposedPorts")
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        ports,
        [
            "3000/tcp", "4000/udp", "53/udp", "7/sctp", "80/tcp", "81/tcp", "82/tcp"
        ]
    );
}

// conformance: F7
#[test]
fn workdir_makes_directories_for_the_current_user() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nCOPY links /\nUSER app\nWORKDIR /a/b\nWORKDIR c\nUSER 12:34\nWORKDIR /link/x\n\
         WORKDIR /home/app/x\n"
    );
    let context = case
        .context()
        .symlink("links/link", "/srv/../../deep")
        .dockerfile(dockerfile);
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(tree.owner("deep"), "0755 12:34");
    assert_eq!(tree.owner("deep/x"), "0755 12:34");
    assert_eq!(
        tree.node("link").to_string(),
        "symlink -> /srv/../../deep 0777 0:0"
    );
    assert_eq!(tree.owner("a"), "0755 1000:1000");
    assert_eq!(tree.owner("a/b/c"), "0755 1000:1000");
    assert_eq!(tree.owner("home/app/x"), "0755 12:34");
    assert_eq!(
        tree.owner("home/app"),
        "0750 1000:1000",
        "what exists is left alone"
    );
    assert_eq!(image.setting("WorkingDir"), "/home/app/x");
    let context = case
        .context()
        .file("f", "f")
        .dockerfile(format!("FROM {base}\nCOPY f /f\nWORKDIR /f\n"));
    let outcome = case.build(&context).run();
    outcome.failed(1, &["mkdir /f: not a directory", "Dockerfile:3"]);
}

// conformance: F15
#[test]
fn labels_of_the_command_line_come_last() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nLABEL a=file b=file\nCOPY Dockerfile /\n"
    ));
    let build = case.build(&context).cached_in(case.destination("cache"));
    let first = build
        .clone()
        .arg("--label")
        .arg("b=flag")
        .arg("--label=c=x=y")
        .run();
    let labels = |image: &Image| {
        ["a", "b", "c", "base.label"].map(|name| image.label(name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        labels(&first.image()),
        [some("file"), some("flag"), some("x=y"), some("kept")]
    );
    let second = build.run();
    second.went("COPY hit");
    assert_eq!(
        labels(&second.image()),
        [some("file"), some("file"), None, some("kept")]
    );
}

// conformance: C11 C12
#[test]
fn scratch_has_the_default_path_and_nothing_else() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY a /b/c\n")
        .file("a", "x");
    let image = case.build(&context).run().image();
    assert_eq!(image.tree().paths(), ["b", "b/c"]);
    assert_eq!(image.layers.len(), 1, "none of scratch");
    assert_eq!(
        image.env("PATH"),
        Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    );
    assert_eq!(image.setting("WorkingDir"), "/");
    assert_eq!(
        image.manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    let asked = case.build(&context).arg("--image-format=docker");
    assert_eq!(
        asked.run().image().manifest["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let asked = case.build(&context).arg("--custom-platform=linux/arm/v6");
    let config = asked.run().image().config;
    assert_eq!(
        (&config["os"], &config["architecture"], &config["variant"]),
        (&json!("linux"), &json!("arm"), &json!("v6"))
    );
    // A base without a PATH gets it behind what it has.
    let reference = case.destination("no-path");
    let mut spec = Base::Busybox.image_spec();
    spec.config["Env"] = json!(["A=1"]);
    case.registry().push(&spec, &reference);
    let context = context.dockerfile(format!("FROM {reference}\nENV B=2\n"));
    let image = case.build(&context).run().image();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(image.list("Env"), ["A=1", path, "B=2"]);
}

// conformance: C19
#[test]
fn an_odd_configuration_of_a_base_is_no_hindrance() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let table = [
        (Value::Null, "/"),
        (
            json!({ "Env": ["NOVALUE", "PATH=/bin"], "WorkingDir": "rel", "Labels": null, "Cmd": null, "Volumes": null }),
            "/rel",
        ),
    ];
    for (number, (config, workdir)) in table.into_iter().enumerate() {
        let reference = case.destination(&format!("odd{number}"));
        let mut spec = Base::Busybox.image_spec();
        spec.config = config;
        case.registry().push(&spec, &reference);
        let context = case.context().dockerfile(format!(
            "FROM {reference}\nRUN env > /seen; pwd >> /seen\nCOPY Dockerfile here\nLABEL a=b\n"
        ));
        let image = case.build(&context).run().image();
        let (tree, seen) = (image.tree(), image.tree().text("seen"));
        assert!(seen.ends_with(&format!("{workdir}\n")), "{seen}");
        assert!(
            seen.contains("PATH=") && !seen.contains("NOVALUE="),
            "{seen}"
        );
        assert!(tree.has(&format!("{workdir}/here")), "{tree}");
        assert_eq!(image.label("a"), Some("b"));
    }
}

#[test]
fn volumes_are_declared_and_hold_what_is_written_later() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = Image::read(&format!("docker://{reference}"));
    // conformance: F3: text behind a word is no JSON, so its quotes are those of a word.
    let lines = format!("FROM {reference}\nVOLUME /data relative\nVOLUME /v [\"/w\"]\n");
    let context = case.context().file("f", "f").dockerfile(&lines);
    let image = case.build(&context).run().image();
    assert!(image.above(&base).is_empty(), "declaring makes no layer");
    let volumes = json!({ "/data": {}, "relative": {}, "/v": {}, "[/w]": {} });
    assert_eq!(image.setting("Volumes"), &volumes);
    assert!(!image.tree().has("data"));
    // conformance: F4
    let context = context.dockerfile(lines + "COPY f /data/copied\nRUN echo ran > /data/ran\n");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("data/copied"), "f");
    assert_eq!(tree.text("data/ran"), "ran\n");
}

// conformance: F5
#[test]
fn user_is_stored_as_written() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table = [
        ("USER nobody-has-this-name", "nobody-has-this-name"),
        ("USER app:no-group", "app:no-group"),
        ("USER 007:8", "007:8"),
        ("ARG WHO=ann\nUSER ${WHO}", "ann"),
        ("USER app\nUSER \"\"", ""),
    ];
    for (at, (lines, expected)) in table.into_iter().enumerate() {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let build = case.build(&context);
        let image = build
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        let user = image.setting("User").as_str().unwrap_or_default();
        assert_eq!(user, expected, "{lines}");
    }
}

// conformance: F8
#[test]
fn workdir_is_a_layer_only_if_it_makes_something() {
    kiln_only!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = Image::read(&format!("docker://{reference}"));
    let dockerfile = format!("FROM {reference}\nWORKDIR /\nWORKDIR /new/dir\nWORKDIR /home/app\n");
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let layers = image.above(&base);
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0].names(), ["new/", "new/dir/"]);
    let history = image.config["history"].as_array().unwrap();
    let empty: Vec<bool> = history[2..]
        .iter()
        .map(|entry| entry["empty_layer"] == true)
        .collect();
    assert_eq!(empty, [true, false, true]);
}

// conformance: F11
#[test]
fn cmd_is_marked_as_escaped() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    for (at, line) in ["CMD [\"a\"]", "CMD a"].into_iter().enumerate() {
        let context = case.context().dockerfile(format!("FROM {base}\n{line}\n"));
        let build = case.build(&context);
        let image = build
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        assert_eq!(image.setting("ArgsEscaped"), true, "{line}");
    }
}

// conformance: F24
#[test]
fn history_has_args_and_no_secrets() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nARG VISIBLE\nRUN --mount=type=secret,id=s,env=S test -n \"$S\" && echo $VISIBLE > /seen\n"
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .build_arg("VISIBLE=value-of-arg")
        .arg("--secret=id=s,env=VARIABLE")
        .env("VARIABLE", "value-of-secret")
        .run()
        .image();
    let documents = format!("{}{}", image.config, image.manifest);
    assert!(!documents.contains("value-of-secret"), "{documents}");
    let last = image.history().pop().unwrap_or_default().to_owned();
    assert!(last.starts_with("RUN |1 VISIBLE=value-of-arg "), "{last}");
}

// conformance: G21
#[test]
fn a_run_that_changes_nothing_is_history_only() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = Image::read(&format!("docker://{reference}"));
    let dockerfile =
        format!("FROM {reference}\nRUN true\nRUN touch /x\nRUN cat /x /etc/motd > /dev/null\n");
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    assert_eq!(image.above(&base).len(), 1);
    let history = image.config["history"].as_array().unwrap();
    let empty: Vec<bool> = history[2..]
        .iter()
        .map(|entry| entry["empty_layer"] == true)
        .collect();
    assert_eq!(empty, [true, false, true]);
}

// finding 23: a number without a group stands for both ids, whatever the passwd file says of it.
// conformance: F7
#[test]
fn workdir_belongs_to_both_ids_of_a_numeric_user() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table = [
        ("USER 9999", "9999:9999"),
        // 1000 has a line in the passwd file, and 33 another group than its own there.
        ("USER 1000", "1000:1000"),
        ("USER 501", "501:501"),
        ("USER 1001:0", "1001:0"),
        ("USER 7:", "7:7"),
        ("USER 7:staff", "7:50"),
        ("USER app", "1000:1000"),
        ("USER app:mail", "1000:8"),
        ("USER \"\"", "0:0"),
    ];
    let accounts = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nodd:x:501:20::/:/bin/sh\n";
    for (at, (user, expected)) in table.into_iter().enumerate() {
        let lines = format!("FROM {base}\nCOPY passwd /etc/passwd\n{user}\nWORKDIR /w/x\n");
        let context = case.context().file("passwd", accounts).dockerfile(lines);
        let build = case.build(&context);
        let image = build
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        for path in ["w", "w/x"] {
            assert_eq!(
                image.tree().owner(path),
                format!("0755 {expected}"),
                "{user}"
            );
        }
    }
}

// finding 23: the user may come from a base, from a stage, or be there when a trigger fires.
// conformance: F7 C16
#[test]
fn workdir_belongs_to_a_numeric_user_of_the_base() {
    kiln_only!();
    let case = Case::new();
    let parent = case.destination("parent");
    let base = case.base(Base::Busybox);
    let first = case.context_named("first").dockerfile(format!(
        "FROM {base}\nUSER 9999\nONBUILD WORKDIR /trigger/x\n"
    ));
    case.build(&first).destination(&parent).run().ok();
    let second = case.context_named("second").dockerfile(format!(
        "FROM {parent} AS stage\nWORKDIR /image/x\nFROM stage\nWORKDIR /stage/x\n"
    ));
    let tree = case.build(&second).run().image().tree();
    for path in [
        "trigger",
        "trigger/x",
        "image",
        "image/x",
        "stage",
        "stage/x",
    ] {
        assert_eq!(tree.owner(path), "0755 9999:9999", "{path}");
    }
}

// finding 38
// conformance: F6 C19 D4
#[test]
fn a_relative_working_directory_of_a_base_is_below_the_root() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.destination("relative");
    let mut spec = Base::Busybox.image_spec();
    spec.config["WorkingDir"] = json!("relwd");
    case.registry().push(&spec, &reference);
    let lines = "RUN pwd > /seen && env >> /seen && touch here\nCOPY f .\nWORKDIR sub\n";
    let context = case
        .context()
        .file("f", "f")
        .dockerfile(format!("FROM {reference}\n{lines}"));
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert!(
        tree.text("seen").starts_with("/relwd\n"),
        "{}",
        tree.text("seen")
    );
    assert!(tree.text("seen").contains("\nPWD=/relwd\n"));
    assert!(tree.has("relwd/here") && tree.has("relwd/f") && tree.has("relwd/sub"));
    assert_eq!(image.setting("WorkingDir"), "/relwd/sub");
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nENV A=1\n"));
    let image = case.build(&context).run().image();
    assert_eq!(image.setting("WorkingDir"), "/relwd");
}

// finding 38
// conformance: D4
#[test]
fn the_working_directory_of_a_command_is_the_physical_one() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN mkdir /real && ln -s real /link\n\
         WORKDIR /slash/\nRUN pwd > /a && env | grep ^PWD= >> /a\nRUN [\"env\"]\n\
         WORKDIR /link/in/\nRUN pwd > /b && env | grep ^PWD= >> /b\n"
    ));
    let outcome = case.build(&context).run();
    let image = outcome.image();
    let tree = image.tree();
    assert_eq!(tree.text("a"), "/slash\nPWD=/slash\n");
    assert_eq!(tree.text("b"), "/real/in\nPWD=/real/in\n");
    // The exec form has no shell that would set it.
    assert!(outcome.log.contains("PWD=/slash\n"), "{}", outcome.log);
    assert_eq!(image.setting("WorkingDir"), "/link/in/");
}

// finding 35
// conformance: F3 E29 E34
#[test]
fn words_that_are_empty_after_expansion() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    for line in [
        "VOLUME $EMPTY",
        "VOLUME /v ${EMPTY}",
        "VOLUME [\"$EMPTY\"]",
        "VOLUME [\"\"]",
    ] {
        let context = case.context().dockerfile(format!("FROM {base}\n{line}\n"));
        case.build(&context).run().failed(
            1,
            &[
                "VOLUME specified can not be an empty string",
                "Dockerfile:2",
            ],
        );
    }
    let context = case
        .context()
        .file_with_mode("d/e", 0o640, "e")
        .dockerfile(format!(
            "FROM {base} AS owned\nCOPY --chown=5:6 d /from\nFROM {base}\n\
             COPY --chmod=$EMPTY --chown=$EMPTY d /copied\nADD --chmod=$EMPTY --checksum=$EMPTY d /added\n\
             COPY --from=owned --chown=$EMPTY /from /kept\nCOPY --exclude=/e --exclude=$EMPTY d /whole\n\
             COPY --exclude=e d /less\n"
        ));
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(tree.owner("copied/e"), "0640 0:0");
    assert_eq!(tree.owner("added/e"), "0640 0:0");
    assert_eq!(tree.owner("kept/e"), "0640 5:6");
    assert!(tree.has("whole/e"), "no path begins with a slash");
    assert!(!tree.has("less/e"));
    assert!(
        image
            .history()
            .iter()
            .any(|line| line.starts_with("COPY d /copied"))
    );
}

// finding 35: what is escaped is no wildcard, so that it has to be there.
// conformance: E7
#[test]
fn a_source_with_a_backslash_and_no_wildcard_has_to_exist() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    for (name, source) in [
        ("COPY", "a\\\\b"),
        ("ADD", "a\\\\b"),
        ("COPY", "a\\\\*"),
        ("COPY", "[\"a\\\\\\\\b\","),
    ] {
        let rest = if source.starts_with('[') {
            "\"/d/\"]"
        } else {
            "/d/"
        };
        let context = case
            .context()
            .file("other", "x")
            .dockerfile(format!("FROM {base}\n{name} {source} {rest}\n"));
        case.build(&context).run().failed(1, &["not found"]);
    }
    let context = case
        .context()
        .file("a\\b", "x")
        .dockerfile(format!("FROM {base}\nCOPY a\\\\b /d/\n"));
    assert!(case.build(&context).run().image().tree().has("d/a\\b"));
}
