//! Manifests, images and blobs out of a registry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kiln_oci::{Descriptor, Digest, Family, LayerCompression, MediaType, Platform};
use kiln_registry::{Client, RegistryError, RegistrySettings, Retries};
use kiln_testkit::{Fault, Image, On, Registry, image_from};

use crate::{client, settings};

const BIG: &str = "[size=1000000] big";

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

/// A registry with a blob of some size, and its descriptor.
fn with_blob() -> (Registry, Descriptor, Vec<u8>) {
    let registry = Registry::start();
    let built = image_from(BIG).compression(LayerCompression::None).build();
    registry.push_built("a/b:1", &built);
    let layer = built.layers[0].clone();
    (registry, layer.descriptor, layer.blob)
}

// conformance: I23
// conformance: I26
#[tokio::test]
async fn images_of_every_format_are_read() {
    let registry = Registry::start();
    let mut rows = 0;
    for docker in [false, true] {
        for compression in [
            LayerCompression::None,
            LayerCompression::Gzip,
            LayerCompression::Zstd,
        ] {
            let image = image_from("etc/x = 1").env("A=b").compression(compression);
            let image = if docker { image.docker() } else { image };
            let digest = registry.push_image("a/b:1", &image);
            let found = client()
                .image(&registry.reference("a/b:1"), &amd64())
                .await
                .unwrap();
            assert_eq!(found.manifest_digest, digest);
            assert_eq!(Digest::of(&found.manifest_bytes), digest);
            assert_eq!(found.config.env(), ["A=b"]);
            assert_eq!(
                found.manifest.layers()[0].media_type().layer_compression(),
                Some(compression)
            );
            assert_eq!(found.index_digest, None);
            assert!(found.warnings.is_empty());
            let log = registry.log();
            let asked = log.iter().find(|line| line.path.contains("/manifests/"));
            let accepted = asked.unwrap().header("accept").unwrap_or_default();
            for kind in [
                MediaType::OciManifest,
                MediaType::OciIndex,
                MediaType::DockerManifest,
                MediaType::DockerManifestList,
            ] {
                assert!(accepted.contains(kind.as_str()), "{accepted}");
            }
            rows += 1;
        }
    }
    assert_eq!(rows, 6);
}

// conformance: I24
// conformance: C1 C13 C14
#[tokio::test]
async fn an_index_gives_the_image_of_the_platform() {
    let registry = Registry::start();
    let image = |platform: &str| image_from(&format!("etc/arch = {platform}")).platform(platform);
    let images = [
        image("linux/amd64"),
        image("linux/arm64"),
        image("linux/arm/v6"),
    ];
    let index = registry.push_index("a/b:1", Family::Docker, &images);
    for (wanted, at) in [
        ("linux/amd64", 0),
        ("linux/arm64/v8", 1),
        ("linux/arm/v7", 2),
    ] {
        let found = client()
            .image(&registry.reference("a/b:1"), &wanted.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(found.manifest_digest, images[at].build().digest, "{wanted}");
        assert_eq!(found.index_digest, Some(index));
        // The same by its digest, with a tag that does not count.
        let named = registry.reference(&format!("a/b:gone@{index}"));
        let found = client()
            .image(&named, &wanted.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(found.manifest_digest, images[at].build().digest, "{wanted}");
    }
}

// conformance: C15
#[tokio::test]
async fn a_missing_platform_is_an_error_that_lists_the_others() {
    let registry = Registry::start();
    let attestation = Image::new().platform("unknown/unknown");
    let images = [
        image_from("x").platform("linux/arm64"),
        image_from("x").platform("linux/s390x"),
        attestation,
    ];
    registry.push_index("a/b:1", Family::Oci, &images);
    let error = client()
        .image(&registry.reference("a/b:1"), &amd64())
        .await
        .unwrap_err();
    insta::assert_snapshot!(crate::shown(&error), @"`HOST/a/b:1` is not available for platform `linux/amd64`; it offers `linux/arm64`, `linux/s390x`");
}

// conformance: C15
#[tokio::test]
async fn a_single_image_of_another_platform_is_used_with_a_warning() {
    let registry = Registry::start();
    registry.push_image("a/b:1", &image_from("x").platform("linux/arm64"));
    let found = client()
        .image(&registry.reference("a/b:1"), &amd64())
        .await
        .unwrap();
    assert_eq!(found.warnings.len(), 1);
    assert!(
        found.warnings[0].contains("is for platform `linux/arm64`, not `linux/amd64`"),
        "{:?}",
        found.warnings
    );
}

// conformance: I24
#[tokio::test]
async fn nested_and_unlabelled_entries_are_followed() {
    let registry = Registry::start();
    let unlabelled = image_from("x").platform("linux/arm64").build();
    registry.push_built(&format!("a/b@{}", unlabelled.digest), &unlabelled);
    let plain = Descriptor::of(unlabelled.media_type.clone(), &unlabelled.manifest);
    registry.push_entries("a/b:unlabelled", Family::Oci, vec![plain.clone()]);
    let inner = registry.push_entries("a/b:inner", Family::Oci, vec![unlabelled.index_entry()]);
    let size = registry.manifest("a/b", "inner").unwrap().bytes.len() as u64;
    let nested = Descriptor::new(MediaType::OciIndex, inner, size);
    registry.push_entries("a/b:nested", Family::Oci, vec![nested]);
    let arm64 = "linux/arm64".parse().unwrap();
    for tag in ["unlabelled", "nested"] {
        let reference = registry.reference(&format!("a/b:{tag}"));
        let found = client().image(&reference, &arm64).await.unwrap();
        assert_eq!(found.manifest_digest, unlabelled.digest, "{tag}");
        let error = client().image(&reference, &amd64()).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::NoPlatform { .. }),
            "{tag}: {error}"
        );
    }
}

