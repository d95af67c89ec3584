//! Storing and finding.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use kiln_oci::{Descriptor, Digest, Layout, MediaType, Reference};
use kiln_tarball_cache::{Access, Begun, CacheError, ImageCache, Miss, Origin};
use tempfile::tempdir;

use crate::images::{image, locked, platform, tree, writable};

// conformance: H31, H34
#[test]
fn what_is_stored_comes_back_unchanged() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let wanted = platform("linux/amd64");
    let image = image("linux/amd64", &["one", "two", "one"]);
    assert!(matches!(
        cache.lookup(&image.digest, &wanted),
        Err(Miss::Absent { .. })
    ));

    let writer = locked(cache.begin(&image.digest).unwrap());
    image.put_layers(&writer);
    // Not there before it is complete.
    assert!(
        cache
            .lookup(&image.digest, &wanted)
            .unwrap_err()
            .is_absent()
    );
    let mut new = image.new_image();
    new.reference = Some(Reference::parse("busybox:1").unwrap());
    image.assert_is(&writer.commit(&new).unwrap());

    let found = cache.lookup(&image.digest, &wanted).unwrap();
    image.assert_is(&found);
    assert_eq!(found.origin(), Origin::Volume);
    assert_eq!(found.size(), 9);
    assert_eq!(
        found.reference.as_deref(),
        Some("docker.io/library/busybox:1")
    );
    assert_eq!(found.platform(), wanted);
    assert_eq!(found.media_type, MediaType::OciManifest);
    assert_eq!(
        cache.blob_path(&image.descriptors[0].digest()),
        found.blob_path(&image.descriptors[0].digest())
    );
    assert_eq!(found.blob_path(&Digest::of(b"other")), None);
    assert!(matches!(
        cache.begin(&image.digest).unwrap(),
        Begun::Present(_)
    ));
    assert!(matches!(
        cache.try_begin(&image.digest).unwrap(),
        Begun::Present(_)
    ));

    // Other tools can read it too.
    let layout = Layout::open(dir.path()).unwrap();
    assert_eq!(
        layout.find(None, &wanted).unwrap().unwrap().digest(),
        image.digest
    );
}

#[test]
fn files_of_a_volume() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/arm/v7", &["one"]);
    let writer = locked(cache.begin(&image.digest).unwrap());
    image.put_layers(&writer);
    let mut new = image.new_image();
    new.index = Some((Digest::of(b"index"), platform("linux/arm/v7")));
    new.reference = Some(Reference::parse("busybox:1").unwrap());
    writer.commit(&new).unwrap();
    let mut lines = Vec::new();
    for file in tree(dir.path()) {
        lines.push(file.clone());
        if !file.contains("sha256/") && !file.contains("locks/") {
            lines.push(format!(
                "  {}",
                fs::read_to_string(dir.path().join(file)).unwrap()
            ));
        }
    }
    insta::assert_snapshot!("volume", lines.join("\n"));
}

// conformance: H35, H37
#[test]
fn an_index_leads_to_the_image_of_each_platform() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let index = Digest::of(b"index");
    let rows = [
        ("linux/amd64", image("linux/amd64", &["amd64", "shared"])),
        ("linux/arm64", image("linux/arm64", &["arm64", "shared"])),
        // An index without anything better for v7.
        ("linux/arm/v7", image("linux/arm/v6", &["armv6"])),
    ];
    assert!(!rows.is_empty());
    for (wanted, image) in &rows {
        let writer = locked(cache.begin(&image.digest).unwrap());
        image.put_layers(&writer);
        let mut new = image.new_image();
        new.index = Some((index, platform(wanted)));
        writer.commit(&new).unwrap();
    }
    for (wanted, image) in &rows {
        image.assert_is(&cache.lookup(&index, &platform(wanted)).unwrap());
        image.assert_is(&cache.lookup(&image.digest, &platform(wanted)).unwrap());
        // The digest of a manifest decides by itself.
        image.assert_is(
            &cache
                .lookup(&image.digest, &platform("linux/s390x"))
                .unwrap(),
        );
    }
    for wanted in ["linux/s390x", "linux/arm/v6", "linux/amd64/v3"] {
        let miss = cache.lookup(&index, &platform(wanted)).unwrap_err();
        assert!(
            matches!(miss, Miss::OtherPlatform { .. }) && miss.is_absent(),
            "{miss}"
        );
    }

    // An image that was there first gets its alias later.
    let later = Digest::of(b"later");
    cache
        .add_alias(&later, &platform("linux/arm64/v8"), &rows[1].1.digest)
        .unwrap();
    rows[1]
        .1
        .assert_is(&cache.lookup(&later, &platform("linux/arm64")).unwrap());
}

