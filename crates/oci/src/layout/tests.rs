use std::thread;

use tempfile::tempdir;

use super::*;
use crate::{ConfigDraft, Family, MediaType};

fn named(name: &str, content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OciManifest, content).with_annotation(REF_NAME, name)
}

fn platform(text: &str) -> Platform {
    Platform::parse(text).unwrap()
}

fn store_image(layout: &Layout, architecture: &str) -> Descriptor {
    let mut config = ConfigDraft::default();
    config.set_platform(&Platform::new("linux", architecture));
    let config = layout
        .write_bytes(MediaType::OciConfig, &config.to_bytes())
        .unwrap();
    let manifest = Manifest::new(Family::Oci, config, Vec::new());
    layout
        .write_bytes(MediaType::OciManifest, &manifest.to_bytes())
        .unwrap()
}

fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.to_string_lossy().contains(atomic::TEMPORARY_PREFIX))
        .collect()
}

// conformance: I38
#[test]
fn an_existing_layout_is_extended() {
    let dir = tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    // The digest of the first is of no use here, but it is not ours to throw away either.
    let theirs = serde_json::json!([
        {"mediaType": "application/x", "digest": "sha512:00", "size": 1, "artifactType": "t"},
        {"mediaType": "application/x", "digest": Digest::of(b"x").to_string(), "size": 1, "artifactType": "t"},
    ]);
    let index =
        serde_json::json!({"schemaVersion": 2, "x-vendor": {"a": null}, "manifests": theirs});
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();

    let layout_again = Layout::create(dir.path()).unwrap();
    for descriptor in [named("a", b"1"), named("b", b"2"), named("a", b"3")] {
        layout_again.add_manifest(&descriptor).unwrap();
    }
    let plain = Descriptor::of(MediaType::OciManifest, b"4");
    layout.add_manifest(&plain).unwrap();
    layout.add_manifest(&plain).unwrap();

    let text: Value =
        serde_json::from_slice(&fs::read(dir.path().join("index.json")).unwrap()).unwrap();
    assert_eq!(text["x-vendor"], serde_json::json!({"a": null}));
    assert_eq!(
        text["manifests"].as_array().unwrap()[..2],
        theirs.as_array().unwrap()[..]
    );
    let manifests = layout.index().unwrap();
    let manifests = manifests.manifests();
    assert_eq!(manifests[1..], [named("b", b"2"), named("a", b"3"), plain]);
    assert!(leftovers(dir.path()).is_empty());
}

#[test]
fn a_broken_index_is_named() {
    let dir = tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let rows = [
        "",
        "[]",
        "null",
        "{",
        r#"{"manifests":{}}"#,
        r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
    ];
    assert!(!rows.is_empty());
    for text in rows {
        fs::write(dir.path().join("index.json"), text).unwrap();
        for result in [
            layout.index().map(drop),
            layout.add_manifest(&named("a", b"1")),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.ends_with("index.json` cannot be used"),
                "{text}: {error}"
            );
        }
    }
}

#[test]
fn several_writers_lose_nothing() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                let layout = Layout::create(path).unwrap();
                for number in 0..8 {
                    let content = format!("{writer}.{number}");
                    let shared = Descriptor::of(MediaType::OciLayer, b"shared");
                    layout.write_blob(&b"shared"[..], &shared).unwrap();
                    layout
                        .add_manifest(&named(&content, content.as_bytes()))
                        .unwrap();
                }
            });
        }
    });
    let layout = Layout::open(path).unwrap();
    assert_eq!(layout.index().unwrap().manifests().len(), 32);
    assert!(layout.has_blob(&Digest::of(b"shared")));
    assert!(leftovers(path).is_empty());
}