// conformance: C24
#[tokio::test]
async fn a_tag_is_resolved_once_even_if_it_moves() {
    let registry = Registry::start();
    registry.push_image("a/b:1", &image_from("old"));
    let client = client();
    let reference = registry.reference("a/b:1");
    let first = client.image(&reference, &amd64()).await.unwrap();
    registry.push_image("a/b:1", &image_from("new"));
    let platform = amd64();
    let (second, third) = tokio::join!(
        client.image(&reference, &platform),
        client.image(&reference, &platform)
    );
    assert_eq!(first.manifest_digest, second.unwrap().manifest_digest);
    assert_eq!(first.manifest_digest, third.unwrap().manifest_digest);
    assert_eq!(registry.count("GET", "/manifests/1"), 1);
}

// conformance: C1
#[tokio::test]
async fn the_digest_decides_when_there_is_a_tag_too() {
    let registry = Registry::start();
    let old = registry.push_image("a/b:1", &image_from("old"));
    registry.push_image("a/b:1", &image_from("new"));
    let found = client()
        .manifest(&registry.reference(&format!("a/b:1@{old}")))
        .await
        .unwrap();
    assert_eq!(found.digest, old);
    assert_eq!(found.from, registry.repo("a/b"));
}

#[tokio::test]
async fn head_describes_and_knows_absence() {
    let registry = Registry::start();
    let digest = registry.push_image("a/b:1", &image_from("x"));
    let client = client();
    let found = client
        .head_manifest(&registry.reference("a/b:1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.digest(), found.media_type()),
        (digest, MediaType::OciManifest)
    );
    assert_eq!(registry.count("GET", "/manifests/"), 0);
    assert_eq!(
        client
            .head_manifest(&registry.reference("a/b:2"))
            .await
            .unwrap(),
        None
    );
    registry.fault(
        On::new("HEAD", "/manifests/"),
        Fault::WithoutHeader("Docker-Content-Digest".into()),
    );
    assert_eq!(
        client
            .head_manifest(&registry.reference("a/b:1"))
            .await
            .unwrap()
            .unwrap()
            .digest(),
        digest
    );
}

// conformance: I25
#[tokio::test]
async fn a_blob_is_streamed_verified_and_named_last() {
    let (registry, blob, content) = with_blob();
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    let seen = AtomicU64::new(0);
    let progress = |bytes| {
        seen.store(bytes, Ordering::Relaxed);
    };
    client()
        .blob_to_file(&registry.repo("a/b"), &blob, &to, &progress)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert_eq!(seen.into_inner(), blob.size());
}

// conformance: I25
#[tokio::test]
async fn wrong_content_is_an_error_and_leaves_nothing() {
    let (registry, blob, _) = with_blob();
    registry.fault(On::get("/blobs/"), Fault::WrongContent);
    let dir = tempfile::tempdir().unwrap();
    let repo = registry.repo("a/b");
    let error = client()
        .blob_to_file(&repo, &blob, &dir.path().join("blob"), &|_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::DigestMismatch { expected, .. } if expected == blob.digest()),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let error = client()
        .blob_bytes(&repo, &blob, 2_000_000)
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
}

// conformance: I25
#[tokio::test]
async fn wrong_manifests_configs_and_sizes_are_errors() {
    let registry = Registry::start();
    let digest = registry.push_image("a/b:1", &image_from("x"));
    registry.fault(
        On::get(&format!("/manifests/{digest}")).times(1),
        Fault::WrongContent,
    );
    let by_digest = registry.reference(&format!("a/b@{digest}"));
    let error = client().manifest(&by_digest).await.unwrap_err();
    assert!(
        error.to_string().contains("is this a registry?")
            || matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
    registry.fault(On::get("/blobs/").times(1), Fault::WrongContent);
    let error = client().image(&by_digest, &amd64()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
    let (registry, blob, _) = with_blob();
    let dir = tempfile::tempdir().unwrap();
    for size in [blob.size() - 1, blob.size() + 1] {
        let blob = Descriptor::new(blob.media_type(), blob.digest(), size);
        let to = dir.path().join("blob");
        let error = client()
            .blob_to_file(&registry.repo("a/b"), &blob, &to, &|_| ())
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::SizeMismatch { .. }),
            "{error}"
        );
    }
}

// conformance: I16
#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (registry, blob, content) = with_blob();
    registry.fault(On::get("/blobs/").times(1), Fault::Truncate(300_000));
    registry.fault(On::get("/blobs/").times(1), Fault::Truncate(400_000));
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    client()
        .blob_to_file(&registry.repo("a/b"), &blob, &to, &|_| ())
        .await
        .unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
    let gets: Vec<_> = registry
        .log()
        .into_iter()
        .filter(|line| line.path.contains("/blobs/"))
        .collect();
    let ranges: Vec<_> = gets
        .iter()
        .map(|line| line.header("range").unwrap_or("none").to_owned())
        .collect();
    assert_eq!(ranges, ["none", "bytes=300000-", "bytes=700000-"]);
}

