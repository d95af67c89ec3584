//! ARG, ENV and words.

use kiln_e2e::{Base, Case, kiln_only, needs_root};

// conformance: B1 B3 B11 B16 B17 B18 B19
#[test]
fn words_are_expanded_where_docker_expands_them() {
    let case = Case::new();
    let dockerfile = r#"
ARG BASE
ARG TAG=one
ARG BOTH=${TAG}-two
FROM ${BASE}
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
        .build_arg("TAG=arg");
    let image = build.run().image();
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
