//! Where the image goes: registries, archives, layouts, and the small files about it.

use std::fs;
use std::process::Command;

use kiln_e2e::{
    Base, Case, Context, Image, Proxy, compare_trees, kiln_only, needs_root, output, tool,
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

// conformance: I31 I33
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
