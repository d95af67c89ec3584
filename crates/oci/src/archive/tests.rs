use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use tempfile::tempdir;

use super::*;
use crate::{ConfigDraft, Descriptor, DiffId, Reference, RootFs};

const GZIP: &[u8] = b"\x1f\x8b pretend";

fn archive(dir: &Path, tags: &[&str]) -> Result<Vec<u8>, ArchiveError> {
    let layers: Vec<(Descriptor, DiffId, PathBuf)> = [
        ("1", MediaType::OciLayerGzip, GZIP),
        ("2", MediaType::DockerLayer, b"plain"),
        ("3", MediaType::DockerLayerGzip, GZIP),
    ]
    .into_iter()
    .map(|(name, media_type, content)| {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        (Descriptor::of(media_type, content), DiffId::of(name), path)
    })
    .collect();
    let config = ConfigDraft {
        rootfs: RootFs {
            diff_ids: layers.iter().map(|(_, diff_id, _)| *diff_id).collect(),
            ..RootFs::default()
        },
        ..ConfigDraft::default()
    };
    let tags: Vec<Reference> = tags
        .iter()
        .map(|tag| Reference::parse(tag).unwrap())
        .collect();
    let mut out = Vec::new();
    write_docker_archive(&mut out, &config.to_bytes(), &layers, &tags).map(|()| out)
}

// conformance: I38
#[test]
fn writes_what_docker_loads() {
    let dir = tempdir().unwrap();
    let digest = Digest::of(b"x");
    let tags = [
        "x:1",
        "localhost:5000/a/b",
        &format!("y:2@{digest}"),
        &format!("z@{digest}"),
        "docker.io/x:1",
    ];
    let bytes = archive(dir.path(), &tags).unwrap();
    let mut listing = Vec::new();
    for entry in tar::Archive::new(Cursor::new(&bytes)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        listing.push(format!(
            "{:o} {}:{} {} {:>3} {}",
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
            entry.size(),
            entry.path().unwrap().display()
        ));
        if entry.path().unwrap() == Path::new("manifest.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            listing.push(format!("  {text}"));
        }
    }
    insta::assert_snapshot!("docker_archive", listing.join("\n"));
    assert_eq!(
        archive(dir.path(), &tags).unwrap(),
        bytes,
        "must be deterministic"
    );
}

#[test]
fn reads_what_it_writes() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("x.tar");
    fs::write(&path, archive(dir.path(), &["x:1"]).unwrap()).unwrap();
    let archive = read_docker_archive(&path).unwrap();
    let [image] = archive.images() else {
        panic!("one image: {archive:?}")
    };
    assert_eq!(image.repo_tags, ["docker.io/library/x:1"]);
    assert_eq!(image.config.to_bytes(), image.config_bytes);
    let expected: [(&[u8], LayerCompression); 3] = [
        (GZIP, LayerCompression::Gzip),
        (b"plain", LayerCompression::None),
        (GZIP, LayerCompression::Gzip),
    ];
    assert_eq!(image.layers.len(), expected.len());
    for (number, (layer, (content, compression))) in image.layers.iter().zip(expected).enumerate() {
        let mut bytes = Vec::new();
        archive
            .open_layer(layer)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, content);
        assert_eq!(layer.compression, compression);
        assert_eq!(layer.size, content.len() as u64);
        assert_eq!(layer.diff_id, DiffId::of((number + 1).to_string()));
    }
}

#[test]
fn follows_the_links_of_old_docker_save() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("old.tar");
    let config = ConfigDraft {
        rootfs: RootFs {
            diff_ids: vec![DiffId::of("a"), DiffId::of("a")],
            ..RootFs::default()
        },
        ..ConfigDraft::default()
    }
    .to_bytes();
    let manifest =
        br#"[{"Config":"./c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("a/layer.tar", &b"layer"[..]),
        ("c.json", &config),
        ("manifest.json", manifest),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "b/layer.tar", "../a/layer.tar")
        .unwrap();
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let archive = read_docker_archive(&path).unwrap();
    for layer in &archive.images()[0].layers {
        let mut text = String::new();
        archive
            .open_layer(layer)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "layer");
    }
}

#[test]
fn refuses_what_cannot_be_an_archive() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("x.tar");
    let tar_of = |entries: &[(&str, &str)]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        tar.into_inner().unwrap()
    };
    let one_layer = r#"[{"Config":"c","Layers":["l"]}]"#;
    let rows = [
        (GZIP.to_vec(), "is compressed with gzip"),
        (tar_of(&[("x", "")]), "has no entry `manifest.json`"),
        (
            tar_of(&[("manifest.json", "{}")]),
            "entry `manifest.json` of docker archive",
        ),
        (tar_of(&[("manifest.json", one_layer)]), "has no entry `c`"),
        (
            tar_of(&[("manifest.json", one_layer), ("c", "{}")]),
            "has 1 layers, but its config lists 0",
        ),
        (
            b"no tar at all, but long enough".repeat(40),
            "is no tar archive",
        ),
    ];
    assert!(!rows.is_empty());
    for (bytes, message) in rows {
        fs::write(&path, bytes).unwrap();
        let error = read_docker_archive(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = read_docker_archive(&dir.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot open"), "{error}");
}

// conformance: I38
#[test]
fn refuses_layers_that_do_not_fit() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("layer");
    fs::write(&path, b"layer").unwrap();
    let rows = [
        (
            Descriptor::of(MediaType::OciLayerZstd, b"layer"),
            "which a docker archive cannot hold",
        ),
        (
            Descriptor::of(MediaType::OciConfig, b"layer"),
            "which a docker archive cannot hold",
        ),
        (
            Descriptor::of(MediaType::OciLayer, b"laye"),
            "has 5 bytes, expected 4",
        ),
    ];
    assert!(!rows.is_empty());
    for (descriptor, message) in rows {
        let layers = [(descriptor, DiffId::of("x"), path.clone())];
        let error = write_docker_archive(Vec::new(), b"{}", &layers, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}