// conformance: H31
#[test]
fn everything_is_stored_again_on_demand() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one", "two"]);
    image.store(&cache);
    // Of the right length and wrong all the same: only --force notices.
    let broken = cache.blob_path(&image.descriptors[0].digest()).unwrap();
    fs::write(&broken, b"eno").unwrap();
    let before = fs::metadata(cache.blob_path(&image.descriptors[1].digest()).unwrap()).unwrap();

    let writer = locked(cache.begin_again(&image.digest).unwrap());
    assert!(
        image
            .descriptors
            .iter()
            .all(|layer| writer.needs_blob(layer))
    );
    image.put_layers(&writer);
    assert!(
        !image
            .descriptors
            .iter()
            .any(|layer| writer.needs_blob(layer))
    );
    image.assert_is(&writer.commit(&image.new_image()).unwrap());
    let after = fs::metadata(cache.blob_path(&image.descriptors[1].digest()).unwrap()).unwrap();
    assert_ne!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&after)
    );
}

#[test]
fn layers_are_shared_and_adopted() {
    let dir = tempdir().unwrap();
    let cache = writable(&dir.path().join("cache"));
    image("linux/amd64", &["base", "first"]).store(&cache);
    let second = image("linux/amd64", &["base", "second"]);
    let writer = locked(cache.begin(&second.digest).unwrap());
    assert!(!writer.needs_blob(&second.descriptors[0]));
    assert!(writer.needs_blob(&second.descriptors[1]));

    let file = writer.staging_dir().join("download");
    fs::write(&file, b"secon").unwrap();
    assert!(matches!(
        writer.adopt_blob(&file, &second.descriptors[1]),
        Err(CacheError::Blob { .. })
    ));
    fs::write(&file, b"second").unwrap();
    writer.adopt_blob(&file, &second.descriptors[1]).unwrap();
    // From elsewhere, and through a symlink, which means a copy.
    let third = image("linux/amd64", &["third"]);
    let other = locked(cache.begin(&third.digest).unwrap());
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, b"third").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    other.adopt_blob(&link, &third.descriptors[0]).unwrap();

    second.assert_is(&writer.commit(&second.new_image()).unwrap());
    third.assert_is(&other.commit(&third.new_image()).unwrap());
    assert!(
        fs::symlink_metadata(cache.blob_path(&third.descriptors[0].digest()).unwrap())
            .unwrap()
            .is_file()
    );
    assert!(
        !tree(cache.dir())
            .iter()
            .any(|file| file.contains("staging"))
    );
}

