//! Base images of every kind, from registries of every kind.

use std::fs;
use std::process::Command;

use kiln_e2e::{
    Base, Case, Fault, ImageSpec, LayerSpec, Packing, Proxy, Registry, TarTree, kiln_only,
    namespace_only, needs_root, output, tool,
};
use serde_json::json;

/// The same build on each base: a COPY and a RUN, so that the layers are really unpacked.
fn check(base: Base) {
    let case = Case::new();
    let reference = case.base(base);
    let dockerfile = format!(
        "FROM {reference}\nCOPY file /copied\nRUN cat /etc/motd /copied /var/old/* > /ran\n"
    );
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("file", "copied\n");
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(
        tree.text("ran"),
        "second layer\ncopied\nabove the opaque marker\n"
    );
    assert!(!tree.has("etc/removed-later") && !tree.has("var/old/below-opaque"));
    assert_eq!(tree.owner("usr/bin/suid"), "4755 0:0");
    assert_eq!(tree.owner("home/app/.profile"), "0600 1000:1000");
}

#[test]
fn oci_with_gzip() {
    needs_root!();
    check(Base::Busybox);
}

#[test]
fn docker_schema2() {
    needs_root!();
    check(Base::Docker);
}

#[test]
fn oci_with_zstd() {
    needs_root!();
    check(Base::Zstd);
}

#[test]
fn oci_without_compression() {
    needs_root!();
    check(Base::Plain);
}

// conformance: I24 C14
#[test]
fn an_index_gives_this_platform() {
    needs_root!();
    check(Base::Index);
}

// conformance: C13 C15 F17
#[test]
fn another_platform_is_taken_when_asked_for() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Index);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    let image = case
        .build(&context)
        .arg("--custom-platform=linux/arm/v7")
        .run()
        .image();
    assert_eq!(image.config["architecture"], "arm");
    assert_eq!(image.config["variant"], "v7");
    let image = case
        .build(&context)
        .arg("--custom-platform")
        .arg("linux/riscv64")
        .run()
        .image();
    assert_eq!(image.config["architecture"], "riscv64");
    let outcome = case
        .build(&context)
        .arg("--custom-platform=linux/s390x")
        .run();
    outcome.failed(1, &["linux/s390x", "linux/riscv64", "linux/arm/v7"]);
    let flag = case.context().dockerfile(format!(
        "FROM --platform=linux/riscv64 {base}\nCOPY Dockerfile /\n"
    ));
    assert_eq!(
        case.build(&flag).run().image().config["architecture"],
        "riscv64"
    );
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    let own = case.build(&context).run().image().config;
    for (value, asked, architecture, variant) in [
        ("linux/arm/v7", "linux/riscv64", "arm", Some("v7")),
        ("$TARGETPLATFORM", "linux/arm/v7", "arm", Some("v7")),
        (
            "$BUILDPLATFORM",
            "linux/arm/v7",
            own["architecture"].as_str().unwrap(),
            own["variant"].as_str(),
        ),
    ] {
        let flag = case.context().dockerfile(format!(
            "FROM --platform={value} {base}\nCOPY Dockerfile /\n"
        ));
        let build = case.build(&flag);
        let image = build
            .arg(format!("--custom-platform={asked}"))
            .run()
            .image();
        assert_eq!(image.config["os"], "linux");
        assert_eq!(image.config["architecture"], architecture, "{value}");
        assert_eq!(image.config["variant"].as_str(), variant, "{value}");
    }
}

// conformance: F26
#[test]
fn the_manifest_format_is_that_of_the_base_unless_asked() {
    kiln_only!();
    let case = Case::new();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let table = [
        (Base::Docker, None, docker),
        (Base::Busybox, None, oci),
        (Base::Docker, Some("oci"), oci),
        (Base::Busybox, Some("docker"), docker),
    ];
    for (base, asked, expected) in table {
        let reference = case.base(base);
        let context = case
            .context()
            .dockerfile(format!("FROM {reference}\nCOPY Dockerfile /\n"));
        let mut build = case.build(&context);
        if let Some(format) = asked {
            build = build.arg(format!("--image-format={format}"));
        }
        let image = build.run().image();
        assert_eq!(image.manifest["mediaType"], expected, "{base:?} {asked:?}");
        let family = if expected == docker {
            "vnd.docker."
        } else {
            "vnd.oci."
        };
        for layer in &image.layers {
            assert!(
                layer.media_type.contains(family),
                "one family per image: {}",
                layer.media_type
            );
        }
        let config = image.manifest["config"]["mediaType"].as_str().unwrap();
        assert!(config.contains(family), "one family per image: {config}");
    }
}

