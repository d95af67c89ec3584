//! Everything that can be wrong with what a builder is given. Each case ends with exit code 1 and one readable message,
//! and `Build::run` checks each time that no mount, process or temporary file is left.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use kiln_e2e::{
    Base, Case, Fault, HttpServer, ImageSpec, LayerSpec, Packing, Proxy, Registry, Response,
    TarTree, kiln_only, namespace_only, needs_root, output, tool,
};
use serde_json::json;

/// Builds `dockerfile` (`BASE` is the busybox base) with a pushed image and an archive as outputs, expects failure,
/// and checks that neither output exists.
fn refused(dockerfile: &str, flags: &[&str], cause: &str, fragments: &[&str]) {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(dockerfile.replace("BASE", &base))
        .file("file", "x")
        .symlink("out", "/etc");
    let (tar, digest) = (case.path("out/image.tar"), case.path("out/digest"));
    let mut build = case
        .build(&context)
        .arg("--tar-path")
        .arg(&tar)
        .arg("--image-format=docker")
        .arg("--digest-file")
        .arg(&digest);
    for flag in flags {
        build = build.arg(flag);
    }
    build.run().failed_once(cause, fragments);
    assert!(!tar.exists() && !digest.exists(), "there is partial output");
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none(),
        "an image was pushed"
    );
}

// conformance: J10 A14 A15 A18 B4 C9 C22 E8 E28
#[test]
fn mistakes_in_the_dockerfile() {
    kiln_only!();
    refused("", &[], "cannot be empty", &["Dockerfile"]);
    refused("# only this\n", &[], "no instructions", &["Dockerfile"]);
    refused("ARG A\n", &[], "no stages", &["Dockerfile"]);
    refused(
        "FROM BASE\nENV A=1\nFNTRYPOINT x\n",
        &[],
        "Dockerfile:3:1: unknown instruction",
        &["FNTRYPOINT", "ENTRYPOINT"],
    );
    refused(
        "FROM BASE\nCOPY --chwon=1 file /\n",
        &[],
        "Dockerfile:2:6: unknown flag",
        &["chwon", "chown"],
    );
    refused(
        "FROM BASE\nCOPY --from=nostage.invalid/x f /\n",
        &[],
        "cannot pull",
        &["Dockerfile:2", "nostage.invalid"],
    );
    refused(
        "FROM BASE\nCOPY --from=7 f /\n",
        &[],
        "invalid stage index 7",
        &["Dockerfile:2"],
    );
    refused(
        "FROM BASE AS a\nFROM a AS second\n",
        &["--target=nope"],
        "target stage \"nope\"",
        &["Dockerfile: ", "could not be found", "`a`, `second`"],
    );
    refused(
        "FROM BASE\nENV A=1\nCOPY nofile /\n",
        &[],
        "\"/nofile\": not found",
        &["Dockerfile:3"],
    );
    refused(
        "ARG REG\nFROM ${REG}/img:${TAG:-1}\n",
        &[],
        "failed to parse stage name \"/img:1\": invalid reference format",
        &["Dockerfile:2: FROM ${REG}"],
    );
    refused(
        "FROM ${NOTHING}\n",
        &[],
        "should not be blank",
        &["Dockerfile:1: FROM ${NOTHING}"],
    );
    refused(
        "FROM BASE\nENV A=${x:?needed}\n",
        &[],
        "x: needed",
        &["Dockerfile:2"],
    );
    refused(
        "FROM BASE\nSTOPSIGNAL FOO\n",
        &[],
        "invalid signal: FOO",
        &["Dockerfile:2"],
    );
    refused(
        "FROM BASE\nCOPY --chown=nobody-knows file /\n",
        &[],
        "unable to find user nobody-knows",
        &["Dockerfile:2", "passwd"],
    );
    refused(
        "FROM BASE\nCOPY file /etc/motd/\n",
        &[],
        "not a directory",
        &["Dockerfile:2"],
    );
}

