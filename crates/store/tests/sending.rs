//! Sending a parcel to a repository, without a build.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use kiln_events::{EventSink, Silent};
use kiln_oci::{Descriptor, Family, LayerCompression, Layout, Manifest, MediaType};
use kiln_registry::{Client, RegistrySettings};
use kiln_store::parcel::{Blob, Document, Parcel, ParcelError};
use kiln_store::send::{SendError, Told, send_below, send_blobs, send_document};
use kiln_testkit::Registry;

fn layer(content: &[u8]) -> Descriptor {
    Descriptor::of(
        MediaType::layer(Family::Oci, LayerCompression::Gzip),
        content,
    )
}

/// A parcel of a config and these blobs.
fn parcel(blobs: Vec<Blob>) -> Parcel {
    let config = Descriptor::of(MediaType::config(Family::Oci), b"{}");
    let layers = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
    let manifest = Manifest::new(Family::Oci, config.clone(), layers);
    let mut all = vec![Blob::of_bytes(config, b"{}")];
    all.extend(blobs);
    Parcel {
        blobs: all,
        below: Vec::new(),
        top: Document::of_manifest(&manifest, None),
        known_in: Vec::new(),
    }
}

async fn send(registry: &Registry, parcel: &Parcel) -> Result<(), SendError> {
    let client = Client::new(RegistrySettings::default()).unwrap();
    let repository = registry.repo("a/b");
    let events: Arc<dyn EventSink> = Arc::new(Silent);
    let told = Told {
        events: &events,
        subject: None,
    };
    send_blobs(&client, parcel, &repository, &[], &told).await?;
    send_below(&client, parcel, &repository).await.unwrap();
    let tag = registry.reference("a/b:1");
    send_document(&client, &parcel.top, &tag).await.unwrap();
    Ok(())
}

// conformance: I27 I30
#[tokio::test]
async fn blobs_come_before_the_manifest_and_foreign_ones_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("layer");
    std::fs::write(&file, b"of this build").unwrap();
    let own = Blob::packed(layer(b"of this build"), file, None);
    let foreign = Descriptor::of(MediaType::OciForeignLayerGzip, b"elsewhere")
        .with_urls(vec!["https://elsewhere/layer".to_owned()]);
    let foreign = Blob::of_bytes(foreign, b"elsewhere");
    let registry = Registry::start();
    let parcel = parcel(vec![own, foreign]);
    send(&registry, &parcel).await.unwrap();
    assert!(registry.manifest("a/b", "1").is_some());
    let [config, own, foreign] = [0, 1, 2].map(|at| parcel.blobs[at].descriptor.digest());
    assert!(registry.blob("a/b", &config).is_some() && registry.blob("a/b", &own).is_some());
    assert_eq!(registry.blob("a/b", &foreign), None);
    let log = registry.log();
    let last_blob = log.iter().rposition(|line| line.path.contains("/blobs/"));
    let manifest = log
        .iter()
        .position(|line| line.method == "PUT" && line.path.contains("/manifests/"));
    assert!(last_blob < manifest, "{log:#?}");
}

// conformance: I27
#[tokio::test]
async fn a_damaged_blob_of_a_layout_is_our_fault_and_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let descriptor = layer(b"as it was");
    layout.write_blob(&b"as it was"[..], &descriptor).unwrap();
    std::fs::write(layout.blob_path(&descriptor.digest()), b"as it is!").unwrap();
    let registry = Registry::start();
    let parcel = parcel(vec![Blob::of_layout(descriptor.clone(), &layout)]);
    let error = send(&registry, &parcel).await.unwrap_err();
    assert!(
        matches!(error, SendError::Ours(ParcelError::Layout(_))),
        "{error:?}"
    );
    assert_eq!(registry.blob("a/b", &descriptor.digest()), None);
    assert!(registry.manifest("a/b", "1").is_none());
}

#[tokio::test]
async fn what_the_registry_has_is_not_even_read() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let descriptor = layer(b"content");
    let registry = Registry::start();
    registry.put_blob("a/b", b"content");
    // The layout has no such blob; nobody looks.
    let parcel = parcel(vec![Blob::of_layout(descriptor, &layout)]);
    send(&registry, &parcel).await.unwrap();
    assert!(registry.manifest("a/b", "1").is_some());
}
