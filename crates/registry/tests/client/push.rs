//! Blobs and manifests into a registry.

use std::time::Duration;

use bytes::Bytes;
use kiln_oci::{Descriptor, Digest, LayerCompression, MediaType};
use kiln_registry::{
    BlobSource, Client, GrowingFile, Pushed, RegistryError, RegistrySettings, Retries,
};
use kiln_testkit::{Built, Fault, On, Registry, RegistryOptions, image_from};

use crate::{client, settings};

fn blob(size: usize) -> (Descriptor, Bytes) {
    let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    (Descriptor::of(MediaType::OciLayer, &bytes), bytes.into())
}

/// The blob in a file, so that uploads read ahead.
fn in_file(bytes: &Bytes) -> (tempfile::TempDir, BlobSource) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, bytes).unwrap();
    (dir, BlobSource::File(path))
}

async fn push_all(
    client: &Client,
    registry: &Registry,
    name: &str,
    image: &Built,
) -> Result<Digest, RegistryError> {
    let reference = registry.reference(name);
    let repo = reference.repo();
    for layer in &image.layers {
        let source = BlobSource::Bytes(layer.blob.clone().into());
        client
            .push_blob(&repo, &layer.descriptor, source, &[])
            .await?;
    }
    let source = BlobSource::Bytes(image.config.clone().into());
    client
        .push_blob(&repo, &image.config_descriptor, source, &[])
        .await?;
    client
        .push_manifest(&reference, image.manifest.clone().into(), &image.media_type)
        .await
}

// conformance: I32
#[tokio::test]
async fn a_file_is_sent_while_it_is_written() {
    use std::io::Write;
    let registry = Registry::start();
    let client = client();
    let repo = registry.reference("grow/ing:1").repo();
    let (descriptor, bytes) = blob(3_000_000);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (growing, growth) = GrowingFile::new(file.reopen().unwrap(), 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let upload = client.open_upload(&repo).await.unwrap();
    let sending = client.send_growing(upload, &growing);
    let writing = async {
        let mut at = 0;
        for piece in bytes.chunks(700_000) {
            tokio::task::yield_now().await;
            file.write_all(piece).unwrap();
            at += piece.len() as u64;
            growth.grew(at);
        }
        // A new name does not disturb the reader.
        file.persist(elsewhere.path().join("renamed")).unwrap();
        growth.end();
    };
    let (sent, ()) = tokio::join!(sending, writing);
    let pushed = client.name_upload(sent.unwrap(), &descriptor).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let claimed = client.claim_blob(&repo, &descriptor, &[]).await;
    assert_eq!(claimed.unwrap(), Some(Pushed::Existed));
    let fetched = tempfile::tempdir().unwrap();
    let to = fetched.path().join("blob");
    client
        .blob_to_file(&repo, &descriptor, &to, &|_| ())
        .await
        .unwrap();
    assert!(std::fs::read(&to).unwrap() == bytes);
}

#[tokio::test]
async fn a_file_that_is_given_up_ends_the_upload() {
    let registry = Registry::start();
    let client = client();
    let repo = registry.reference("grow/ing:1").repo();
    let file = tempfile::tempfile().unwrap();
    let (growing, growth) = GrowingFile::new(file, 0);
    let upload = client.open_upload(&repo).await.unwrap();
    drop(growth);
    let sent = client.send_growing(upload, &growing).await;
    assert!(sent.is_err(), "{sent:?}");
}

#[tokio::test]
async fn a_growing_file_under_a_wrong_digest_is_refused() {
    let registry = Registry::start();
    let client = client();
    let repo = registry.reference("grow/ing:1").repo();
    let (descriptor, bytes) = blob(5000);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &bytes[..4999]).unwrap();
    let (growing, growth) = GrowingFile::new(file.reopen().unwrap(), 4999);
    growth.end();
    let upload = client.open_upload(&repo).await.unwrap();
    let sent = client.send_growing(upload, &growing).await.unwrap();
    let named = client.name_upload(sent, &descriptor).await;
    assert!(named.is_err(), "{named:?}");
    let claimed = client.claim_blob(&repo, &descriptor, &[]).await;
    assert_eq!(claimed.unwrap(), None);
}

// conformance: I30
// conformance: I31
// conformance: I32
#[tokio::test]
async fn an_image_is_pushed_and_found_the_second_time() {
    let registry = Registry::start();
    let image = image_from("etc/x = 1")
        .compression(LayerCompression::Zstd)
        .build();
    assert_eq!(
        push_all(&client(), &registry, "a/b:1", &image)
            .await
            .unwrap(),
        image.digest
    );
    let stored = registry.manifest("a/b", "1").unwrap();
    assert_eq!(
        (stored.bytes, stored.media_type),
        (image.manifest.clone(), image.media_type.to_string())
    );
    assert_eq!(registry.open_uploads(), 0);
    registry.clear_log();
    push_all(&client(), &registry, "a/b:2", &image)
        .await
        .unwrap();
    assert_eq!(registry.count("POST", ""), 0);
}