#[test]
fn a_local_oci_layout() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let tar = TarTree::new()
        .dir("etc/", 0o755)
        .file("etc/from-layout", 0o600, "here");
    ImageSpec::of(tar).write_layout(&case.path("layout"), "tagged");
    let dir = case.path("layout");
    for (at, name) in ["", ":tagged"].into_iter().enumerate() {
        let dockerfile = format!(
            "FROM oci-layout://{}{name}\nCOPY Dockerfile /copied\n",
            dir.display()
        );
        let context = case.context().dockerfile(dockerfile);
        let image = case
            .build(&context)
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        assert_eq!(image.tree().text("etc/from-layout"), "here");
        assert!(image.tree().has("copied"));
    }
    let other = case.path("other");
    let missing = case
        .context()
        .dockerfile(format!("FROM oci-layout://{}\nCOPY . /\n", other.display()));
    case.build(&missing)
        .run()
        .failed(1, &[other.to_str().unwrap(), "Dockerfile:1"]);
}

// conformance: I25
#[test]
fn a_damaged_blob_of_a_layout_is_not_passed_on() {
    kiln_only!();
    let case = Case::new();
    // Not compressible, so that the layer is the largest blob.
    let data: Vec<u8> = (0..20_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let tar = TarTree::new().file("data", 0o644, data);
    let dir = case.path("layout");
    ImageSpec::of(tar).write_layout(&dir, "tagged");
    let blobs = dir.join("blobs/sha256");
    let largest = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(largest.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest.path(), bytes).unwrap();
    let out = case.path("out");
    let context = case
        .context()
        .dockerfile(format!("FROM oci-layout://{}\nENV A=b\n", dir.display()));
    let build = case.build(&context).no_push().arg("--oci-layout-path");
    let name = largest.file_name().into_string().unwrap();
    build.arg(&out).run().failed(1, &[&name, "damaged"]);
    assert!(!out.join("index.json").exists(), "there is partial output");
}

// conformance: F25 G46
#[test]
fn docker_format_is_refused_where_it_cannot_be() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Zstd);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN false\n"));
    let docker = case.build(&context).arg("--image-format=docker");
    docker.run().failed(1, &[&base, "zstd"]);
    let tar = case.path("image.tar");
    let archive = case.build(&context).no_push().arg("--tar-path").arg(&tar);
    archive.run().failed(1, &[&base, "zstd"]);
    let annotated = docker.arg("--annotation=a=b");
    annotated.run().failed(1, &["annotations"]);
}

// conformance: G37
#[test]
fn the_same_layer_twice() {
    needs_root!();
    let case = Case::new();
    let busybox = fs::read(tool("busybox")).unwrap();
    let tar = TarTree::new()
        .dir("bin/", 0o755)
        .file("bin/sh", 0o755, busybox)
        .file("f", 0o644, "f")
        .finish();
    let layer = LayerSpec {
        tar,
        packing: Packing::Gzip,
    };
    let spec = ImageSpec::new(vec![layer.clone(), layer], json!({ "Env": ["PATH=/bin"] }));
    let reference = case.destination("twice");
    case.registry().push(&spec, &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nRUN echo $PATH > /ran\n"));
    let image = case.build(&context).run().image();
    assert_eq!(image.tree().text("f"), "f");
    assert!(image.tree().text("ran").starts_with("/bin"));
}

// conformance: I19 I20 I21
#[test]
fn maps_and_mirrors_are_asked_first() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let host = case.registry().host().to_owned();
    let path = base.strip_prefix(&format!("{host}/")).unwrap();
    let context = case
        .context()
        .dockerfile(format!("FROM kiln-e2e.invalid/{path}\nCOPY Dockerfile /\n"));
    let map = format!("--registry-map=kiln-e2e.invalid={host}");
    case.build(&context).arg(map).run().image();
    // The first place of the map does not have it, the second has.
    let map = format!("--registry-map=kiln-e2e.invalid={host}/nowhere;kiln-e2e.invalid={host}");
    case.build(&context).arg(map).run().image();
    // The name without a host is docker.io's, which is not asked when the mirror has it.
    let context = case
        .context()
        .dockerfile(format!("FROM {path}\nCOPY Dockerfile /\n"));
    let mirror = format!("--registry-mirror={host}");
    case.build(&context)
        .arg(mirror)
        .arg("--skip-default-registry-fallback")
        .run()
        .image();
    let nowhere = format!("--registry-mirror={host}/nowhere");
    let outcome = case
        .build(&context)
        .arg(nowhere)
        .arg("--skip-default-registry-fallback")
        .run();
    outcome.failed(1, &["nowhere", "base/busybox"]);
}

