//! ARG, ENV and words.

use kiln_e2e::{Base, Case, HttpServer, Response, kiln_only, needs_root};
use serde_json::json;
use sha2::{Digest, Sha256};

// conformance: B3 B16 B17 B18 B19
#[test]
fn words_are_expanded_where_docker_expands_them() {
    let case = Case::new();
    let dockerfile = r#"
ARG BASE
ARG TAG=one
ARG BOTH=${TAG}-two
FROM ${BASE}
LABEL early=<$LATE>
ARG LATE
LABEL late=<$LATE>
ARG BOTH
ARG NAME=${BOTH}-three
ENV a=hello
ENV a=bye b=$a c=${unset:-fallback} d=${a:+set} e="$NAME"
LABEL name=$NAME
WORKDIR /w/$a
COPY ${c}.txt $b
"#;
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("fallback.txt", "x");
    let build = case
        .build(&context)
        .build_arg(format!("BASE={}", case.base(Base::Busybox)))
        .build_arg("TAG=arg")
        .build_arg("LATE=given");
    let image = build.run().image();
    assert_eq!(image.label("early"), Some("<>"));
    assert_eq!(image.label("late"), Some("<given>"));
    let env = ["a", "b", "c", "d", "e"].map(|name| image.env(name).unwrap_or("unset"));
    assert_eq!(env, ["bye", "hello", "fallback", "set", "arg-two-three"]);
    assert_eq!(image.label("name"), Some("arg-two-three"));
    assert_eq!(image.setting("WorkingDir"), "/w/bye");
    assert_eq!(image.tree().text("w/bye/hello"), "x");
}

// conformance: B21 B22 B23
#[test]
fn run_sees_args_and_the_later_line_wins() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let dockerfile = format!(
        "FROM {}\nENV A=env\nARG A=arg\nARG B=arg\nENV B=env\nARG UNSET\nARG EMPTY=\nRUN env | sort > /seen\n",
        case.base(Base::Busybox)
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .build_arg("A=flag")
        .run()
        .image();
    let seen = image.tree().text("seen");
    for line in ["A=flag", "B=env", "EMPTY=", "BASE_ENV=from base"] {
        assert!(
            seen.lines().any(|other| other == line),
            "`{line}` is not in:\n{seen}"
        );
    }
    assert!(!seen.contains("UNSET"), "{seen}");
    assert_eq!(image.env("A"), Some("env"), "only ENV reaches the config");
}

// conformance: B27
#[test]
fn platform_arguments_are_there_when_asked_for() {
    needs_root!();
    let case = Case::new();
    let dockerfile = format!(
        "FROM {}\nARG TARGETARCH\nRUN echo \"$TARGETARCH,$TARGETOS\" > /seen\n",
        case.base(Base::Busybox)
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    let architecture = image.config["architecture"].as_str().unwrap();
    assert_eq!(image.tree().text("seen"), format!("{architecture},\n"));
}

// conformance: B27
#[test]
fn the_stage_that_was_asked_for_has_a_variable() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "ARG NAME=$TARGETSTAGE\nFROM {base} AS first\nARG TARGETSTAGE\nARG NAME\n\
         LABEL stage=$TARGETSTAGE name=$NAME not=<$BUILDOS>\nFROM first\n"
    ));
    let build = case.build(&context);
    for (build, expected) in [
        (build.clone(), "default"),
        (build.clone().target("first"), "first"),
        (build.build_arg("TARGETSTAGE=given"), "given"),
    ] {
        let image = build.run().image();
        assert_eq!(image.label("stage"), Some(expected));
        assert_eq!(image.label("name"), Some(expected));
        assert_eq!(image.label("not"), Some("<>"));
    }
}