#[test]
fn a_missing_dockerfile_or_context() {
    kiln_only!();
    let case = Case::new();
    let context = case.context().file("other", "");
    case.build(&context).run().failed_once(
        "tried",
        &["Dockerfile", case.path("context").to_str().unwrap()],
    );
    case.build(&context)
        .dockerfile("nope/My.Dockerfile")
        .run()
        .failed(1, &["nope/My.Dockerfile"]);
    let nowhere = case.path("nowhere").display().to_string();
    case.build(&context)
        .context(&nowhere)
        .run()
        .failed(1, &[&nowhere]);
    case.build(&context)
        .context("ftp://example.invalid/x")
        .run()
        .failed(1, &["ftp://example.invalid/x"]);
}

// conformance: K8
#[test]
fn mistakes_in_flags() {
    kiln_only!();
    let lines = "FROM BASE\nCOPY file /\n";
    refused(
        lines,
        &["--destnation=x"],
        "--destnation",
        &["--destination"],
    );
    refused(
        lines,
        &["--compression-level=much"],
        "--compression-level",
        &["much"],
    );
    refused(lines, &["--destination=UPPER case"], "UPPER case", &[]);
    refused(lines, &["--build-arg"], "--build-arg", &[]);
    refused(lines, &["--isolation=magic"], "magic", &["namespace"]);
    refused(lines, &["--custom-platform=a/b/c/d"], "a/b/c/d", &[]);
    refused(lines, &["--secret=src=/x"], "id", &["--secret"]);
}

// conformance: E5 J9
#[test]
fn paths_that_leave_the_context() {
    kiln_only!();
    refused(
        "FROM BASE\nCOPY ../../../etc/passwd /stolen\n",
        &[],
        "not found",
        &["Dockerfile:2"],
    );
    refused(
        "FROM BASE\nCOPY out/passwd /stolen\n",
        &[],
        "not found",
        &[
            "\"/out/passwd\"",
            "`/out` is a symlink to `/etc`",
            "Dockerfile:2",
        ],
    );
    refused(
        "FROM BASE\nCOPY file /\n",
        &["--context-sub-path=../.."],
        "--context-sub-path",
        &["../.."],
    );
    refused(
        "FROM BASE\nCOPY file /\n",
        &["--context-sub-path=nowhere"],
        "nowhere",
        &[],
    );
}

#[test]
fn a_registry_that_cannot_be_reached() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    // Nobody listens on port 1.
    let context = case
        .context()
        .dockerfile("FROM 127.0.0.1:1/some/image:tag\nCOPY Dockerfile /\n");
    case.build(&context).run().failed(
        1,
        &["127.0.0.1:1", "some/image", "refused", "--registry-mirror"],
    );
    let context = context.dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    let outcome = case
        .build(&context)
        .destination("127.0.0.1:1/some/image:tag")
        .run();
    outcome.failed(1, &["127.0.0.1:1", "some/image", "refused"]);
    let context = context.dockerfile(format!("FROM {base}-not-there\nCOPY Dockerfile /\n"));
    case.build(&context).run().failed(
        1,
        &[
            "1-not-there",
            "Dockerfile:1",
            "hint: check the image's name",
        ],
    );
}

/// Whoever reads the log as JSON can read its end, too.
#[test]
fn a_json_log_ends_in_json() {
    kiln_only!();
    let case = Case::new();
    let context = case.context().dockerfile("FROM scratch\nCOPY nofile /\n");
    let build = case.build(&context).arg("--log-format=json").no_push();
    let outcome = build.run();
    outcome.failed(1, &[]);
    let lines: Vec<serde_json::Value> = outcome
        .log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let last = lines.last().unwrap();
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("level"), "error");
    assert!(
        text("msg").contains("Dockerfile:2: COPY nofile /"),
        "{last}"
    );
    assert!(text("excerpt").contains("COPY nofile"), "{last}");
    assert!(text("hint").contains(".dockerignore"), "{last}");
}

// conformance: A34
#[test]
fn a_lower_case_dockerfile_is_found() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .file("dockerfile", "FROM scratch\nLABEL a=b\n");
    case.build(&context).no_push().run().ok();
}

