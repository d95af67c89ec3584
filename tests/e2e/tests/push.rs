//! `executor push`: archives and layouts of ours and of others, read back from a real registry.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_e2e::{
    Base, Build, Case, Image, ImageSpec, LayerSpec, Leaks, Packing, Proxy, Registry, TarTree,
    compare_trees, kiln_only, output, tool,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Copies an image with `skopeo`, from one place in its notation to another.
fn copy(from: &str, to: &str) {
    let mut skopeo = Command::new(tool("skopeo"));
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--all"]);
    skopeo.args(["--src-tls-verify=false", from, to]);
    output(skopeo.env("CONTAINERS_REGISTRIES_CONF", "/dev/null"));
}

/// A base as `docker save` would write it: plain layers, no manifest.
fn saved(case: &Case, base: Base, name: &str) -> PathBuf {
    let path = case.path(&format!("out/{name}.tar"));
    let to = format!("docker-archive:{}:some/{name}:1", path.display());
    copy(&format!("docker://{}", case.base(base)), &to);
    path
}

/// A base as an OCI layout, indexes included.
fn layout(case: &Case, base: Base, name: &str) -> PathBuf {
    let path = case.path(&format!("out/{name}"));
    let to = format!("oci:{}:latest", path.display());
    copy(&format!("docker://{}", case.base(base)), &to);
    path
}

fn read(build: &Build<'_>) -> Image {
    build.run().image()
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The blob of a layout's only manifest's last layer, or its config.
fn blob_of(layout: &Path, config: bool) -> PathBuf {
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        layout.join("blobs").join(digest)
    };
    let index = json_file(&layout.join("index.json"));
    let manifest = json_file(&blob(&index["manifests"][0]["digest"]));
    if config {
        return blob(&manifest["config"]["digest"]);
    }
    blob(&manifest["layers"].as_array().unwrap().last().unwrap()["digest"])
}

/// Changes the byte in the middle of what `needle` begins, or of the whole file.
fn damage(path: &Path, needle: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes
        .windows(needle.len().max(1))
        .position(|window| window == needle)
        .unwrap_or(bytes.len() / 2);
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

// conformance: K11 I36 I37 I38
#[test]
fn our_own_archive_is_pushed_as_it_was_built() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Docker);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY f /f\nENV A=1\n"))
        .file("f", "f\n".repeat(50_000));
    let tar = case.path("out/image.tar");
    let build = case.build(&context).destination(case.destination("built"));
    let built = read(&build.arg("--tar-path").arg(&tar));

    let (digest, names, tags) = (
        case.path("out/deep/digest"),
        case.path("out/names"),
        case.path("out/tags"),
    );
    let push = case
        .push(&tar)
        .arg("--digest-file")
        .arg(&digest)
        .arg("--image-name-with-digest-file")
        .arg(&names)
        .arg("--image-name-tag-with-digest-file")
        .arg(&tags)
        .arg("--skip-push-permission-check")
        .arg("--push-retry=1")
        .arg("--push-ignore-immutable-tag-errors");
    let pushed = read(&push);
    // Its layers are compressed in the archive, so every byte is the same, and so is the manifest.
    assert_eq!(pushed.digest, built.digest);
    assert_eq!(pushed.manifest, built.manifest);
    let name = case.destination("image");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(text(&digest), pushed.digest);
    assert_eq!(text(&names), format!("{name}@{}\n", pushed.digest));
    assert_eq!(text(&tags), format!("{name}:latest@{}\n", pushed.digest));
}

// conformance: K11 G45
#[test]
fn plain_layers_of_an_archive_are_pushed_as_gzip() {
    kiln_only!();
    let case = Case::new();
    for base in [Base::Docker, Base::Busybox, Base::Plain] {
        let tar = saved(&case, base, "saved");
        let original = Image::read(&format!("docker://{}", case.base(base)));
        let push = |name: &str| read(&case.push(&tar).destination(case.destination(name)));
        let pushed = push("once");
        assert_eq!(
            pushed.manifest["mediaType"],
            "application/vnd.docker.distribution.manifest.v2+json"
        );
        assert_eq!(
            pushed.manifest["config"]["mediaType"],
            "application/vnd.docker.container.image.v1+json"
        );
        for (layer, before) in pushed.layers.iter().zip(&original.layers) {
            assert_eq!(layer.media_type, DOCKER_GZIP);
            assert_eq!(&layer.head[..2], [0x1f, 0x8b]);
            assert_eq!(layer.head[4..8], [0; 4], "no time in the gzip header");
            assert_eq!(layer.diff_id, before.diff_id);
        }
        assert_eq!(pushed.config["config"], original.config["config"]);
        assert!(compare_trees(&pushed.tree(), &original.tree(), |_| false).is_empty());
        assert_eq!(push("twice").digest, pushed.digest, "{base:?}");
        fs::remove_file(&tar).unwrap();
    }
}

