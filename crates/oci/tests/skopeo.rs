//! What this crate writes, read by a tool that no one here wrote.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_oci::{
    ConfigDraft, Descriptor, DiffId, Family, ImageConfig, Index, Layout, Manifest, MediaType,
    Platform, REF_NAME, Reference, read_docker_archive, write_docker_archive,
};
use tempfile::tempdir;

/// Runs skopeo, or says why not.
fn skopeo(arguments: &[&str]) -> bool {
    let Ok(output) = Command::new("skopeo")
        .args(["--insecure-policy"])
        .args(arguments)
        .output()
    else {
        kiln_skip::skipped("skopeo is not installed");
        return false;
    };
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn layer(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, &[][..]).unwrap();
    tar.into_inner().unwrap()
}

/// Two different layers, the first one twice.
fn image(dir: &Path) -> (ImageConfig, Vec<(Descriptor, DiffId, std::path::PathBuf)>) {
    let layers: Vec<_> = ["a", "b", "a"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let bytes = layer(name);
            let path = dir.join(format!("layer{number}"));
            fs::write(&path, &bytes).unwrap();
            let descriptor = Descriptor::of(MediaType::OciLayer, &bytes);
            (descriptor, DiffId::of(&bytes), path)
        })
        .collect();
    let mut config = ConfigDraft::default();
    config.set_platform(&Platform::parse("linux/amd64").unwrap());
    config.rootfs.diff_ids = layers.iter().map(|(_, diff_id, _)| *diff_id).collect();
    config.config.env_set("A", "1");
    (config.into(), layers)
}

// conformance: I38
#[test]
fn archives_and_layouts_are_read_by_skopeo() {
    let dir = tempdir().unwrap();
    let (config, layers) = image(dir.path());
    let tags = [
        Reference::parse("x:1").unwrap(),
        Reference::parse("localhost:5000/y:2").unwrap(),
    ];
    let archive = dir.path().join("x.tar");
    let file = fs::File::create(&archive).unwrap();
    write_docker_archive(file, &config.to_bytes(), &layers, &tags).unwrap();
    let from_archive = format!("docker-archive:{}:localhost:5000/y:2", archive.display());
    let copied = dir.path().join("copied");
    if !skopeo(&[
        "copy",
        &from_archive,
        &format!("oci:{}:there", copied.display()),
    ]) {
        return;
    }

    // Back again: skopeo's layout, its docker archive.
    let layout = Layout::open(&copied).unwrap();
    let found = layout
        .find(Some("there"), &Platform::parse("linux/amd64").unwrap())
        .unwrap()
        .unwrap();
    let manifest = Manifest::parse(&layout.read_blob(&found.digest()).unwrap()).unwrap();
    assert_eq!(manifest.layers().len(), 3);
    let read = ImageConfig::parse(&layout.read_blob(&manifest.config().digest()).unwrap()).unwrap();
    assert_eq!(read, config);
    let theirs = dir.path().join("theirs.tar");
    let from_layout = format!("oci:{}:there", copied.display());
    skopeo(&[
        "copy",
        &from_layout,
        &format!("docker-archive:{}:x:1", theirs.display()),
    ]);
    let theirs = read_docker_archive(&theirs).unwrap();
    assert_eq!(theirs.images()[0].config, config);
    assert_eq!(theirs.images()[0].layers.len(), 3);

    // A layout extended by both.
    let ours = Layout::create(&copied).unwrap();
    for (descriptor, _, path) in &layers {
        ours.adopt_blob(path, &descriptor.digest()).unwrap();
    }
    let config = ours
        .write_bytes(MediaType::OciConfig, &config.to_bytes())
        .unwrap();
    let descriptors = layers
        .iter()
        .map(|(descriptor, _, _)| descriptor.clone())
        .collect();
    let manifest = Manifest::new(Family::Oci, config, descriptors);
    let entry = ours
        .write_bytes(MediaType::OciManifest, &manifest.to_bytes())
        .unwrap()
        .with_annotation(REF_NAME, "ours");
    ours.add_manifest(&entry).unwrap();
    skopeo(&["inspect", &format!("oci:{}:ours", copied.display())]);
    skopeo(&["inspect", &from_layout]);
    skopeo(&[
        "copy",
        &from_archive,
        &format!("oci:{}:again", copied.display()),
    ]);
    let index: Index = ours.index().unwrap();
    assert_eq!(index.manifests().len(), 3);
}
