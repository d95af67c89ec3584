//! The reference implementation as a second opinion: what works with our own registry must work with it.

use bytes::Bytes;
use kiln_oci::{Descriptor, Family, Index, MediaType, Platform};
use kiln_registry::{BlobSource, Client, Pushed, RegistrySettings};
use kiln_testkit::{Authority, DebianRegistry, image_from};

use crate::settings;

#[tokio::test]
async fn an_image_makes_the_round_trip() {
    if let Some(registry) = DebianRegistry::start() {
        Box::pin(round_trip(&registry, settings())).await;
    }
}

// conformance: I35
#[tokio::test]
async fn an_image_makes_the_round_trip_over_http_2() {
    let issued = Authority::new().issue(&["127.0.0.1"]);
    if let Some(registry) = DebianRegistry::start_tls(&issued) {
        let settings = RegistrySettings {
            skip_tls_verify_hosts: vec![registry.host()],
            ..settings()
        };
        Box::pin(round_trip(&registry, settings)).await;
    }
}

async fn round_trip(registry: &DebianRegistry, settings: RegistrySettings) {
    let fresh = || Client::new(settings.clone()).unwrap();
    let client = fresh();
    let built = image_from("[size=3000000] big\netc/x = 1").build();
    let reference = registry.reference("team/app:1");
    let repo = reference.repo();
    client.check_push(&repo).await.unwrap();
    assert!(client.head_manifest(&reference).await.unwrap().is_none());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("layer");
    std::fs::write(&file, &built.layers[0].blob).unwrap();
    let layer = &built.layers[0].descriptor;
    let pushed = client
        .push_blob(&repo, layer, BlobSource::File(file.clone()), &[])
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    let config = BlobSource::Bytes(Bytes::from(built.config.clone()));
    client
        .push_blob(&repo, &built.config_descriptor, config, &[])
        .await
        .unwrap();
    let digest = client
        .push_manifest(&reference, built.manifest.clone().into(), &built.media_type)
        .await
        .unwrap();
    assert_eq!(digest, built.digest);

    let image = fresh()
        .image(&reference, &Platform::new("linux", "amd64"))
        .await
        .unwrap();
    assert_eq!(image.manifest_bytes, built.manifest);
    let to = dir.path().join("back");
    client
        .blob_to_file(&image.from, layer, &to, &|_| ())
        .await
        .unwrap();
    assert_eq!(std::fs::read(to).unwrap(), built.layers[0].blob);

    let other = registry.repo("other/app");
    let pushed = client
        .push_blob(
            &other,
            layer,
            BlobSource::File(file.clone()),
            std::slice::from_ref(&repo),
        )
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    let again = fresh()
        .push_blob(&other, layer, BlobSource::File(file), &[])
        .await
        .unwrap();
    assert_eq!(again, Pushed::Existed);

    let index = Index::new(Family::Oci, vec![built.index_entry()]).to_bytes();
    let digest = Descriptor::of(MediaType::OciIndex, &index).digest();
    let tag = registry.reference("team/app:index");
    client
        .push_manifest(&tag, index.into(), &MediaType::OciIndex)
        .await
        .unwrap();
    let image = client
        .image(&tag, &Platform::new("linux", "amd64"))
        .await
        .unwrap();
    assert_eq!(
        (image.index_digest, image.manifest_digest),
        (Some(digest), built.digest)
    );
    assert_eq!(
        client.head_manifest(&tag).await.unwrap().unwrap().digest(),
        digest
    );
}