// conformance: I16
#[tokio::test]
async fn a_registry_without_ranges_is_read_again() {
    let (registry, blob, content) = with_blob();
    registry.fault(On::get("/blobs/").times(1), Fault::Truncate(300_000));
    registry.fault(On::get("/blobs/").times(1), Fault::NoRange);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    client()
        .blob_to_file(&registry.repo("a/b"), &blob, &to, &|_| ())
        .await
        .unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
}

// conformance: I16
#[tokio::test]
async fn download_retries_are_extra_tries_of_the_whole() {
    let (registry, blob, _) = with_blob();
    registry.fault(On::get("/blobs/").times(2), Fault::WrongContent);
    let client = Client::new(RegistrySettings {
        retries: Retries {
            download: 2,
            ..settings().retries
        },
        ..settings()
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    client
        .blob_to_file(
            &registry.repo("a/b"),
            &blob,
            &dir.path().join("blob"),
            &|_| (),
        )
        .await
        .unwrap();
    assert_eq!(registry.count("GET", "/blobs/"), 3);
}

// conformance: I15
#[tokio::test]
async fn failures_that_pass_are_tried_again() {
    let registry = Registry::start();
    registry.push_image("a/b:1", &image_from("x"));
    let faults = [
        Fault::status(408),
        Fault::too_many("0"),
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::status(504),
        Fault::Reset,
        Fault::Truncate(10),
    ];
    for fault in faults {
        registry.clear_log();
        registry.fault(On::get("/manifests/").times(2), fault.clone());
        client()
            .manifest(&registry.reference("a/b:1"))
            .await
            .unwrap();
        assert_eq!(registry.count("GET", "/manifests/"), 3, "{fault:?}");
    }
    for code in [400, 404, 405, 410, 501] {
        registry.clear_log();
        registry.fault(On::get("/manifests/").times(1), Fault::status(code));
        let error = client()
            .manifest(&registry.reference("a/b:1"))
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(code));
        assert_eq!(registry.count("GET", "/manifests/"), 1, "{code}");
    }
}

// conformance: I17
#[tokio::test]
async fn a_stalled_transfer_is_given_up_and_resumed() {
    let (registry, blob, content) = with_blob();
    let client = Client::new(RegistrySettings {
        inactivity_timeout: Duration::from_millis(300),
        ..settings()
    })
    .unwrap();
    registry.fault(On::get("/blobs/").times(1), Fault::StallAfter(500_000));
    registry.fault(On::get("/blobs/").times(1), Fault::Stall);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    client
        .blob_to_file(&registry.repo("a/b"), &blob, &to, &|_| ())
        .await
        .unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
    registry.fault(On::get("/manifests/"), Fault::Stall);
    let error = client
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap_err();
    insta::assert_snapshot!(crate::shown(&error), @"registry `HOST` was silent for 0.3 s during the manifest request for `a/b:1`");
}

// conformance: I11
// conformance: I28
#[tokio::test]
async fn blobs_are_followed_to_another_host_without_authorization() {
    let (storage, blob, content) = with_blob();
    let registry = Registry::with_auth(kiln_testkit::Auth::basic("u", "p"));
    registry.fault(
        On::get("/blobs/"),
        Fault::Redirect(format!("http://{}", storage.host())),
    );
    let client = Client::new(RegistrySettings {
        auth: crate::login(&registry.host(), "u", "p"),
        ..settings()
    })
    .unwrap();
    let got = client
        .blob_bytes(&registry.repo("a/b"), &blob, 2_000_000)
        .await
        .unwrap();
    assert_eq!(got, content);
    let at_home = registry.log();
    assert!(
        at_home
            .iter()
            .any(|line| line.header("authorization").is_some())
    );
    assert!(
        storage
            .log()
            .iter()
            .all(|line| line.header("authorization").is_none())
    );
}

// conformance: I28
#[tokio::test]
async fn a_relative_redirect_is_resolved_and_a_loop_ends() {
    let (registry, blob, content) = with_blob();
    registry.put_blob("c/d", &content);
    registry.fault(
        On::get("/v2/a/b/blobs/").times(1),
        Fault::RedirectTo(format!("../../../c/d/blobs/{}", blob.digest())),
    );
    let got = client()
        .blob_bytes(&registry.repo("a/b"), &blob, 2_000_000)
        .await
        .unwrap();
    assert_eq!(got, content);
    registry.fault(On::get("/v2/a/b/blobs/"), Fault::Redirect(String::new()));
    let error = client()
        .blob_bytes(&registry.repo("a/b"), &blob, 2_000_000)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

// conformance: I26
#[tokio::test]
async fn foreign_layers_come_from_their_own_address() {
    let registry = Registry::start();
    let elsewhere = Registry::start();
    let plain = image_from("x").build();
    let digest = elsewhere.put_blob("store", &plain.layers[0].blob);
    let url = format!("http://{}/v2/store/blobs/{digest}", elsewhere.host());
    let image = Image::new().foreign_layer("x", &url).build();
    registry.push_built("a/b:1", &image);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("layer");
    let layer = &image.layers[0].descriptor;
    client()
        .blob_to_file(&registry.repo("a/b"), layer, &to, &|_| ())
        .await
        .unwrap();
    assert_eq!(std::fs::read(to).unwrap(), plain.layers[0].blob);
}

#[tokio::test]
async fn the_same_file_asked_for_twice_is_fetched_once() {
    let (registry, blob, content) = with_blob();
    registry.fault(On::get("/blobs/"), Fault::Delay(Duration::from_millis(50)));
    let client = client();
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    let repo = registry.repo("a/b");
    let all = (0..5).map(|_| client.blob_to_file(&repo, &blob, &to, &|_| ()));
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert_eq!(registry.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn has_blob_tells_yes_from_no() {
    let (registry, blob, _) = with_blob();
    let repo = registry.repo("a/b");
    assert!(client().has_blob(&repo, &blob.digest()).await.unwrap());
    assert!(
        !client()
            .has_blob(&repo, &Digest::of(b"other"))
            .await
            .unwrap()
    );
}