/// Only a place that nobody named is replaced, and a missing one is not made.
#[test]
fn places_for_work_files_that_cannot_be_used() {
    kiln_only!();
    // In a throw-away root the work folder has its place.
    namespace_only!();
    let case = Case::new();
    let context = case.context().dockerfile("FROM scratch\nLABEL a=b\n");
    let build = case.build(&context).no_push();
    build
        .clone()
        .arg("--kaniko-dir=/proc/kiln-test")
        .run()
        .failed(1, &["/proc/kiln-test", "--kaniko-dir"]);
    build
        .clone()
        .env("KANIKO_DIR", "/proc/kiln-test")
        .run()
        .failed(1, &["/proc/kiln-test", "KANIKO_DIR"]);
    let missing = case.path("no-tmp");
    let outcome = build.env("TMPDIR", &missing).run();
    outcome.failed(1, &["no-tmp", "TMPDIR"]);
    assert!(!outcome.log.contains("os error"), "{}", outcome.log);
    assert!(!missing.exists());
}

/// Pulls through a registry that lies, with a RUN so that layers are needed.
fn lied_to(method: &'static str, part: &'static str, fault: Fault, fragments: &[&str]) {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let proxy = Proxy::with_faults(case.registry().host(), &[(method, part, fault)]);
    let base = proxy.reference(base.split_once('/').unwrap().1);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN true\n"));
    case.build(&context)
        .run()
        .failed(1, fragments)
        .failed(1, &[proxy.host()]);
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none()
    );
}

// conformance: I25
#[test]
fn a_registry_that_lies_about_manifests() {
    kiln_only!();
    needs_root!();
    lied_to("GET", "/manifests/", Fault::Html, &["base/busybox"]);
    lied_to("GET", "/manifests/", Fault::OtherJson, &["base/busybox"]);
    lied_to(
        "GET",
        "/manifests/",
        Fault::ServerError,
        &["500", "disk on fire in rack seven"],
    );
    lied_to("GET", "/manifests/", Fault::Truncated, &["base/busybox"]);
}

// conformance: I25 G36
#[test]
fn a_registry_that_lies_about_blobs() {
    kiln_only!();
    needs_root!();
    lied_to("GET", "/blobs/", Fault::WrongBytes, &["sha256:"]);
    lied_to("GET", "/blobs/", Fault::Truncated, &["sha256:"]);
    lied_to("GET", "/blobs/", Fault::Html, &["sha256:"]);
    lied_to(
        "GET",
        "/blobs/",
        Fault::ServerError,
        &["500", "disk on fire in rack seven"],
    );
}

// conformance: H23 I36
#[test]
fn a_registry_that_fails_on_push() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    for (method, part) in [("POST", "/blobs/uploads/"), ("PUT", "/manifests/")] {
        let proxy = Proxy::with_faults(
            case.registry().host(),
            &[(method, part, Fault::ServerError)],
        );
        let name = format!("{}/failing", case.id().to_lowercase());
        let digest = case.path("out/digest");
        let outcome = case
            .build(&context)
            .destination(proxy.reference(&name))
            .arg("--digest-file")
            .arg(&digest)
            .run();
        outcome.failed(1, &[proxy.host(), "500", "disk on fire in rack seven"]);
        assert!(
            !digest.exists(),
            "the digest of what is not there is written"
        );
        // The proxy passes a PUT on before it lies about the answer.
        if method == "POST" {
            assert!(case.registry().raw_manifest(&name).is_none());
        }
    }
}

/// A base with busybox in its first layer and something hostile in its second.
fn hostile(name: &str, second: TarTree, packing: Packing, expected: &Expected) {
    let case = Case::new();
    let busybox = std::fs::read(tool("busybox")).unwrap();
    let first = TarTree::new()
        .dir("bin/", 0o755)
        .file("bin/sh", 0o755, busybox)
        .symlink("bin/ls", "sh")
        .dir("tmp/", 0o1777);
    let layers = vec![
        LayerSpec {
            tar: first.finish(),
            packing: Packing::Gzip,
        },
        LayerSpec {
            tar: second.finish(),
            packing,
        },
    ];
    let reference = case.destination("hostile");
    case.registry().push(
        &ImageSpec::new(layers, json!({ "Env": ["PATH=/bin"] })),
        &reference,
    );
    std::fs::write(case.path("outside"), "precious").unwrap();
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nRUN sh -c 'echo ran'\n"));
    let outcome = case.build(&context).run();
    match expected {
        Expected::Refused(fragments) => {
            outcome.failed(1, fragments);
        }
        Expected::Contained => {
            outcome.ok();
        }
    }
    assert_eq!(
        std::fs::read_to_string(case.path("outside")).unwrap(),
        "precious",
        "{name}"
    );
    for path in [
        "/kiln-e2e-escaped",
        "/tmp/kiln-e2e-escaped",
        "/etc/kiln-e2e-escaped",
    ] {
        assert!(!std::path::Path::new(path).exists(), "{name} wrote {path}");
    }
}

