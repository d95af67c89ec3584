//! Where the image goes: registries, archives, layouts, and the small files about it.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use kiln_e2e::{
    Base, Case, Context, Forged, HttpServer, Image, Proxy, Response, compare_trees, kiln_only,
    needs_root, output, tool, write_documents,
};
use serde_json::Value;

/// A context with a base and two layers of its own.
fn context(case: &Case) -> Context {
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nCOPY one /one\nCOPY two /two\nCMD [\"/bin/cat\", \"/one\"]\n"
    ));
    context.file("one", "1\n").file("two", "2\n".repeat(50_000))
}

// conformance: I30 I37
#[test]
fn several_destinations_get_the_same_image() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let names = ["a:v1", "a:v2", "b/c:latest"].map(|name| case.destination(name));
    let mut build = case.build(&context);
    for name in &names {
        build = build.destination(name);
    }
    let (digest, digests, tags) = (
        case.path("out/digest"),
        case.path("out/deep/digests"),
        case.path("out/tags"),
    );
    build = build
        .arg("--digest-file")
        .arg(&digest)
        .arg("--image-name-with-digest-file")
        .arg(&digests);
    build
        .arg("--image-name-tag-with-digest-file")
        .arg(&tags)
        .run()
        .ok();
    let images: Vec<Image> = names
        .iter()
        .map(|name| Image::read(&format!("docker://{name}")))
        .collect();
    assert!(images.iter().all(|image| image.digest == images[0].digest));
    // conformance: I36
    assert_eq!(fs::read_to_string(&digest).unwrap(), images[0].digest);
    let lines = |path| {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected: Vec<String> = names
        .iter()
        .map(|name| format!("{name}@{}", images[0].digest))
        .collect();
    assert_eq!(lines(&tags), expected);
    let without_tags: Vec<String> = names
        .iter()
        .map(|name| format!("{}@{}", name.rsplit_once(':').unwrap().0, images[0].digest))
        .collect();
    assert_eq!(lines(&digests), without_tags);
}

// conformance: I30 I31 I33
#[test]
fn what_the_registry_has_is_not_uploaded_again() {
    kiln_only!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let base = case.base(Base::Busybox);
    let base = proxy.reference(base.split_once('/').unwrap().1);
    let context = context(&case).dockerfile(format!("FROM {base}\nCOPY one /one\nCOPY two /two\n"));
    let destination = proxy.reference(&format!("{}/new", case.id().to_lowercase()));
    let build = case.build(&context).destination(&destination);

    let first = build.clone().arg("--reproducible").run();
    first.ok();
    let puts = proxy.seen("PUT");
    let manifest = |path: &String| path.contains("/manifests/");
    assert_eq!(
        puts.iter().position(manifest),
        Some(puts.len() - 1),
        "the manifest comes last: {puts:#?}"
    );
    // Two layers and the config: those of the base are in the registry already, under another repository.
    let uploads = proxy.uploads();
    assert_eq!(uploads.len(), 3, "{uploads:#?}");
    let mounts: Vec<String> = proxy
        .seen("POST")
        .into_iter()
        .filter(|path| path.contains("mount=sha256"))
        .collect();
    assert_eq!(
        mounts.len(),
        2,
        "the base's layers are mounted: {:#?}",
        proxy.seen("POST")
    );

    proxy.forget();
    build.arg("--reproducible").run().ok();
    assert_eq!(
        proxy.uploads(),
        Vec::<String>::new(),
        "the second time nothing is new"
    );
    let layers_read: Vec<String> = proxy
        .seen("GET")
        .into_iter()
        .filter(|path| path.contains("/blobs/"))
        .collect();
    assert!(
        layers_read.len() <= 4,
        "config and at most the layers for the file index: {layers_read:#?}"
    );
}

