//! Volumes in a bad state: a miss, never an error, and repaired by the next writer.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_oci::Digest;
use kiln_tarball_cache::{Access, ImageCache, Miss};
use tempfile::tempdir;

use crate::images::{Image, image, locked, platform, tree, writable};

type Break = fn(&Path);

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn garble(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, b"").unwrap();
}

fn directory(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    fs::write(path.join("x"), b"").unwrap();
}

fn foreign(path: &Path) {
    fs::write(path, br#"{"version":2,"manifest":{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}}"#).unwrap();
}

fn blob(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs/sha256").join(digest.hex())
}

fn config_digest(image: &Image) -> Digest {
    Digest::of(&image.config)
}

// conformance: H22, H33, H39
#[test]
fn broken_files_are_a_miss_and_replaced() {
    type Place = fn(&Path, &Image) -> PathBuf;
    let layer: Place = |dir, image| blob(dir, &image.descriptors[0].digest());
    let config: Place = |dir, image| blob(dir, &config_digest(image));
    let manifest: Place = |dir, image| blob(dir, &image.digest);
    let entry: Place = |dir, image| dir.join(format!("kiln-v1/images/{}.json", image.digest.hex()));
    let rows: [(Place, Break, &str, bool); 17] = [
        (
            layer,
            truncate,
            "of a cached image has 10 bytes, expected 20",
            true,
        ),
        (
            layer,
            empty,
            "of a cached image has 0 bytes, expected 20",
            true,
        ),
        (layer, remove, "is missing", false),
        (layer, directory, "expected 20", true),
        (config, truncate, "is damaged", true),
        (config, garble, "is damaged", true),
        (config, remove, "is missing", false),
        (config, directory, "does not belong where it is", true),
        (manifest, truncate, "is damaged", true),
        (manifest, garble, "is damaged", true),
        (manifest, remove, "is missing", false),
        (manifest, directory, "does not belong where it is", true),
        (entry, truncate, "is not a cache entry", true),
        (entry, empty, "is not a cache entry", true),
        (entry, foreign, "does not belong where it is", true),
        (entry, directory, "does not belong where it is", true),
        (entry, remove, "is not in the image cache", false),
    ];
    assert!(!rows.is_empty());
    let wanted = platform("linux/amd64");
    for (number, (place, damage, message, set_aside)) in rows.into_iter().enumerate() {
        let dir = tempdir().unwrap();
        let image = image("linux/amd64", &["01234567890123456789", "two"]);
        let cache = writable(dir.path());
        image.store(&cache);
        damage(&place(dir.path(), &image));

        let read_only = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
        for cache in [&read_only, &cache] {
            let miss = cache.lookup(&image.digest, &wanted).unwrap_err();
            assert!(miss.to_string().contains(message), "row {number}: {miss}");
        }
        assert!(
            !tree(dir.path())
                .iter()
                .any(|file| file.contains("damaged/")),
            "row {number}"
        );

        let writer = locked(cache.begin(&image.digest).unwrap());
        let aside = tree(dir.path())
            .iter()
            .any(|file| file.contains("damaged/"));
        assert_eq!(aside, set_aside, "row {number}");
        image.put_layers(&writer);
        image.assert_is(&writer.commit(&image.new_image()).unwrap());
        image.assert_is(&cache.lookup(&image.digest, &wanted).unwrap());
    }
}

#[test]
fn a_wrong_blob_found_while_reading_is_set_aside() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one"]);
    image.store(&cache);
    let layer = &image.descriptors[0];
    garble(&blob(dir.path(), &layer.digest()));
    let found = cache
        .lookup(&image.digest, &platform("linux/amd64"))
        .unwrap();
    let mut reader = found.open_layer(layer).unwrap();
    assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());

    for _ in 0..2 {
        cache.set_aside_blob(&layer.digest()).unwrap();
        let miss = cache
            .lookup(&image.digest, &platform("linux/amd64"))
            .unwrap_err();
        assert!(matches!(miss, Miss::BlobMissing { .. }), "{miss}");
    }
    image.assert_is(&image.store(&cache));
    // Setting aside the same name again drops the older one, whatever it is.
    directory(&blob(dir.path(), &layer.digest()));
    cache.set_aside_blob(&layer.digest()).unwrap();
    image.assert_is(&image.store(&cache));
}

#[test]
fn a_broken_alias_is_a_miss() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one"]);
    image.store(&cache);
    let (index, wanted) = (Digest::of(b"index"), platform("linux/amd64"));
    let alias = dir
        .path()
        .join(format!("kiln-v1/indexes/{}/linux-amd64.json", index.hex()));
    let rows: [(Break, &str); 3] = [
        (truncate, "is not a cache entry"),
        (directory, "does not belong where it is"),
        (
            |path| {
                let text = fs::read_to_string(path).unwrap();
                fs::write(path, text.replace("amd64", "arm64")).unwrap();
            },
            "does not belong where it is",
        ),
    ];
    assert!(!rows.is_empty());
    for (damage, message) in rows {
        cache.add_alias(&index, &wanted, &image.digest).unwrap();
        image.assert_is(&cache.lookup(&index, &wanted).unwrap());
        damage(&alias);
        let miss = cache.lookup(&index, &wanted).unwrap_err();
        assert!(miss.to_string().contains(message), "{miss}");
    }
    // An alias to an image that is gone.
    cache
        .add_alias(&index, &wanted, &Digest::of(b"gone"))
        .unwrap();
    let miss = cache.lookup(&index, &wanted).unwrap_err();
    assert!(
        matches!(miss, Miss::Absent { digest } if digest == index),
        "{miss}"
    );
}

// conformance: H39
#[test]
fn foreign_files_are_ignored() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one"]);
    image.store(&cache);
    for file in [
        "README",
        "sha256:zz",
        "kiln-v1/images/README",
        "kiln-v1/images/zz.json",
        "blobs/sha256/README",
        "kiln-v1/staging/README",
    ] {
        fs::write(dir.path().join(file), b"x").unwrap();
    }
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    assert_eq!(cache.list().unwrap().len(), 1);
    assert_eq!(cache.remove_leftovers().unwrap(), 0);
    image.assert_is(
        &cache
            .lookup(&image.digest, &platform("linux/amd64"))
            .unwrap(),
    );
}
