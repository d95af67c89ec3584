//! All eighteen instructions, and what each leaves in the image config and history.

use kiln_e2e::{Base, Case, kiln_only, needs_root};
use serde_json::{Value, json};

/// One Dockerfile with every instruction there is.
const EVERY: &str = r#"
ARG BASE=nothing
FROM $BASE
MAINTAINER ann@example.test
ARG WHO=world
ENV GREETING="hello $WHO" TWO=2
LABEL one=1 "b c"="d e"
EXPOSE 80 53/udp
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
}

// conformance: F19 F20 F21 F22 F23
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
    }
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
        "FROM {base}\nUSER app\nWORKDIR /a/b\nWORKDIR c\nUSER 12:34\nWORKDIR /home/app/x\n"
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let tree = image.tree();
    assert_eq!(tree.owner("a"), "0755 1000:1000");
    assert_eq!(tree.owner("a/b/c"), "0755 1000:1000");
    assert_eq!(tree.owner("home/app/x"), "0755 12:34");
    assert_eq!(
        tree.owner("home/app"),
        "0750 1000:1000",
        "what exists is left alone"
    );
    assert_eq!(image.setting("WorkingDir"), "/home/app/x");
}

// conformance: F15
#[test]
fn labels_of_the_command_line_come_last() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nLABEL a=file b=file\n"));
    let image = case
        .build(&context)
        .arg("--label")
        .arg("b=flag")
        .arg("--label=c=x=y")
        .run()
        .image();
    let labels = ["a", "b", "c", "base.label"].map(|name| image.label(name));
    assert_eq!(
        labels,
        [Some("file"), Some("flag"), Some("x=y"), Some("kept")]
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
    assert_eq!(
        image.env("PATH"),
        Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    );
    assert_eq!(image.setting("WorkingDir"), "/");
    assert_eq!(
        image.manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
}