/// Both before anything is executed, and again when it is there to be pushed.
// conformance: I29 I30
#[test]
fn every_destination_is_asked_and_tried() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines = format!("FROM {base}\nRUN echo exe''cuted\nCOPY Dockerfile /\n");
    let context = case.context().dockerfile(lines);
    let good = case.destination("good");
    for refusing in [
        ["127.0.0.1:1/a", "127.0.0.1:2/b"],
        ["127.0.0.1:2/b", "127.0.0.1:1/a"],
    ] {
        let build = case.build(&context).destination(refusing[0]);
        let build = build.destination(&good).destination(refusing[1]);
        let outcome = build.run();
        outcome.failed(1, &["cannot push to `127.0.0.1:"]);
        assert!(!outcome.log.contains("executed"), "{}", outcome.log);
        assert!(case.registry().raw_manifest(&good).is_none());
    }
    let build = case.build(&context).destination("127.0.0.1:1/a");
    let build = build.destination(&good).destination("127.0.0.1:2/b");
    let outcome = build.arg("--skip-push-permission-check").run();
    let said = ["executed", "127.0.0.1:1/a", "127.0.0.1:2/b"];
    outcome.failed(1, &said);
    assert!(case.registry().raw_manifest(&good).is_some());
}

/// What is said of an image that goes nowhere but into a file: to a server, and as the builder's caller wants it.
// conformance: I36 I37
#[test]
fn digests_go_where_they_are_wanted() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = sent.clone();
    let server = HttpServer::start(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let line = format!("{} {} {body}", request.method, request.path);
        noted.lock().unwrap().push(line);
        let status = if request.path == "/full" { 507 } else { 201 };
        Response::new(status, "text/plain", "")
    });
    let layout = case.path("out/layout");
    let names = ["reg.example/a:1", "reg.example/b"];
    let build = case.build(&context).arg("--no-push");
    let build = build.destination(names[0]).destination(names[1]);
    let build = build
        .arg("--oci-layout-path")
        .arg(&layout)
        .env("BUILDER_OUTPUT", case.path("out/deep/builder"));
    build
        .clone()
        .arg(format!("--digest-file={}", server.url("digest")))
        .run()
        .ok();
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(*sent.lock().unwrap(), [format!("PUT /digest {digest}")]);
    let lines = fs::read_to_string(case.path("out/deep/builder/images")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = |name: &str| serde_json::json!({ "name": name, "digest": digest });
    assert_eq!(
        lines,
        [named("reg.example/a:1"), named("reg.example/b:latest")]
    );
    build
        .arg(format!("--digest-file={}", server.url("full")))
        .run()
        .failed(1, &[&server.url("full"), "507"]);

    let (tar, file) = (case.path("out/image.tar"), case.path("out/new/digest"));
    let build = case.build(&context).no_push().arg("--tar-path").arg(&tar);
    build.arg("--digest-file").arg(&file).run().ok();
    let digest = fs::read_to_string(file).unwrap();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest:?}"
    );
    assert!(tar.exists());
}

/// Layers that are fetched from elsewhere are not ours to spread.
// conformance: I27
#[test]
fn foreign_layers_keep_their_addresses_and_are_not_pushed() {
    kiln_only!();
    let case = Case::new();
    let forged = Forged::gzip(|forge| {
        forge.file(&case.id());
    });
    let digest = kiln_e2e::digest(&forged.blob);
    let layer = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": digest, "size": forged.blob.len(),
        "urls": ["https://elsewhere.invalid/layer"],
    });
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [forged.diff_id] },
    });
    let dir = case.path("layout");
    let more = serde_json::json!({ "layers": [layer] });
    // The blob is here, so that nothing but its type keeps it from being pushed.
    write_documents(&dir, &config, &[], &more);
    let name = digest.replace(':', "/");
    fs::write(dir.join("blobs").join(name), &forged.blob).unwrap();
    // Not every registry takes manifests without all of their blobs; this one takes everything.
    let taken = Arc::new(Mutex::new(Vec::new()));
    let noted = taken.clone();
    let server = HttpServer::start(move |request| {
        let what = (request.path.clone(), request.body.clone());
        noted.lock().unwrap().push(what);
        let (status, location) = match request.method.as_str() {
            "POST" | "PATCH" => (202, "/v2/x/blobs/uploads/1"),
            "PUT" => (201, "/v2/x"),
            "HEAD" => (404, ""),
            _ => (200, ""),
        };
        Response::new(status, "text/plain", "").header("Location", location)
    });
    let lines = format!("FROM oci-layout://{}\nCOPY one /one\n", dir.display());
    let build = case.build(&context(&case).dockerfile(lines));
    for (build, own) in [(build, 1), (case.push(&dir), 0)] {
        taken.lock().unwrap().clear();
        let name = format!("{}/x:1", server.address());
        build.destination(name).run().ok();
        let taken = taken.lock().unwrap();
        let manifest = taken.iter().find(|(path, _)| path == "/v2/x/manifests/1");
        let manifest: Value = serde_json::from_slice(&manifest.unwrap().1).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!((&layers[0], layers.len()), (&layer, 1 + own));
        let hex = digest.split_once(':').unwrap().1;
        let asked: Vec<&String> = taken.iter().map(|(path, _)| path).collect();
        assert!(!asked.iter().any(|path| path.contains(hex)), "{asked:#?}");
    }
}