// conformance: I2 I3 I4 I8 I10 I39
#[test]
fn credentials_come_from_docker_config() {
    kiln_only!();
    let case = Case::with_registry(Registry::with_login());
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    // base64 of `kiln:s3cret:pw`
    let auth = "a2lsbjpzM2NyZXQ6cHc=";
    let config = json!({ "auths": { case.registry().host(): { "auth": auth } } }).to_string();
    let dir = case.path("docker-config");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("config.json"), &config).unwrap();
    let destination = case.destination("image");
    let outcome = case.build(&context).env("DOCKER_CONFIG", &dir).run();
    outcome.ok();
    assert!(case.registry().raw_manifest(&destination).is_some());
    let inline = case
        .build(&context)
        .env("DOCKER_AUTH_CONFIG", &config)
        .arg("--verbosity=trace")
        .run();
    inline.ok();
    for secret in [auth, "s3cret"] {
        assert!(
            !inline.log.contains(secret),
            "a secret is in the log:\n{}",
            inline.log
        );
    }
    let outcome = case.build(&context).run();
    outcome.failed(1, &[case.registry().host(), "401"]);
    let wrong =
        json!({ "auths": { case.registry().host(): { "username": "kiln", "password": "wr0ng" } } });
    let outcome = case
        .build(&context)
        .env("DOCKER_AUTH_CONFIG", wrong.to_string())
        .run();
    outcome.failed(1, &[case.registry().host()]);
    assert!(!outcome.log.contains("wr0ng"), "{}", outcome.log);
}

// conformance: I12 I13
#[test]
fn tls_is_verified_unless_told_otherwise() {
    kiln_only!();
    // The certificates are not in the case's folder, which is all that a throw-away root has.
    namespace_only!();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("crt.pem"), dir.path().join("key.pem"));
    let mut make = Command::new(tool("openssl"));
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    make.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    output(&mut make);
    let case = Case::with_registry(Registry::with_tls(&certificate, &key));
    let base = case.base(Base::Busybox);
    let host = case.registry().host();
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    let build = case.build(&context);
    build.clone().run().failed(
        1,
        &[
            host,
            "certificate: it is self-signed",
            "--registry-certificate",
        ],
    );
    build
        .clone()
        .arg(format!(
            "--registry-certificate={host}={}",
            certificate.display()
        ))
        .run()
        .ok();
    build
        .clone()
        .arg("--skip-tls-verify")
        .arg("--skip-tls-verify-pull")
        .run()
        .ok();
    build
        .clone()
        .arg(format!("--skip-tls-verify-registry={host}"))
        .run()
        .ok();
    build
        .arg(format!("--registry-certificate={host}=/no/such/file"))
        .run()
        .failed(1, &["/no/such/file"]);
}

// conformance: I15
#[test]
fn what_is_transient_is_tried_again() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let host = case.registry().host().to_owned();
    let path = base.strip_prefix(&format!("{host}/")).unwrap();
    for part in ["/manifests/", "/blobs/"] {
        let proxy = Proxy::with_faults(&host, &[("GET", part, Fault::Transient)]);
        let context = case.context().dockerfile(format!(
            "FROM {}\nCOPY Dockerfile /\n",
            proxy.reference(path)
        ));
        let build = case.build(&context).arg("--image-download-retry=3");
        build.run().ok();
    }
}