// conformance: I32
#[tokio::test]
async fn files_and_memory_of_all_sizes_arrive() {
    let registry = Registry::start();
    let sizes = [0, 1, 65_535, 65_537, 524_288, 2_000_001];
    for size in sizes {
        let (descriptor, bytes) = blob(size);
        let (_dir, file) = in_file(&bytes);
        let around = [&b"before"[..], &bytes, b"after"].concat();
        let (_dir, whole) = in_file(&around.into());
        let BlobSource::File(whole) = whole else {
            panic!("a file is a file")
        };
        for (repo, source) in [
            ("file", file),
            ("part", BlobSource::Part(whole, 6)),
            ("memory", BlobSource::Bytes(bytes.clone())),
        ] {
            let pushed = client()
                .push_blob(&registry.repo(repo), &descriptor, source, &[])
                .await
                .unwrap();
            assert_eq!(pushed, Pushed::Uploaded);
            assert_eq!(
                registry.blob(repo, &descriptor.digest()).as_deref(),
                Some(&bytes[..]),
                "{repo} {size}"
            );
        }
    }
}

// conformance: I33
#[tokio::test]
async fn many_callers_upload_a_blob_once() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(300_000);
    registry.fault(
        On::post("/uploads/"),
        Fault::Delay(Duration::from_millis(30)),
    );
    let client = client();
    let repo = registry.repo("a/b");
    let all =
        (0..6).map(|_| client.push_blob(&repo, &descriptor, BlobSource::Bytes(bytes.clone()), &[]));
    let mut uploaded = 0;
    for done in futures_util::future::join_all(all).await {
        uploaded += usize::from(done.unwrap() == Pushed::Uploaded);
    }
    assert_eq!((uploaded, registry.count("PUT", "/uploads/")), (1, 1));
}

// conformance: I31
#[tokio::test]
async fn blobs_are_mounted_from_the_same_registry() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    registry.put_blob("base/c", &bytes);
    let repo = registry.repo("a/b");
    let elsewhere = kiln_oci::Repository {
        registry: "ghcr.io".into(),
        path: "x/y".into(),
    };
    let from = [
        elsewhere,
        repo.clone(),
        registry.repo("base/none"),
        registry.repo("base/c"),
    ];
    let source = BlobSource::Bytes(bytes.clone());
    let pushed = client()
        .push_blob(&repo, &descriptor, source, &from)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    assert_eq!(
        registry.blob("a/b", &descriptor.digest()),
        Some(bytes.to_vec())
    );
    assert_eq!((registry.count("PUT", ""), registry.open_uploads()), (0, 0));
}

// conformance: I31
#[tokio::test]
async fn a_refused_mount_becomes_an_upload() {
    let table = [
        Fault::RefuseMount,
        Fault::status(403),
        Fault::status(405),
        Fault::status(400),
    ];
    for fault in table {
        let registry = Registry::start();
        let (descriptor, bytes) = blob(1000);
        registry.put_blob("base", &bytes);
        registry.fault(On::post("mount="), fault.clone());
        let from = [registry.repo("base")];
        let source = BlobSource::Bytes(bytes.clone());
        let pushed = client()
            .push_blob(&registry.repo("a/b"), &descriptor, source, &from)
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Uploaded, "{fault:?}");
        assert_eq!(registry.open_uploads(), 0, "{fault:?}");
        // 202 names a session, which is used.
        let posts = if matches!(fault, Fault::RefuseMount) {
            1
        } else {
            2
        };
        assert_eq!(registry.count("POST", ""), posts, "{fault:?}");
    }
}

// conformance: I31
#[tokio::test]
async fn a_claim_takes_one_request_where_mounts_work() {
    let registry = Registry::start();
    let from = [registry.repo("base")];
    let blobs = [b"one", b"two"].map(|bytes| {
        registry.put_blob("base", bytes);
        Descriptor::of(MediaType::OciLayer, bytes)
    });
    let client_of_mounts = client();
    for blob in &blobs {
        let repo = registry.repo("a/b");
        let claimed = client_of_mounts.claim_blob(&repo, blob, &from).await;
        assert_eq!(claimed.unwrap(), Some(Pushed::Mounted));
    }
    assert_eq!(
        (registry.count("POST", ""), registry.count("HEAD", "")),
        (2, 0)
    );
    // Where they do not, only the first blob costs more than the question whether it is there.
    registry.clear_log();
    registry.fault(On::post("mount="), Fault::RefuseMount);
    let client = client();
    for blob in &blobs {
        let repo = registry.repo("a/b");
        let claimed = client.claim_blob(&repo, blob, &from).await.unwrap();
        assert_eq!(claimed, Some(Pushed::Existed));
    }
    assert_eq!(
        (registry.count("POST", ""), registry.count("HEAD", "")),
        (1, 2)
    );
    assert_eq!(registry.open_uploads(), 0);
}

