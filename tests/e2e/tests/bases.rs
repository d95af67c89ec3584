//! Base images of every kind, from registries of every kind.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use kiln_e2e::{
    Base, Case, Fault, Forged, HttpServer, Image, ImageSpec, LayerSpec, Packing, Proxy, Registry,
    Response, TarTree, kiln_only, namespace_only, needs_root, output, tool,
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

// conformance: F25 F26
#[test]
fn the_manifest_format_is_that_of_the_base_unless_asked() {
    kiln_only!();
    let case = Case::new();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let table = [
        (Base::Docker, None, docker),
        (Base::Busybox, None, oci),
        (Base::Docker, Some("--image-format=oci"), oci),
        (Base::Busybox, Some("--image-format=docker"), docker),
        // Docker's manifest cannot say it.
        (Base::Docker, Some("--annotation=k=v=w"), oci),
    ];
    for (base, asked, expected) in table {
        let reference = case.base(base);
        let original = Image::read(&format!("docker://{reference}"));
        let context = case
            .context()
            .dockerfile(format!("FROM {reference}\nCOPY Dockerfile /\n"));
        let mut build = case.build(&context);
        if let Some(flag) = asked {
            build = build.arg(flag);
        }
        let image = build.run().image();
        assert_eq!(image.manifest["mediaType"], expected, "{base:?} {asked:?}");
        // Relabelled or not, the blobs below are those of the base.
        assert_eq!(image.above(&original).len(), 1, "{base:?} {asked:?}");
        let annotated = asked.is_some_and(|flag| flag.starts_with("--annotation"));
        let annotation = &image.manifest["annotations"]["k"];
        assert_eq!(annotation == "v=w", annotated, "{}", image.manifest);
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

// conformance: F18
#[test]
fn the_config_is_the_same_in_every_format() {
    kiln_only!();
    let case = Case::new();
    let base = case.destination("vendor");
    let mut spec = Base::Busybox.image_spec();
    spec.config["X-Vendor"] = json!({ "kept": [1, null] });
    case.registry().push(&spec, &base);
    let lines = "COPY f /f\nSHELL [\"/s\"]\nHEALTHCHECK --retries=2 CMD x\nONBUILD RUN x\nSTOPSIGNAL 9\nCMD x\n\
                 VOLUME /v\nEXPOSE 1\nMAINTAINER ann\nUSER u\n";
    let context = case.context().file("f", "f");
    let context = context.dockerfile(format!("FROM {base}\n{lines}"));
    let [docker, oci] = ["docker", "oci"].map(|format| {
        let build = case.build(&context).destination(case.destination(format));
        let build = build.env("SOURCE_DATE_EPOCH", "1500000000");
        build.arg(format!("--image-format={format}")).run().image()
    });
    assert_ne!(docker.manifest["mediaType"], oci.manifest["mediaType"]);
    assert_eq!(docker.config, oci.config);
    for key in ["Shell", "Healthcheck", "OnBuild", "ArgsEscaped", "X-Vendor"] {
        assert!(!oci.setting(key).is_null(), "config.{key}: {}", oci.config);
    }
    assert_eq!(oci.setting("X-Vendor"), &spec.config["X-Vendor"]);
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

// conformance: I25 I26
#[test]
fn layers_are_read_by_their_content_and_must_be_what_the_config_says() {
    kiln_only!();
    let case = Case::new();
    let dir = case.path("layout");
    let build = |layer: &Forged| {
        layer.write_layout(&dir);
        let lines = format!("FROM oci-layout://{}\nCOPY Dockerfile /f/\n", dir.display());
        let run = case.build(&case.context().dockerfile(lines)).run();
        fs::remove_dir_all(&dir).unwrap();
        run
    };
    let gzip = Forged::gzip(|forge| {
        forge.entry(b'5', "f", b"");
    });
    let plain = Forged::plain(|forge| {
        forge.entry(b'5', "f", b"");
    });
    let zstd = Forged {
        blob: zstd::encode_all(&plain.blob[..], 3).unwrap(),
        ..plain.clone()
    };
    for (layer, suffix) in [
        (&gzip, "+gzip"),
        (&gzip, ""),
        (&gzip, "+zstd"),
        (&plain, "+gzip"),
        (&zstd, "+gzip"),
    ] {
        let layer = Forged {
            suffix,
            ..layer.clone()
        };
        assert!(build(&layer).image().tree().has("f/Dockerfile"), "{suffix}");
    }
    let other = Forged {
        diff_id: kiln_e2e::digest(b"other"),
        ..gzip.clone()
    };
    let said = [&other.diff_id, "unpacks to", "the image's config says"];
    build(&other).failed(1, &said);
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
    let proxy = Proxy::before(case.registry().host());
    let context = case.context().dockerfile(format!(
        "FROM {}\nRUN echo $PATH > /ran\n",
        proxy.through(&reference)
    ));
    let image = case.build(&context).run().image();
    let [first, second, ..] = &image.layers[..] else {
        panic!("two layers and one");
    };
    assert_eq!(first.digest, second.digest);
    let mut downloads = proxy.blobs();
    downloads.retain(|blob| *blob == first.digest);
    assert_eq!(downloads.len(), 1, "{:#?}", proxy.blobs());
    assert_eq!(image.tree().text("f"), "f");
    assert!(image.tree().text("ran").starts_with("/bin"));
}

// conformance: I19 I20 I21 I22
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
    // What is pushed is not mapped, nor what is said of it, nor where steps are kept.
    let names = case.path("out/names");
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let build = case
        .build(&context)
        .arg(format!("--registry-map={host}=kiln-e2e.invalid"))
        .arg("--skip-default-registry-fallback")
        .arg("--image-name-with-digest-file")
        .arg(&names)
        .cached_in(case.destination("cache"));
    build.run().went("COPY miss");
    let again = build.run();
    again.went("COPY hit");
    let expected = format!("{}@{}\n", case.destination("image"), again.image().digest);
    assert_eq!(fs::read_to_string(names).unwrap(), expected);
}

// conformance: I2 I3 I4 I5 I8 I10 I39
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
    // A program that is missing is said, and the next place is asked.
    let program = json!({ "credHelpers": { case.registry().host(): "kiln-surely-missing" } });
    let outcome = case
        .build(&context)
        .env("DOCKER_AUTH_CONFIG", program.to_string())
        .env("DOCKER_CONFIG", &dir)
        .run();
    let warnings = outcome.ok().warnings();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("docker-credential-kiln-surely-missing")),
        "{warnings:?}"
    );
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