enum Expected {
    /// The build fails and names these.
    Refused(&'static [&'static str]),
    /// The build may go on, with everything kept inside the root.
    Contained,
}

// conformance: G28 G31 G33 G36
#[test]
fn hostile_base_images() {
    kiln_only!();
    needs_root!();
    let escaped = "../../../../../../../../../../tmp/kiln-e2e-escaped";
    hostile(
        "dot-dot",
        TarTree::new().file(escaped, 0o644, "x"),
        Packing::Gzip,
        &Expected::Refused(&["kiln-e2e-escaped"]),
    );
    hostile(
        "dot-dot in the middle",
        TarTree::new().file("tmp/../../../../etc/kiln-e2e-escaped", 0o644, "x"),
        Packing::Gzip,
        &Expected::Refused(&["kiln-e2e-escaped"]),
    );
    hostile(
        "hard link to the host",
        TarTree::new().hardlink("tmp/stolen", 0o644, "../../../../../../../../etc/shadow"),
        Packing::Gzip,
        &Expected::Refused(&["tmp/stolen"]),
    );
    hostile(
        "write through an absolute symlink",
        TarTree::new()
            .symlink("out", "/tmp")
            .file("out/kiln-e2e-escaped", 0o644, "x"),
        Packing::Gzip,
        &Expected::Contained,
    );
    hostile(
        "write through a climbing symlink",
        TarTree::new()
            .symlink("out", "../../../../../../../../tmp")
            .file("out/kiln-e2e-escaped", 0o644, "x"),
        Packing::Gzip,
        &Expected::Contained,
    );
    hostile(
        "links that nobody follows",
        TarTree::new()
            .symlink("a", "/nowhere")
            .symlink("loop", "loop")
            .symlink("up", "../../../../.."),
        Packing::Gzip,
        &Expected::Contained,
    );
}

// conformance: G36
#[test]
fn corrupt_layers() {
    kiln_only!();
    needs_root!();
    let random: Vec<u8> = (0..300_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    let tree = || TarTree::new().file("random", 0o644, &random);
    hostile(
        "broken gzip",
        tree(),
        Packing::BrokenGzip,
        &Expected::Refused(&["sha256:"]),
    );
    hostile(
        "cut gzip",
        tree(),
        Packing::CutGzip,
        &Expected::Refused(&["sha256:"]),
    );
}

/// Names of secrets do not end up in messages, even when everything fails.
// conformance: I39
#[test]
fn a_failing_login_keeps_the_password() {
    kiln_only!();
    let case = Case::with_registry(Registry::with_login());
    let base = case.base(Base::Busybox);
    let auths = json!({ "auths": { case.registry().host(): { "username": "kiln", "password": "hunter2-e2e" } } });
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    let outcome = case
        .build(&context)
        .env("DOCKER_AUTH_CONFIG", auths.to_string())
        .arg("--verbosity=trace")
        .run();
    outcome.failed(1, &[case.registry().host()]);
    assert!(!outcome.log.contains("hunter2-e2e"), "{}", outcome.log);
}

// finding 2: what a context brings may be a link to a file of this machine; a message would show its lines.
// conformance: A34
#[test]
fn links_in_the_place_of_a_dockerfile_stay_in_the_context() {
    kiln_only!();
    let case = Case::new();
    let secret = case.path("secret");
    std::fs::write(&secret, "TOKEN-of-somebody\n[TOKEN-of-somebody\n").unwrap();
    let link = |name: &str, target: &str| {
        let _ = std::fs::remove_dir_all(case.path("context"));
        let context = case
            .context()
            .file("f", "f")
            .file("docker/real", "FROM scratch\nCOPY f /f\n");
        match name {
            "Dockerfile" => context.symlink(name, target),
            _ => context
                .dockerfile("FROM scratch\nCOPY f /f\n")
                .symlink(name, target),
        }
    };
    let secret = secret.to_str().unwrap();
    for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
        for target in [
            secret,
            "../secret",
            "docker/../../secret",
            "/proc/self/environ",
        ] {
            let context = link(name, target);
            for build in [
                case.build(&context),
                case.build(&context)
                    .dockerfile(case.path("context/Dockerfile")),
            ] {
                let outcome = build.no_push().run();
                outcome.failed(1, &[name, "not in the build context"]);
                assert!(
                    !outcome.log.contains("TOKEN") && !outcome.log.contains("PATH="),
                    "{}",
                    outcome.log
                );
                let ran = case.build(&context).nowhere().check("text");
                assert!(!format!("{ran:?}").contains("TOKEN"), "{ran:?}");
            }
        }
    }
    for target in ["docker/real", "/docker/real", "../docker/real"] {
        case.build(&link("Dockerfile", target)).no_push().run().ok();
    }
    // A path that is not in the context is one that the caller chose.
    std::fs::write(case.path("own"), "FROM scratch\nCOPY f /f\n").unwrap();
    std::os::unix::fs::symlink("own", case.path("linked")).unwrap();
    let context = case.context().file("f", "f");
    case.build(&context)
        .dockerfile(case.path("linked"))
        .no_push()
        .run()
        .ok();
    // The ignore file of another context is another's, too.
    let context = link("other", "docker/real").dockerfile("FROM scratch\nCOPY --from=more f /f\n");
    let more = case
        .context_named("more")
        .file("f", "f")
        .symlink(".dockerignore", secret);
    let flag = format!("--build-context=more={}", more.path().display());
    let outcome = case.build(&context).no_push().arg(flag).run();
    outcome.failed(1, &["not in the build context"]);
    assert!(!outcome.log.contains("TOKEN"), "{}", outcome.log);
}

