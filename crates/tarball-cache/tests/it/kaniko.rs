//! Volumes filled by kaniko's warmer.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_oci::{DiffId, Family, Index, Layout, MediaType, Reference, write_docker_archive};
use kiln_tarball_cache::{Access, Begun, ImageCache, Miss, Origin};
use tempfile::tempdir;

use crate::images::{Image, image, platform, tree, writable};

/// Writes what kaniko's warmer leaves: an archive and, beside it, the manifest.
fn leave_archive(dir: &Path, name: &str, image: &Image) -> PathBuf {
    let scratch = tempdir().unwrap();
    let layers: Vec<_> = image
        .layers
        .iter()
        .zip(&image.descriptors)
        .map(|(bytes, descriptor)| {
            let path = scratch.path().join(descriptor.digest().hex());
            fs::write(&path, bytes).unwrap();
            (descriptor.clone(), DiffId::of(bytes), path)
        })
        .collect();
    let path = dir.join(name);
    let tags = [Reference::parse("busybox:1").unwrap()];
    write_docker_archive(
        fs::File::create(&path).unwrap(),
        &image.config,
        &layers,
        &tags,
    )
    .unwrap();
    fs::write(dir.join(format!("{name}.json")), &image.manifest).unwrap();
    path
}

fn leave_blobs(dir: &Path, image: &Image) -> Layout {
    let layout = Layout::create(dir).unwrap();
    for (bytes, descriptor) in image.layers.iter().zip(&image.descriptors) {
        layout.write_blob(&bytes[..], descriptor).unwrap();
    }
    layout
        .write_bytes(MediaType::OciConfig, &image.config)
        .unwrap();
    layout
}

// conformance: H34, H40
#[test]
fn archives_serve_with_and_without_the_algorithm_in_their_name() {
    let image = image("linux/amd64", &["one", "two", "one"]);
    let rows = [image.digest.to_string(), image.digest.hex()];
    assert!(!rows.is_empty());
    for name in rows {
        let dir = tempdir().unwrap();
        leave_archive(dir.path(), &name, &image);
        let before = tree(dir.path());
        let cache = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
        let found = cache
            .lookup(&image.digest, &platform("linux/amd64"))
            .unwrap();
        image.assert_is(&found);
        assert_eq!(found.origin(), Origin::KanikoArchive);
        assert_eq!(found.blob_path(&image.descriptors[0].digest()), None);
        assert_eq!(
            found.reference.as_deref(),
            Some("docker.io/library/busybox:1")
        );
        assert_eq!(cache.list().unwrap().len(), 1);
        assert_eq!(tree(dir.path()), before);
    }
}

// conformance: H22, H33
#[test]
fn broken_archives_are_a_miss() {
    type Break = fn(&Path, &Path);
    let rows: [(Break, &str); 7] = [
        (
            |_, manifest| fs::remove_file(manifest).unwrap(),
            "has no manifest beside it",
        ),
        (
            |_, manifest| fs::write(manifest, b"{}").unwrap(),
            "is damaged",
        ),
        (
            |archive, _| fs::write(archive, b"").unwrap(),
            "cached archive cannot be used",
        ),
        (
            |archive, _| {
                let bytes = fs::read(archive).unwrap();
                fs::write(archive, &bytes[..700]).unwrap();
            },
            "cached archive cannot be used",
        ),
        (
            |archive, _| fs::write(archive, [0x1f, 0x8b, 8, 0]).unwrap(),
            "cached archive cannot be used",
        ),
        (
            |archive, _| {
                let other = image("linux/arm64", &["one"]);
                let dir = tempdir().unwrap();
                fs::copy(leave_archive(dir.path(), "other", &other), archive).unwrap();
            },
            "does not hold the image",
        ),
        (
            |archive, _| fs::remove_file(archive).unwrap(),
            "is not in the image cache",
        ),
    ];
    assert!(!rows.is_empty());
    for (number, (damage, message)) in rows.into_iter().enumerate() {
        let dir = tempdir().unwrap();
        let image = image("linux/amd64", &["one"]);
        let name = image.digest.to_string();
        let archive = leave_archive(dir.path(), &name, &image);
        damage(&archive, &dir.path().join(format!("{name}.json")));
        let cache = writable(dir.path());
        let miss = cache
            .lookup(&image.digest, &platform("linux/amd64"))
            .unwrap_err();
        assert!(miss.to_string().contains(message), "row {number}: {miss}");

        // Stored by us, it is found again, and kaniko's file is left alone.
        let there = archive.exists();
        image.store(&cache);
        let found = cache
            .lookup(&image.digest, &platform("linux/amd64"))
            .unwrap();
        image.assert_is(&found);
        assert_eq!(found.origin(), Origin::Volume);
        assert_eq!(archive.exists(), there);
    }
}