/// An archive in the form of kaniko and crane, with the layers of `packings` under names that say nothing.
fn archive_of(case: &Case, packings: &[Packing]) -> PathBuf {
    let dir = case.path("out/archive");
    fs::create_dir_all(dir.join("folder")).unwrap();
    let layers = packings.iter().enumerate().map(|(at, packing)| {
        let tar = TarTree::new().file(&format!("file{at}"), 0o644, "x".repeat(at + 1));
        LayerSpec {
            tar: tar.finish(),
            packing: *packing,
        }
    });
    let spec = ImageSpec::new(layers.collect(), json!({ "Env": ["A=1"] }));
    spec.write_layout(&case.path("out/spec"), "x");
    let spec = case.path("out/spec");
    fs::copy(blob_of(&spec, true), dir.join("config")).unwrap();
    let index = json_file(&spec.join("index.json"));
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        spec.join("blobs").join(digest)
    };
    let manifest = json_file(&blob(&index["manifests"][0]["digest"]));
    let mut names = Vec::new();
    for (at, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
        names.push(format!("folder/{at}"));
        fs::copy(blob(&layer["digest"]), dir.join(&names[at])).unwrap();
    }
    let entry = json!([{ "Config": "config", "RepoTags": null, "Layers": names }]);
    fs::write(dir.join("manifest.json"), entry.to_string()).unwrap();
    pack(case, &dir)
}

fn pack(case: &Case, dir: &Path) -> PathBuf {
    let tar = case.path("out/packed.tar");
    output(
        Command::new(tool("tar"))
            .arg("-C")
            .arg(dir)
            .arg("-cf")
            .arg(&tar)
            .arg("."),
    );
    tar
}