// conformance: I38
#[test]
fn an_archive_that_others_read() {
    kiln_only!();
    let case = Case::new();
    let tar = case.path("out/image.tar");
    let names = [case.destination("a:1"), case.destination("b:2")];
    let mut build = case
        .build(&context(&case))
        .arg("--no-push")
        .arg("--tar-path")
        .arg(&tar);
    for name in &names {
        build = build.destination(name);
    }
    build.arg("--image-format=docker").run().ok();
    assert!(
        case.registry().raw_manifest(&names[0]).is_none(),
        "--no-push"
    );
    let image = Image::read(&format!("docker-archive:{}:{}", tar.display(), names[1]));
    assert_eq!(image.tree().text("one"), "1\n");
    let listing = output(
        Command::new(tool("tar"))
            .arg("--list")
            .arg("--file")
            .arg(&tar),
    )
    .stdout;
    assert!(
        listing.lines().any(|line| line == "manifest.json"),
        "{listing}"
    );
    let text = output(
        Command::new(tool("tar"))
            .arg("-xOf")
            .arg(&tar)
            .arg("manifest.json"),
    )
    .stdout;
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let tags: Vec<&str> = manifest[0]["RepoTags"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(tags, names);
    // Without a name it still loads.
    case.build(&context(&case))
        .no_push()
        .arg("--image-format=docker")
        .arg("--tar-path")
        .arg(&tar)
        .run()
        .ok();
    let text = output(
        Command::new(tool("tar"))
            .arg("-xOf")
            .arg(&tar)
            .arg("manifest.json"),
    )
    .stdout;
    assert!(text.contains("unset-repo/unset-image-name"), "{text}");
}

// conformance: I38
#[test]
fn a_layout_that_others_read_and_that_grows() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let layout = case.path("out/layout");
    let context = context(&case);
    case.build(&context)
        .arg("--oci-layout-path")
        .arg(&layout)
        .run()
        .ok();
    let pushed = Image::read(&format!("docker://{}", case.destination("image")));
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], pushed.digest.as_str());
    let image = Image::read(&format!("oci:{}", layout.display()));
    // umoci and our reader of tars see the same files.
    let root = image.unpack(&case.path("unpacked"));
    let unpacked = kiln_e2e::Tree::of_dir(&root).unwrap();
    let differences = compare_trees(&image.tree(), &unpacked, |_| false);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let cat = output(
        Command::new(tool("chroot"))
            .arg(&root)
            .args(["/bin/cat", "/one"]),
    );
    assert_eq!(cat.stdout, "1\n");

    let other = case
        .context_named("other")
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    case.build(&other)
        .no_push()
        .arg("--oci-layout-path")
        .arg(&layout)
        .run()
        .ok();
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(
        index["manifests"].as_array().unwrap().len(),
        2,
        "an existing layout is extended: {index}"
    );
}