// conformance: I31
#[tokio::test]
async fn blobs_can_be_claimed_without_their_bytes() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    registry.put_blob("base", &bytes);
    let repo = registry.repo("a/b");
    let claimed = client().claim_blob(&repo, &descriptor, &[]).await.unwrap();
    assert_eq!(claimed, None);
    let claimed = client()
        .claim_blob(&repo, &descriptor, &[registry.repo("none")])
        .await
        .unwrap();
    assert_eq!((claimed, registry.open_uploads()), (None, 0));
    let client = client();
    let from = [registry.repo("base")];
    let claimed = client.claim_blob(&repo, &descriptor, &from).await.unwrap();
    assert_eq!(claimed, Some(Pushed::Mounted));
    registry.clear_log();
    let claimed = client.claim_blob(&repo, &descriptor, &from).await.unwrap();
    assert_eq!((claimed, registry.log().len()), (Some(Pushed::Existed), 0));
}

// conformance: I32
#[tokio::test]
async fn a_broken_upload_starts_again() {
    let table = [
        Fault::ResetInBody(100_000),
        Fault::Reset,
        Fault::status(404),
        Fault::status(416),
        Fault::status(500),
        Fault::too_many("0"),
    ];
    for fault in table {
        let registry = Registry::start();
        let (descriptor, bytes) = blob(3_000_000);
        let (_dir, source) = in_file(&bytes);
        registry.fault(On::put("/uploads/").times(2), fault.clone());
        let pushed = client()
            .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Uploaded, "{fault:?}");
        assert_eq!(
            registry.blob("a/b", &descriptor.digest()),
            Some(bytes.to_vec()),
            "{fault:?}"
        );
        assert_eq!(registry.count("POST", "/uploads/"), 3, "{fault:?}");
    }
}

// conformance: I15
#[tokio::test]
async fn an_upload_that_cannot_begin_is_not_tried_in_two_circles() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    registry.fault(On::new("POST", "/uploads/"), Fault::status(500));
    let source = BlobSource::Bytes(bytes);
    let error = client()
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(500));
    let tries = 1 + settings().retries.request as usize;
    assert_eq!(registry.count("POST", "/uploads/"), tries);
}

// conformance: I32
#[tokio::test]
async fn a_registry_that_takes_no_big_bodies_gets_chunks() {
    let (descriptor, bytes) = blob(40 << 20);
    for (chunk_min, pieces) in [(None, 2), (Some(1), 2), (Some(40 << 20), 1)] {
        let registry = Registry::with(RegistryOptions {
            chunk_min,
            ..RegistryOptions::default()
        });
        let (_dir, source) = in_file(&bytes);
        registry.fault(On::put("/uploads/").times(1), Fault::status(413));
        client()
            .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
            .await
            .unwrap();
        assert_eq!(registry.count("PATCH", ""), pieces, "{chunk_min:?}");
        assert!(
            registry
                .blob("a/b", &descriptor.digest())
                .is_some_and(|stored| stored == bytes)
        );
    }
}

// conformance: I33
#[tokio::test]
async fn so_many_blobs_are_sent_at_once_and_no_more() {
    let registry = Registry::start();
    registry.fault(On::put("/uploads/").times(1), Fault::UntilUploads(2));
    let client = Client::new(RegistrySettings {
        concurrency: 2,
        ..settings()
    })
    .unwrap();
    let blobs: Vec<_> = (1..9).map(|size| blob(size * 1000)).collect();
    let repo = registry.repo("a/b");
    let pushes = blobs.iter().map(|(descriptor, bytes)| {
        client.push_blob(&repo, descriptor, BlobSource::Bytes(bytes.clone()), &[])
    });
    futures_util::future::try_join_all(pushes).await.unwrap();
    assert_eq!(registry.most_open_uploads(), 2);
}

// conformance: I17
#[tokio::test]
async fn a_stalled_upload_is_given_up() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    registry.fault(On::put("/uploads/"), Fault::Stall);
    let client = Client::new(RegistrySettings {
        inactivity_timeout: Duration::from_millis(100),
        ..settings()
    })
    .unwrap();
    let source = BlobSource::Bytes(bytes);
    let pushed = client
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await;
    assert!(
        matches!(pushed, Err(RegistryError::Timeout { .. })),
        "{pushed:?}"
    );
}