// finding 2: neither a wait for a pipe nor all of the memory.
#[test]
fn what_is_no_file_or_too_large_is_refused_at_once() {
    kiln_only!();
    let case = Case::new();
    let limit = |name: &str| match name {
        "Dockerfile" => "larger than 4194304 bytes, the limit for a Dockerfile",
        _ => "larger than 1048576 bytes, the limit for an ignore file",
    };
    for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
        for kind in ["pipe", "sparse", "socket", "folder"] {
            let _ = std::fs::remove_dir_all(case.path("context"));
            let mut context = case.context().file("f", "f");
            if name != "Dockerfile" {
                context = context.dockerfile("FROM scratch\nCOPY f /f\n");
            }
            let path = case.path("context").join(name);
            let said = match kind {
                "pipe" => {
                    output(Command::new("mkfifo").arg(&path));
                    "it is a pipe, and a file is needed"
                }
                "sparse" => {
                    std::fs::File::create(&path)
                        .unwrap()
                        .set_len(4 << 30)
                        .unwrap();
                    limit(name)
                }
                "socket" => {
                    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
                    ""
                }
                _ => {
                    std::fs::create_dir(&path).unwrap();
                    ""
                }
            };
            case.build(&context).no_push().run().failed(1, &[said]);
        }
    }
    let _ = std::fs::remove_dir_all(case.path("context"));
    let context = case.context().file("f", "f");
    for path in ["/dev/zero", "/proc/self/pagemap"] {
        let outcome = case.build(&context).dockerfile(path).no_push().run();
        assert_eq!(outcome.code, Some(1), "{path}: {}", outcome.log);
    }
    let served = HttpServer::start(|_| Response::new(200, "text/plain", "x".repeat(5 << 20)));
    let outcome = case
        .build(&context)
        .dockerfile(served.url("Dockerfile"))
        .no_push()
        .run();
    outcome.failed(1, &[limit("Dockerfile")]);
    // A secret, and the docker configuration.
    let context = case
        .context()
        .file("f", "f")
        .dockerfile("FROM scratch\nCOPY f /f\n");
    std::fs::create_dir_all(case.path("home/.docker")).unwrap();
    output(Command::new("mkfifo").arg(case.path("home/.docker/config.json")));
    case.build(&context)
        .run()
        .failed(1, &["config.json", "it is a pipe"]);
}