// conformance: I25, H33
#[test]
fn only_what_belongs_together_is_committed() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let good = image("linux/amd64", &["one"]);
    let other = image("linux/arm64", &["one"]);
    let begin = || locked(cache.begin(&good.digest).unwrap());

    let error = begin()
        .put_blob_from(&b"eno"[..], &good.descriptors[0])
        .unwrap_err();
    assert!(matches!(error, CacheError::Blob { .. }), "{error}");
    let error = begin().commit(&good.new_image()).unwrap_err();
    assert!(matches!(error, CacheError::Incomplete { .. }), "{error}");
    let error = begin().commit(&other.new_image()).unwrap_err();
    assert!(matches!(error, CacheError::WrongManifest { .. }), "{error}");
    let mut new = good.new_image();
    new.config_bytes = &other.config;
    let error = begin().commit(&new).unwrap_err();
    assert!(matches!(error, CacheError::WrongConfig { .. }), "{error}");
    let odd = Digest::of(b"{}");
    let mut new = good.new_image();
    new.manifest_bytes = b"{}";
    let error = locked(cache.begin(&odd).unwrap()).commit(&new).unwrap_err();
    assert!(matches!(error, CacheError::Document { .. }), "{error}");

    assert!(cache.list().unwrap().is_empty());
    assert!(
        !tree(dir.path())
            .iter()
            .any(|file| file.starts_with("blobs") || file.contains("tmp"))
    );
}

// conformance: H39
#[test]
fn reading_needs_no_writing() {
    let dir = tempdir().unwrap();
    let none = dir.path().join("none");
    let wanted = platform("linux/amd64");
    let image = image("linux/amd64", &["one"]);
    for path in [none.as_path(), dir.path()] {
        let cache = ImageCache::open(path, Access::ReadOnly).unwrap();
        assert!(
            cache
                .lookup(&image.digest, &wanted)
                .unwrap_err()
                .is_absent()
        );
        assert!(cache.list().unwrap().is_empty());
        assert!(matches!(
            cache.begin(&image.digest),
            Err(CacheError::ReadOnly { .. })
        ));
        cache.set_aside_blob(&image.digest).unwrap();
    }
    assert!(!none.exists() && tree(dir.path()).is_empty());

    let volume = dir.path().join("volume");
    image.store(&writable(&volume));
    let before = tree(&volume);
    let read_only = |mode| {
        for at in [
            "",
            "blobs",
            "blobs/sha256",
            "kiln-v1",
            "kiln-v1/images",
            "kiln-v1/staging",
            "kiln-v1/locks",
        ] {
            fs::set_permissions(volume.join(at), Permissions::from_mode(mode)).unwrap();
        }
    };
    read_only(0o555);
    for access in [Access::ReadOnly, Access::WriteIfPossible] {
        let cache = ImageCache::open(&volume, access).unwrap();
        image.assert_is(&cache.lookup(&image.digest, &wanted).unwrap());
        if access == Access::WriteIfPossible && cache.is_writable() {
            kiln_skip::skipped("in part: root may write anywhere");
        }
    }
    read_only(0o755);
    assert_eq!(tree(&volume), before);
}

#[test]
fn a_file_cannot_be_a_volume() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(ImageCache::open(&file, Access::ReadWrite).is_err());
    for access in [Access::ReadOnly, Access::WriteIfPossible] {
        let cache = ImageCache::open(&file, access).unwrap();
        assert!(!cache.is_writable());
        let miss = cache
            .lookup(&Digest::of(b"x"), &platform("linux/amd64"))
            .unwrap_err();
        assert!(miss.is_absent(), "{miss}");
    }
}

#[test]
fn lists_every_image() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let mut images = [
        image("linux/amd64", &["one"]),
        image("linux/arm64", &["two"]),
    ];
    images.sort_by_key(|image| image.digest);
    for image in &images {
        image.store(&cache);
    }
    fs::remove_file(cache.blob_path(&images[0].descriptors[0].digest()).unwrap()).unwrap();
    let listed = cache.list().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(matches!(listed[0].image, Err(Miss::BlobMissing { .. })));
    images[1].assert_is(listed[1].image.as_ref().unwrap());
    assert_eq!(listed[0].digest, images[0].digest);
}

#[test]
fn blobs_are_described_by_size_too() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one"]);
    let writer = locked(cache.begin(&image.digest).unwrap());
    let wrong = Descriptor::new(MediaType::OciLayer, image.descriptors[0].digest(), 4);
    assert!(matches!(
        writer.put_blob_from(&b"one"[..], &wrong),
        Err(CacheError::Blob { .. })
    ));
}