// conformance: I32
#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_not_sent_again() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    registry.fault(On::put("/uploads/"), Fault::Truncate(0));
    let answerless = Fault::WithoutHeader("Content-Type".into());
    registry.fault(On::new("HEAD", "/blobs/"), answerless);
    let source = BlobSource::Bytes(bytes);
    let pushed = client()
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await
        .unwrap();
    assert_eq!(
        (pushed, registry.count("PUT", "/uploads/")),
        (Pushed::Uploaded, 1)
    );
}

// conformance: I16
#[tokio::test]
async fn push_retries_are_extra_tries_of_the_whole() {
    let registry = Registry::start();
    registry.fault(On::put("/manifests/").times(2), Fault::status(503));
    let settings = RegistrySettings {
        retries: Retries {
            push: 2,
            request: 0,
            ..settings().retries
        },
        ..settings()
    };
    let image = image_from("x").build();
    push_all(&Client::new(settings).unwrap(), &registry, "a/b:1", &image)
        .await
        .unwrap();
    assert_eq!(registry.count("PUT", "/manifests/"), 3);
}

// conformance: I33
#[tokio::test]
async fn a_registry_that_stored_something_else_is_found_out() {
    let registry = Registry::start();
    let other = Digest::of(b"other").to_string();
    registry.fault(On::put("/manifests/"), Fault::ClaimDigest(other));
    let error = push_all(&client(), &registry, "a/b:1", &image_from("x").build())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::StoredDigest { .. }),
        "{error}"
    );
}

// conformance: I34
#[tokio::test]
async fn immutable_tags_are_errors_unless_equal_or_ignored() {
    let registry = Registry::with(RegistryOptions {
        immutable_tags: true,
        ..RegistryOptions::default()
    });
    let (first, second) = (image_from("x").build(), image_from("y").build());
    push_all(&client(), &registry, "a/b:1", &first)
        .await
        .unwrap();
    push_all(&client(), &registry, "a/b:1", &first)
        .await
        .unwrap();
    let error = push_all(&client(), &registry, "a/b:1", &second)
        .await
        .unwrap_err();
    insta::assert_snapshot!(crate::shown(&error), @"registry `HOST` answered the push of the manifest `a/b:1` with 400 Bad Request: The image tag '1' already exists in the 'a/b' repository and cannot be overwritten because the tag is immutable.");
    let lenient = Client::new(RegistrySettings {
        ignore_immutable_tag_errors: true,
        ..settings()
    })
    .unwrap();
    assert_eq!(
        push_all(&lenient, &registry, "a/b:1", &second)
            .await
            .unwrap(),
        second.digest
    );
    assert_eq!(registry.manifest("a/b", "1").unwrap().digest, first.digest);
}

// conformance: I29
#[tokio::test]
async fn the_push_check_leaves_nothing_behind() {
    let registry = Registry::start();
    client().check_push(&registry.repo("a/b")).await.unwrap();
    assert_eq!(
        (
            registry.count("POST", "/uploads/"),
            registry.count("DELETE", "/uploads/")
        ),
        (1, 1)
    );
    assert_eq!(registry.open_uploads(), 0);
    registry.fault(
        On::post("/uploads/"),
        Fault::error(
            403,
            r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#,
        ),
    );
    let error = client()
        .check_push(&registry.repo("a/b"))
        .await
        .unwrap_err();
    assert!(error.is_unauthorized());
    insta::assert_snapshot!(crate::shown(&error), @"registry `HOST` refused the push permission check of `a/b` (403 Forbidden: read only); no credentials for `HOST` were found");
}

#[tokio::test]
async fn a_blob_that_vanished_can_be_pushed_again() {
    let registry = Registry::start();
    let image = image_from("x").build();
    let client = client();
    push_all(&client, &registry, "a/b:1", &image).await.unwrap();
    registry.remove_blob("a/b", &image.layers[0].descriptor.digest());
    let error = push_all(&client, &registry, "a/b:2", &image)
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    push_all(&client, &registry, "a/b:2", &image).await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_size_is_our_own_fault() {
    let registry = Registry::start();
    let (descriptor, bytes) = blob(1000);
    let (_dir, source) = in_file(&bytes.slice(..999));
    let error = client()
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::SourceSize {
                expected: 1000,
                actual: 999,
                ..
            }
        ),
        "{error}"
    );
    let (_dir, whole) = in_file(&bytes);
    if let BlobSource::File(whole) = whole {
        let part = BlobSource::Part(whole, 1);
        let error = client()
            .push_blob(&registry.repo("a/b"), &descriptor, part, &[])
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::SourceSize { actual: 999, .. }),
            "{error}"
        );
    }
    let source = BlobSource::File("/nonexistent/blob".into());
    let error = client()
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nonexistent/blob`");
}
