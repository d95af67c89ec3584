//! Volumes that kaniko's warmer filled.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees the helpers of an integration test as ordinary code"
)]

use std::fs;
use std::path::Path;

use kiln_e2e::{Base, Case, Image, Proxy, Volume, kiln_only, output, tool};
use serde_json::{Value, json};

/// Copies an image with `skopeo`, byte for byte.
fn copy(reference: &str, to: &str) {
    let mut command = std::process::Command::new(tool("skopeo"));
    command.args([
        "--insecure-policy",
        "copy",
        "--quiet",
        "--src-tls-verify=false",
    ]);
    output(
        command
            .arg("--preserve-digests")
            .arg(format!("docker://{reference}"))
            .arg(to),
    );
}

/// `sha256:<hex>`, a docker archive as go-containerregistry writes it, and `sha256:<hex>.json`, the manifest.
fn as_archive(reference: &str, digest: &str, volume: &Path) {
    let files = tempfile::tempdir().unwrap();
    copy(reference, &format!("dir:{}", files.path().display()));
    let manifest = fs::read(files.path().join("manifest.json")).unwrap();
    let parsed: Value = serde_json::from_slice(&manifest).unwrap();
    let mut archive = tar::Builder::new(fs::File::create(volume.join(digest)).unwrap());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let blob = |digest: &str| fs::read(files.path().join(&digest["sha256:".len()..])).unwrap();
    let config = parsed["config"]["digest"].as_str().unwrap();
    add(config, &blob(config));
    let mut layers = Vec::new();
    for layer in parsed["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let name = format!("{}.tar.gz", &digest["sha256:".len()..]);
        add(&name, &blob(digest));
        layers.push(name);
    }
    let list = json!([{ "Config": config, "RepoTags": [reference], "Layers": layers }]);
    add("manifest.json", list.to_string().as_bytes());
    archive.finish().unwrap();
    fs::write(volume.join(format!("{digest}.json")), manifest).unwrap();
}

/// `sha256:<hex>/`, an OCI layout of this image.
fn as_layout(reference: &str, digest: &str, volume: &Path) {
    let files = tempfile::tempdir_in(volume).unwrap();
    let layout = files.path().join("layout");
    copy(reference, &format!("oci:{}", layout.display()));
    fs::rename(layout, volume.join(digest)).unwrap();
}

type Store = fn(&str, &str, &Path);

// conformance: H34
#[test]
fn entries_of_kanikos_warmer_are_used_as_they_are() {
    kiln_only!();
    let rows: [(Base, Store, &str); 3] = [
        (Base::Docker, as_archive, "KanikoArchive"),
        (Base::Busybox, as_archive, "KanikoArchive"),
        (Base::Busybox, as_layout, "KanikoLayout"),
    ];
    for (base, store, origin) in rows {
        let case = Case::new();
        let proxy = Proxy::before(case.registry().host());
        let reference = case.base(base);
        let original = Image::read(&format!("docker://{reference}"));
        let volume = Volume::new(&case, case.path("cache"));
        fs::create_dir(volume.dir()).unwrap();
        store(&reference, &original.digest, volume.dir());
        let listed = volume.images();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["origin"], origin);
        assert_eq!(listed[0]["digest"], original.digest);

        let from = proxy.through(&reference);
        let context = case
            .context()
            .dockerfile(format!("FROM {from}\nCOPY Dockerfile /seen\n"));
        let built = case
            .build(&context)
            .arg("--cache")
            .arg("--no-push-cache")
            .arg(format!("--cache-dir={}", volume.dir().display()))
            .run()
            .image();
        assert!(proxy.blobs().is_empty(), "{base:?}: {:#?}", proxy.blobs());
        let theirs = original.manifest["layers"].as_array().unwrap();
        let ours = built.manifest["layers"].as_array().unwrap();
        assert_eq!(ours[..theirs.len()], theirs[..], "{base:?}, {origin}");
        for (key, layer) in [
            ("manifest", &built.manifest),
            ("config", &built.manifest["config"]),
        ] {
            let expected = match key {
                "manifest" => &original.manifest["mediaType"],
                _ => &original.manifest["config"]["mediaType"],
            };
            assert_eq!(layer["mediaType"], *expected, "{base:?}, {origin}: {key}");
        }
        // The new layer is of the same family as those below it.
        assert_eq!(ours[theirs.len()]["mediaType"], theirs[0]["mediaType"]);
        assert!(built.tree().text("seen").starts_with("FROM"));
    }
}