/// Registries, files and repositories are asked for at the proxy, and what is excepted is not.
// conformance: I14
#[test]
fn every_request_goes_through_the_proxy() {
    kiln_only!();
    let case = Case::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let server = HttpServer::start(move |request| {
        noted.lock().unwrap().push(request.path.clone());
        let found = request.path == "http://files.invalid/f";
        Response::new(if found { 200 } else { 404 }, "text/plain", "content")
    });
    let proxy = server.url("");
    let build = |lines: &str| {
        seen.lock().unwrap().clear();
        let context = case.context().dockerfile(lines);
        let build = case.build(&context).env("http_proxy", &proxy);
        build.arg("--insecure-registry=registry.invalid:80")
    };
    let added = build("FROM scratch\nADD http://files.invalid/f /f\n");
    assert_eq!(added.run().image().tree().text("f"), "content");
    let excepted = added.env("NO_PROXY", "x,.invalid").run();
    excepted.failed(1, &["files.invalid"]);
    for (lines, asked) in [
        (
            "FROM registry.invalid:80/a:1\n",
            "http://registry.invalid/v2/",
        ),
        (
            "FROM scratch\nADD http://git.invalid/a.git /a\n",
            "http://git.invalid/a.git/info/refs",
        ),
    ] {
        let outcome = build(lines).run();
        outcome.failed(1, &["Dockerfile:"]);
        let seen = seen.lock().unwrap();
        assert!(
            seen.iter().any(|path| path.starts_with(asked)),
            "{seen:#?}\n{}",
            outcome.log
        );
    }
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