// conformance: K11 I26
#[test]
fn compressed_layers_of_an_archive_are_pushed_byte_for_byte() {
    kiln_only!();
    let table: [(&[Packing], [&str; 2]); 2] = [
        (&[Packing::Gzip, Packing::Plain], [DOCKER_GZIP, DOCKER_GZIP]),
        // Docker has no zstd layers, so the whole image is OCI.
        (
            &[Packing::Zstd, Packing::Gzip],
            [
                "application/vnd.oci.image.layer.v1.tar+zstd",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
        ),
    ];
    for (packings, types) in table {
        let case = Case::new();
        let tar = archive_of(&case, packings);
        let image = read(&case.push(&tar));
        let pushed: Vec<&str> = image
            .layers
            .iter()
            .map(|layer| layer.media_type.as_str())
            .collect();
        assert_eq!(pushed, types);
        // The same layers in a layout: compressed ones have the digest they had in the archive.
        let stored = Image::read(&format!("oci:{}:x", case.path("out/spec").display()));
        for (at, packing) in packings.iter().enumerate() {
            let same = image.layers[at].digest == stored.layers[at].digest;
            assert_eq!(same, *packing != Packing::Plain, "{packing:?}");
        }
        assert_eq!(image.tree().paths(), ["file0", "file1"]);
        assert_eq!(image.env("A"), Some("1"));
    }
}

// conformance: K11 I30
#[test]
fn layouts_are_pushed_byte_for_byte() {
    kiln_only!();
    for base in [Base::Busybox, Base::Docker, Base::Zstd, Base::Plain] {
        let case = Case::new();
        let dir = layout(&case, base, "layout");
        let pushed = read(&case.push(&dir));
        let index = json_file(&dir.join("index.json"));
        assert_eq!(index["manifests"][0]["digest"], pushed.digest.as_str());
        let original = Image::read(&format!("docker://{}", case.base(base)));
        assert!(compare_trees(&pushed.tree(), &original.tree(), |_| false).is_empty());
    }
    // umoci's own manifest, written by nobody of ours.
    let case = Case::new();
    let dir = layout(&case, Base::Busybox, "layout");
    let image = format!("{}:latest", dir.display());
    let words = ["config", "--config.label", "by=umoci", "--image", &image];
    output(Command::new(tool("umoci")).args(words));
    let pushed = read(&case.push(&dir));
    assert_eq!(pushed.label("by"), Some("umoci"));
    let index = json_file(&dir.join("index.json"));
    assert_eq!(index["manifests"][0]["digest"], pushed.digest.as_str());
}

// conformance: K11
#[test]
fn an_index_is_pushed_with_all_its_platforms() {
    kiln_only!();
    let case = Case::new();
    let dir = layout(&case, Base::Index, "layout");
    case.push(&dir).run().ok();
    let raw = |name: &str| case.registry().raw_manifest(name).unwrap();
    let index = raw(&case.destination("image"));
    assert_eq!(index, raw(&case.base(Base::Index)));
    // Every platform can be copied from there.
    let copied = case.path("out/copied");
    let from = format!("docker://{}", case.destination("image"));
    copy(&from, &format!("oci:{}:x", copied.display()));
    let manifests = serde_json::from_str::<Value>(&index).unwrap()["manifests"].clone();
    assert_eq!(manifests.as_array().unwrap().len(), 3);
}

// conformance: K11
#[test]
fn a_layout_of_ours_with_two_names_is_one_image() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let dir = case.path("out/layout");
    let build = case.build(&context).arg("--no-push");
    let build = build.destination("a/b:1").destination("a/b:2");
    build.arg("--oci-layout-path").arg(&dir).run().ok();
    let index = json_file(&dir.join("index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    let pushed = read(&case.push(&dir));
    assert_eq!(index["manifests"][1]["digest"], pushed.digest.as_str());
}

// conformance: I30 I31 I33
#[test]
fn several_destinations_share_what_is_sent() {
    kiln_only!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let tar = archive_of(&case, &[Packing::Gzip, Packing::Plain]);
    let id = case.id().to_lowercase();
    let names = ["one:1", "one:2", "two:1"].map(|name| proxy.reference(&format!("{id}/{name}")));
    let mut push = case.push(&tar);
    for name in &names {
        push = push.destination(name);
    }
    push.run().ok();
    let uploads = proxy.uploads();
    assert_eq!(uploads.len(), 3, "two layers and a config: {uploads:#?}");
    let digests = names.map(|name| Image::read(&format!("docker://{name}")).digest);
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    proxy.forget();
    push.run().ok();
    assert_eq!(proxy.uploads(), Vec::<String>::new());
}

/// Makes something that is damaged.
type Spoil<'a> = &'a dyn Fn(&Case) -> PathBuf;

// conformance: I25 I30
#[test]
fn a_damaged_blob_is_not_pushed_and_no_manifest_either() {
    kiln_only!();
    let spoiled_layout = |case: &Case, config| {
        let dir = layout(case, Base::Busybox, "layout");
        damage(&blob_of(&dir, config), b"");
        dir
    };
    let table: [(&str, Spoil<'_>, &[&str]); 6] = [
        (
            "layer of a layout",
            &|case| spoiled_layout(case, false),
            &[
                "blobs/sha256/",
                "is not what it should be",
                "expected content",
            ],
        ),
        (
            "config of a layout",
            &|case| spoiled_layout(case, true),
            &["blobs/sha256/", "is not what it should be"],
        ),
        (
            "missing blob of a layout",
            &|case| {
                let dir = layout(case, Base::Busybox, "layout");
                fs::remove_file(blob_of(&dir, false)).unwrap();
                dir
            },
            &["cannot open", "blobs/sha256/", "No such file"],
        ),
        (
            "plain layer of an archive",
            &|case| {
                let tar = saved(case, Base::Busybox, "saved");
                damage(&tar, b"second layer");
                tar
            },
            &["saved.tar", "is damaged", "but the config says sha256:"],
        ),
        (
            "config of an archive",
            &|case| {
                let tar = saved(case, Base::Busybox, "saved");
                damage(&tar, b"from base");
                tar
            },
            &["saved.tar", "is damaged", ".json"],
        ),
        (
            "gzip layer of an archive",
            &|case| {
                let tar = archive_of(case, &[Packing::Plain, Packing::Gzip]);
                let stored = fs::read(case.path("out/archive/folder/1")).unwrap();
                damage(&tar, &stored[10..]);
                tar
            },
            &["folder/1", "cannot be read"],
        ),
    ];
    for (what, make, said) in table {
        let case = Case::new();
        let path = make(&case);
        case.push(&path).run().failed(1, said);
        let name = case.destination("image");
        assert!(case.registry().raw_manifest(&name).is_none(), "{what}");
    }
}

// conformance: K11
#[test]
fn there_must_be_one_image_exactly() {
    kiln_only!();
    let case = Case::new();
    let dir = layout(&case, Base::Busybox, "layout");
    let from = format!("docker://{}", case.base(Base::Zstd));
    copy(&from, &format!("oci:{}:other", dir.display()));
    let said = [
        "layout` holds 2 images",
        "`latest`, sha256:",
        "`other`, sha256:",
        "hint: ",
    ];
    case.push(&dir).run().failed(1, &said);

    let empty = r#"{"schemaVersion":2,"manifests":[]}"#;
    fs::write(dir.join("index.json"), empty).unwrap();
    case.push(&dir).run().failed(1, &["layout` holds no image"]);

    // `docker save a b`: both in one folder, one list.
    let both = case.path("out/both");
    fs::create_dir(&both).unwrap();
    let mut entries = Vec::new();
    for (base, name) in [(Base::Busybox, "one"), (Base::Docker, "two")] {
        let tar = saved(&case, base, name);
        output(
            Command::new(tool("tar"))
                .arg("-C")
                .arg(&both)
                .arg("-xf")
                .arg(&tar),
        );
        let list = json_file(&both.join("manifest.json"));
        entries.push(list[0].clone());
        fs::set_permissions(
            both.join("manifest.json"),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )
        .unwrap();
    }
    fs::write(both.join("manifest.json"), json!(entries).to_string()).unwrap();
    let tar = pack(&case, &both);
    let said = [
        "packed.tar` holds 2 images",
        "some/one:1",
        "some/two:1",
        "hint: ",
    ];
    case.push(&tar).run().failed(1, &said);
    let name = case.destination("image");
    assert!(case.registry().raw_manifest(&name).is_none());
}

// conformance: K11
#[test]
fn what_cannot_be_pushed_is_said() {
    kiln_only!();
    let case = Case::new();
    let dir = layout(&case, Base::Busybox, "layout");
    let saved = saved(&case, Base::Busybox, "saved");
    let text = case.path("out/text");
    fs::write(&text, "no archive\n".repeat(100)).unwrap();
    fs::create_dir(case.path("out/empty")).unwrap();
    let gzip = case.path("out/saved.tar.gz");
    output(
        Command::new("/bin/sh")
            .arg("-c")
            .arg(r#"gzip -1 < "$1" > "$2""#)
            .arg("sh")
            .arg(&saved)
            .arg(&gzip),
    );
    let oci_tar = pack(&case, &dir);
    let pipe = case.path("out/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let table: [(PathBuf, &[&str]); 6] = [
        (case.path("out/nothing"), &["out/nothing", "No such file"]),
        (text, &["out/text` is no tar archive"]),
        (case.path("out/empty"), &["is not an OCI image layout"]),
        (gzip, &["compressed with gzip", "hint: ", "gunzip"]),
        (oci_tar, &["no entry `manifest.json`", "hint: ", "unpacked"]),
        (pipe, &["neither a file nor a folder"]),
    ];
    for (path, said) in table {
        case.push(&path).run().failed(1, said);
    }
    let nowhere = case.push(&saved).nowhere().run();
    nowhere.failed(1, &["--destination"]);
    // Refused before the archive is read through, and by both destinations at once.
    let refused = case.push(&saved).destination("127.0.0.1:1/a:1").run();
    refused.failed(1, &["cannot push to `127.0.0.1:1/a`"]);
    let skipping = case.push(&saved).destination("127.0.0.1:1/a:1");
    let skipping = skipping.destination(case.destination("other"));
    let outcome = skipping.arg("--skip-push-permission-check").run();
    outcome.failed(1, &["cannot push `127.0.0.1:1/a:1`"]);
    let other = case.registry().raw_manifest(&case.destination("other"));
    assert!(other.is_some(), "the other destination gets it");
}

// conformance: I2 I29 I39
#[test]
fn credentials_are_used_and_their_absence_is_said() {
    kiln_only!();
    let case = Case::with_registry(Registry::with_login());
    let tar = archive_of(&case, &[Packing::Gzip]);
    let refused = case.push(&tar).run();
    refused.failed(1, &["cannot push to `", "hint: ", "credentials"]);
    let late = case.push(&tar).arg("--skip-push-permission-check").run();
    late.failed(1, &["cannot push `", "hint: ", "credentials"]);
    // base64 of `kiln:s3cret:pw`
    let auth = json!({ "auths": { case.registry().host(): { "auth": "a2lsbjpzM2NyZXQ6cHc=" } } });
    let push = case.push(&tar).env("DOCKER_AUTH_CONFIG", auth.to_string());
    let outcome = push.arg("--verbosity=trace").run();
    outcome.ok();
    assert!(!outcome.log.contains("s3cret"), "{}", outcome.log);
    let name = case.destination("image");
    assert!(case.registry().raw_manifest(&name).is_some());
}

#[test]
fn sigterm_stops_a_push_and_leaves_nothing() {
    kiln_only!();
    let case = Case::new();
    // Nobody ever answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tar = saved(&case, Base::Busybox, "saved");
    let name = format!(
        "{}/{}:1",
        listener.local_addr().unwrap(),
        case.id().to_lowercase()
    );
    let push = case.push(&tar).destination(name);
    let leaks = Leaks::before(&case);
    let mut running = push.arg("--skip-push-permission-check").start();
    running.wait_for("packed");
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    leaks.check_after(&outcome.log);
    outcome.failed(1, &["terminated", "interrupted"]);
}
