//! Outputs, each alone, with a parcel that no build made.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use kiln_delivery::output::{
    Archive, LayoutFolder, Output, OutputError, PushError, Registries, deliver_all,
};
use kiln_events::{Event, EventSink, Silent};
use kiln_oci::{
    ConfigDraft, Descriptor, DiffId, Family, ImageConfig, Index, LayerCompression, Layout,
    Manifest, MediaType, Platform, Reference, RootFs, read_docker_archive,
};
use kiln_registry::{Client, RegistrySettings, Retries};
use kiln_sandbox::Cancel;
use kiln_store::parcel::{Blob, Document, Parcel};
use kiln_testkit::{FakeListener, Fault, On, Registry};

/// An image of one layer, whose blob is a file in `dir`.
fn image(dir: &Path) -> Parcel {
    let tar = tar_of_nothing();
    let file = dir.join("layer");
    std::fs::write(&file, &tar).unwrap();
    let config = ImageConfig::from(ConfigDraft {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        rootfs: RootFs {
            diff_ids: vec![DiffId::of(&tar)],
            ..RootFs::default()
        },
        ..ConfigDraft::default()
    });
    let bytes = config.to_bytes();
    let config = Descriptor::of(MediaType::config(Family::Docker), &bytes);
    let layer = MediaType::layer(Family::Docker, LayerCompression::None);
    let layer = Descriptor::of(layer, &tar);
    let manifest = Manifest::new(Family::Docker, config.clone(), vec![layer.clone()]);
    Parcel {
        blobs: vec![
            Blob::of_bytes(config, &bytes),
            Blob::packed(layer, file, None),
        ],
        below: Vec::new(),
        top: Document::of_manifest(&manifest, Some(Platform::parse("linux/amd64").unwrap())),
        known_in: Vec::new(),
    }
}

fn tar_of_nothing() -> Vec<u8> {
    vec![0; 1024]
}

/// The image below an index.
fn index(dir: &Path) -> Parcel {
    let image = image(dir);
    let list = Index::new(Family::Oci, vec![image.top.descriptor()]);
    Parcel {
        below: vec![image.top],
        top: Document::new(MediaType::OciIndex, list.to_bytes()),
        ..image
    }
}

fn client() -> Client {
    Client::new(RegistrySettings {
        retries: Retries {
            request: 0,
            ..Retries::default()
        },
        ..RegistrySettings::default()
    })
    .unwrap()
}

fn registries(names: &[Reference], events: Arc<dyn EventSink>) -> Registries {
    Registries::new(client(), names.to_vec(), true, events)
}

// conformance: I30 I33
#[tokio::test]
async fn a_registry_that_refuses_does_not_keep_the_others_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (Registry::start(), Registry::start());
    bad.fault(On::put("/manifests/"), Fault::status(403));
    let names = ["a/b:1", "a/b:2"].map(|name| good.reference(name));
    let all = [vec![bad.reference("x/y:1")], names.to_vec()].concat();
    let told = FakeListener::new();
    let output = registries(&all, told.sink());
    output.check().await.unwrap();
    let parcel = image(dir.path());
    let error = output.deliver(&parcel).await.unwrap_err();
    assert!(
        matches!(&error, OutputError::Push(PushError::Refused { reference, .. }) if *reference == all[0]),
        "{error}"
    );
    for tag in ["1", "2"] {
        let stored = good.manifest("a/b", tag).unwrap();
        assert_eq!(stored.digest, parcel.top.digest);
    }
    let pushed = told
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::Pushed { .. }))
        .count();
    assert_eq!(pushed, 2);
}

// conformance: I31
#[tokio::test]
async fn a_second_repository_of_a_registry_mounts_what_the_first_has() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let names = ["a/b:1", "c/d:1"].map(|name| registry.reference(name));
    let output = registries(&names, Arc::new(Silent));
    output.deliver(&image(dir.path())).await.unwrap();
    // Of the two blobs, each is uploaded once.
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 2);
    assert!(registry.manifest("c/d", "1").is_some());
}

// conformance: I29
#[tokio::test]
async fn who_may_not_push_hears_it_before() {
    let registry = Registry::start();
    registry.fault(On::post("/blobs/uploads/"), Fault::status(403));
    let output = registries(&[registry.reference("a/b:1")], Arc::new(Silent));
    let error = output.check().await.unwrap_err();
    assert!(
        matches!(error, OutputError::Push(PushError::Permission { .. })),
        "{error}"
    );
}

// conformance: I38
#[tokio::test]
async fn a_layout_takes_an_index_with_what_is_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layout");
    let outputs: Vec<Box<dyn Output>> = vec![Box::new(LayoutFolder::new(
        path.clone(),
        vec!["1".to_owned(), "2".to_owned()],
    ))];
    let parcel = index(dir.path());
    let digest = deliver_all(&outputs, &parcel).await.unwrap();
    let layout = Layout::open(&path).unwrap();
    let named = layout.index().unwrap();
    let digests: Vec<_> = named.manifests().iter().map(Descriptor::digest).collect();
    assert_eq!(digests, [digest, digest]);
    for blob in &parcel.blobs {
        layout.verify_blob(&blob.descriptor).unwrap();
    }
    layout.verify_blob(&parcel.below[0].descriptor()).unwrap();
}

// conformance: I38
#[tokio::test]
async fn an_archive_holds_one_image_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    let name: Reference = "team/app:1".parse().unwrap();
    let output = Archive::new(path.clone(), vec![name], Cancel::new());
    let error = output.deliver(&index(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, OutputError::NotForArchive { .. }),
        "{error}"
    );
    assert!(!path.exists());
    output.deliver(&image(dir.path())).await.unwrap();
    let archive = read_docker_archive(&path).unwrap();
    let [image] = archive.images() else {
        panic!("{:?}", archive.images());
    };
    assert_eq!(image.layers[0].diff_id, DiffId::of(tar_of_nothing()));
}