// conformance: B28
#[test]
fn a_bare_build_arg_takes_the_environment() {
    kiln_only!();
    let case = Case::new();
    let dockerfile = format!(
        "FROM {}\nARG A=default\nARG B=default\nENV SEEN=$A,$B\n",
        case.base(Base::Busybox)
    );
    let context = case.context().dockerfile(dockerfile);
    let image = case
        .build(&context)
        .build_arg("A")
        .build_arg("B")
        .env("A", "from outside")
        .run()
        .image();
    assert_eq!(image.env("SEEN"), Some("from outside,default"));
}

// conformance: B26
#[test]
fn proxies_reach_run_but_not_the_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let dockerfile = format!(
        "FROM {}\nRUN echo $http_proxy $HTTP_PROXY > /seen\n",
        case.base(Base::Busybox)
    );
    let context = case.context().dockerfile(dockerfile);
    let image = case
        .build(&context)
        .build_arg("HTTP_PROXY=http://proxy.test:1")
        .run()
        .image();
    assert_eq!(
        image.tree().text("seen"),
        "http://proxy.test:1 http://proxy.test:1\n"
    );
    let config = image.config.to_string();
    assert!(!config.contains("proxy.test"), "{config}");
}

/// Every place where a variable counts, apart from those that the tests above are about.
const EVERYWHERE: &str = r#"
ARG OS=linux
ARG IMAGE
FROM --platform=${OS}/${TARGETARCH} $IMAGE AS parent
ENV file=f
ONBUILD COPY $file /from-trigger/$file
FROM parent
ARG file=f u=33 mode=600 ext=md key=k value=v port=80 signal=SIGTERM dir=/made SUM URL
ARG N$value=named-$value
ENV E$key=$value
COPY --chown=$u:$u --chmod=$mode --exclude=*.$ext $file sub$value /to-$value/
ADD --checksum=sha256:$SUM --chown=${u} $URL /sum/$value
EXPOSE $port/tcp
LABEL $key.$value="$key $value"
STOPSIGNAL $signal
VOLUME $dir/v
WORKDIR $dir/${nothing:-w}
ONBUILD RUN echo $value
USER us$u
USER root
RUN --mount=type=bind,target=$dir/m,source=sub$value ls $dir/m > /mounted
RUN echo "$Nv" > /named
"#;

// conformance: B12
#[test]
fn variables_count_in_every_place() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let server = HttpServer::start(|_| Response::new(200, "text/plain", "downloaded"));
    let context = case
        .context()
        .dockerfile(EVERYWHERE)
        .file("f", "f")
        .file("subv/in", "in")
        .file("subv/no.md", "no");
    let image = case
        .build(&context)
        .build_arg(format!("IMAGE={}", case.base(Base::Index)))
        .build_arg(format!(
            "SUM={}",
            hex::encode(Sha256::digest(b"downloaded"))
        ))
        .build_arg(format!("URL={}", server.url("x")))
        .run()
        .image();
    let tree = image.tree();
    assert_eq!(tree.text("from-trigger/f"), "f");
    assert_eq!(tree.owner("to-v/f"), "0600 33:33");
    assert!(tree.has("to-v/in") && !tree.has("to-v/no.md"));
    assert_eq!(
        (tree.text("sum/v"), tree.owner("sum/v")),
        ("downloaded".into(), "0600 33:33".into())
    );
    assert_eq!(tree.text("mounted"), "in\nno.md\n");
    assert_eq!(tree.text("named"), "named-v\n", "the name of an ARG too");
    assert_eq!(image.env("Ek"), Some("v"));
    assert_eq!(image.label("k.v"), Some("k v"));
    let table = [
        ("ExposedPorts", json!({ "80/tcp": {} })),
        ("StopSignal", json!("SIGTERM")),
        ("Volumes", json!({ "/made/v": {} })),
        ("WorkingDir", json!("/made/w")),
        ("OnBuild", json!(["RUN echo $value"])),
    ];
    for (key, expected) in &table {
        assert_eq!(image.setting(key), expected, "config.{key}");
    }
    assert!(
        image.history().contains(&"USER us33"),
        "{:?}",
        image.history()
    );
}