// conformance: I25
#[test]
fn wrong_blobs_are_not_kept() {
    let dir = tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let expected = Descriptor::of(MediaType::OciLayer, b"content");
    let rows: [&[u8]; 3] = [b"conten", b"contents", b"kontent"];
    assert!(!rows.is_empty());
    for bytes in rows {
        let error = layout.write_blob(bytes, &expected).unwrap_err();
        assert!(matches!(error, LayoutError::Mismatch { .. }), "{error}");
        assert!(!layout.has_blob(&expected.digest()));
    }
    assert!(leftovers(dir.path()).is_empty());
    // A truncated file under the right name is replaced.
    fs::write(layout.blob_path(&expected.digest()), b"con").unwrap();
    assert!(matches!(
        layout.read_blob(&expected.digest()),
        Err(LayoutError::Mismatch { .. })
    ));
    layout.write_blob(&b"content"[..], &expected).unwrap();
    assert_eq!(layout.read_blob(&expected.digest()).unwrap(), b"content");
    let mut bytes = Vec::new();
    layout
        .open_blob(&expected)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"content");
}

#[test]
fn finished_files_are_adopted() {
    let dir = tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let file = dir.path().join("blob");
    fs::write(&file, b"blob").unwrap();
    for _ in 0..2 {
        layout.adopt_blob(&file, &Digest::of(b"blob")).unwrap();
    }
    assert_eq!(layout.read_blob(&Digest::of(b"blob")).unwrap(), b"blob");
    // A symlink is not linked as such.
    let link = dir.path().join("link");
    fs::write(&file, b"other").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    layout.adopt_blob(&link, &Digest::of(b"other")).unwrap();
    let at = layout.blob_path(&Digest::of(b"other"));
    assert!(fs::symlink_metadata(at).unwrap().is_file());
    assert!(leftovers(layout.dir()).is_empty());
}

#[test]
fn other_directories_are_refused() {
    let dir = tempdir().unwrap();
    let rows = [
        (None, "has no `oci-layout` file"),
        (
            Some(r#"{"imageLayoutVersion":"2.0.0"}"#),
            "layout version `2.0.0`",
        ),
        (Some("nonsense"), "layout version ``"),
    ];
    assert!(!rows.is_empty());
    for (content, message) in rows {
        if let Some(content) = content {
            fs::write(dir.path().join("oci-layout"), content).unwrap();
        }
        let error = Layout::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

// conformance: C15, I24
#[test]
fn images_are_found_by_name_and_platform() {
    let dir = tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    assert_eq!(layout.find(None, &platform("linux/amd64")).unwrap(), None);

    let amd64 = store_image(&layout, "amd64");
    let arm64 = store_image(&layout, "arm64");
    let s390x = store_image(&layout, "s390x");
    // A nested index in which one entry says what it is for and one does not.
    let labelled = amd64.with_platform(Some(platform("linux/amd64")));
    let nested = Index::new(Family::Oci, vec![labelled.clone(), arm64.clone()]);
    let nested = layout
        .write_bytes(MediaType::OciIndex, &nested.to_bytes())
        .unwrap();
    let with_name = |descriptor: Descriptor, name| descriptor.with_annotation(REF_NAME, name);
    layout.add_manifest(&with_name(nested, "multi")).unwrap();
    layout
        .add_manifest(&with_name(s390x.clone(), "single"))
        .unwrap();

    let rows = [
        (Some("multi"), "linux/amd64", Ok(Some(labelled.digest()))),
        (Some("multi"), "linux/arm64", Ok(Some(arm64.digest()))),
        (
            Some("multi"),
            "linux/s390x",
            Err("`linux/amd64`, `linux/arm64`"),
        ),
        (Some("single"), "linux/amd64", Ok(Some(s390x.digest()))),
        (Some("other"), "linux/amd64", Ok(None)),
        (None, "linux/s390x", Ok(Some(s390x.digest()))),
        (None, "linux/arm64", Ok(Some(arm64.digest()))),
    ];
    assert!(!rows.is_empty());
    for (name, wanted, expected) in rows {
        match (layout.find(name, &platform(wanted)), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(
                    found.map(|found| found.digest()),
                    expected,
                    "{name:?} {wanted}"
                );
            }
            (Err(LayoutError::Platform { source, .. }), Err(message)) => {
                assert!(source.to_string().contains(message), "{source}");
            }
            (found, _) => panic!("{name:?} {wanted}: {found:?}"),
        }
    }
}