#[test]
fn wrong_layers_in_an_archive_are_found_by_reading() {
    let dir = tempdir().unwrap();
    let image = image("linux/amd64", &["one"]);
    let archive = leave_archive(dir.path(), &image.digest.to_string(), &image);
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes
        .windows(4)
        .rposition(|window| window == b"one\0")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let cache = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
    let found = cache
        .lookup(&image.digest, &platform("linux/amd64"))
        .unwrap();
    let mut reader = found.open_layer(&image.descriptors[0]).unwrap();
    assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
}

// conformance: H35, H37
#[test]
fn layouts_serve_by_manifest_and_by_index() {
    let dir = tempdir().unwrap();
    let image = image("linux/amd64", &["one", "two"]);
    let by_manifest = dir.path().join(image.digest.to_string());
    let layout = leave_blobs(&by_manifest, &image);
    let manifest = layout
        .write_bytes(MediaType::OciManifest, &image.manifest)
        .unwrap();
    layout.add_manifest(&manifest).unwrap();

    let labelled = manifest
        .clone()
        .with_platform(Some(platform("linux/amd64")));
    let index = Index::new(Family::Oci, vec![labelled]).to_bytes();
    let index_digest = kiln_oci::Digest::of(&index);
    let layout = leave_blobs(&dir.path().join(index_digest.hex()), &image);
    layout
        .write_bytes(MediaType::OciManifest, &image.manifest)
        .unwrap();
    let index = layout.write_bytes(MediaType::OciIndex, &index).unwrap();
    layout.add_manifest(&index).unwrap();

    let cache = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
    for digest in [image.digest, index_digest] {
        let found = cache.lookup(&digest, &platform("linux/amd64")).unwrap();
        image.assert_is(&found);
        assert_eq!(found.origin(), Origin::KanikoLayout);
        assert!(found.blob_path(&image.descriptors[0].digest()).is_some());
    }
    let miss = cache
        .lookup(&index_digest, &platform("linux/arm64"))
        .unwrap_err();
    assert!(matches!(miss, Miss::OtherPlatform { .. }), "{miss}");

    // The name of the directory alone proves nothing.
    let claimed = kiln_oci::Digest::of(b"claimed");
    fs::rename(&by_manifest, dir.path().join(claimed.to_string())).unwrap();
    let miss = cache
        .lookup(&claimed, &platform("linux/amd64"))
        .unwrap_err();
    assert!(matches!(miss, Miss::OtherImage { .. }), "{miss}");
    // Nor does an empty one.
    fs::create_dir(dir.path().join(image.digest.to_string())).unwrap();
    let miss = cache
        .lookup(&image.digest, &platform("linux/amd64"))
        .unwrap_err();
    assert!(matches!(miss, Miss::Layout(_)), "{miss}");
}

#[test]
fn what_kaniko_left_does_not_keep_the_warmer_from_storing() {
    let dir = tempdir().unwrap();
    let image = image("linux/amd64", &["one"]);
    leave_archive(dir.path(), &image.digest.to_string(), &image);
    let cache = writable(dir.path());
    assert!(matches!(
        cache.begin(&image.digest).unwrap(),
        Begun::Locked(_)
    ));
}