// conformance: G46 G45
#[test]
fn compression_and_its_level() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let base = Image::read(&format!("docker://{}", case.base(Base::Busybox)));
    let build = |name: &str, flags: &[&str]| {
        let mut build = case.build(&context).destination(case.destination(name));
        for flag in flags {
            build = build.arg(flag);
        }
        build.run().image()
    };
    let gzip = build("gzip", &[]);
    let zstd = build("zstd", &["--compression=zstd"]);
    for layer in gzip.above(&base) {
        assert_eq!(&layer.head[..2], [0x1f, 0x8b]);
        assert_eq!(
            layer.head[3] & 0b1_1000,
            0,
            "no name or comment in the gzip header"
        );
        assert_eq!(layer.head[4..8], [0; 4], "no time in the gzip header");
        assert!(layer.media_type.ends_with("tar+gzip"));
    }
    for layer in zstd.above(&base) {
        assert_eq!(&layer.head[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert_eq!(
            layer.media_type,
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }
    assert!(compare_trees(&gzip.tree(), &zstd.tree(), |_| false).is_empty());
    let fast = build("fast", &["--compression-level=1"]);
    let best = build("best", &["--compression-level=9", "--compression=gzip"]);
    let size = |image: &Image| image.above(&base)[1].size;
    assert!(
        size(&best) < size(&fast),
        "{} < {}",
        size(&best),
        size(&fast)
    );
    let refused = case
        .build(&context)
        .arg("--compression=zstd")
        .arg("--image-format=docker")
        .run();
    refused.failed(1, &["zstd", "docker"]);
    case.build(&context)
        .arg("--compression=lz4")
        .run()
        .failed(1, &["lz4"]);
}

// conformance: G41
#[test]
fn a_single_snapshot_is_one_layer() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = Image::read(&format!("docker://{reference}"));
    let dockerfile = format!(
        "FROM {reference}\nCOPY one /one\nRUN rm /one && echo two > /two\nRUN rm /etc/motd\nENV A=1\n"
    );
    let context = case.context().dockerfile(dockerfile).file("one", "");
    let image = case.build(&context).arg("--single-snapshot").run().image();
    let layers = image.above(&base);
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0].names(), ["etc/", "etc/.wh.motd", "two"]);
    assert_eq!(image.env("A"), Some("1"));
    // A stage that only continues another, and one that does nothing at all.
    let table: [(&str, &[&str]); 2] = [
        (
            "FROM BASE AS a\nCOPY one /one\nCOPY one /two\nFROM a\n",
            &["one", "two"],
        ),
        ("FROM BASE\n", &[]),
    ];
    for (at, (lines, names)) in table.into_iter().enumerate() {
        let context = case
            .context()
            .file("one", "")
            .dockerfile(lines.replace("BASE", &reference));
        let build = case.build(&context).arg("--single-snapshot");
        let image = build
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        let layers = image.above(&base);
        assert_eq!(layers.len(), 1, "{lines}");
        assert_eq!(layers[0].names(), names, "{lines}");
    }
}

// conformance: K4 K6
#[test]
fn destinations_are_asked_for() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    case.build(&context)
        .nowhere()
        .run()
        .failed(1, &["--destination", "--no-push"]);
    case.build(&context).no_push().run().ok();
    case.build(&context)
        .env("KANIKO_NO_PUSH", "true")
        .run()
        .ok();
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none(),
        "KANIKO_NO_PUSH"
    );
}

// conformance: J1 J9 J10
#[test]
fn contexts_in_every_form() {
    kiln_only!();
    let case = Case::new();
    let dir = case.path("context");
    let context = case
        .context()
        .file("sub/Dockerfile", "FROM scratch\nCOPY f /\n")
        .file("sub/f", "sub")
        .file("other.df", "FROM scratch\nCOPY sub/f /other\n");
    let tree = |build: kiln_e2e::Build| build.run().image().tree();
    let build = || case.build(&context);
    assert_eq!(tree(build().arg("--context-sub-path=sub")).text("f"), "sub");
    assert_eq!(
        tree(
            build()
                .context(format!("dir://{}", dir.display()))
                .arg("--context-sub-path=sub")
        )
        .text("f"),
        "sub"
    );
    assert_eq!(tree(build().dockerfile("other.df")).text("other"), "sub");
    assert_eq!(
        tree(build().dockerfile(dir.join("other.df"))).text("other"),
        "sub"
    );
    std::os::unix::fs::symlink(&dir, case.path("linked")).unwrap();
    let linked = case.path("linked").display().to_string();
    assert_eq!(
        tree(build().context(linked).dockerfile("other.df")).text("other"),
        "sub"
    );
}

// conformance: K12 K15
#[test]
fn flags_in_kanikos_spellings() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let build = case
        .build(&context)
        .arg("--force=true")
        .arg("--reproducible=false")
        .arg("--cleanup");
    let build = build
        .arg("--snapshot-mode=redo")
        .arg("--use-new-run")
        .arg("--skip-unused-stages=true")
        .arg("--push-retry=2");
    let build = build
        .arg("--log-format=text")
        .arg("--log-timestamp")
        .arg("-v")
        .arg("debug")
        .arg("--single-snapshot=false");
    build.env("FF_KANIKO_COPY_AS_ROOT", "1").run().ok();
    let version = output(Command::new(kiln_e2e::executor()).arg("version"));
    assert!(!version.stdout.trim().is_empty());
}
