//! Errors as people read them.

use kiln_oci::{MediaType, Platform};
use kiln_registry::{Client, RegistryError, RegistrySettings};
use kiln_testkit::{Fault, On, Registry, image_from};

use crate::{client, settings, shown};

async fn manifest_error(fault: Fault) -> RegistryError {
    let registry = Registry::start();
    registry.push_image("team/app:1", &image_from("x"));
    registry.fault(On::any("/manifests/"), fault);
    client()
        .manifest(&registry.reference("team/app:1"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn answers_that_are_no_manifest_are_named() {
    insta::assert_snapshot!(shown(&manifest_error(Fault::Html).await), @"registry `HOST` answered the manifest request for `team/app:1` with text/html, not a manifest; is this a registry?");
    insta::assert_snapshot!(shown(&manifest_error(Fault::error(200, r#"{"hello":1}"#)).await), @"registry `HOST` answered the manifest request for `team/app:1` with some other JSON, not a manifest; is this a registry?");
    insta::assert_snapshot!(shown(&manifest_error(Fault::error(200, "{oops")).await), @"registry `HOST` answered the manifest request for `team/app:1` with a body that is not JSON, not a manifest; is this a registry?");
}

#[tokio::test]
async fn statuses_carry_the_registrys_words() {
    let registry = Registry::start();
    let error = client()
        .manifest(&registry.reference("team/app:1"))
        .await
        .unwrap_err();
    assert!(error.is_not_found());
    insta::assert_snapshot!(shown(&error), @"registry `HOST` answered the manifest request for `team/app:1` with 404 Not Found: manifest unknown");
    insta::assert_snapshot!(shown(&manifest_error(Fault::error(500, "<html>no</html>")).await), @"registry `HOST` answered the manifest request for `team/app:1` with 500 Internal Server Error: a web page instead of a registry's error");
    insta::assert_snapshot!(shown(&manifest_error(Fault::Reset).await), @"the manifest request for `team/app:1` to registry `HOST` failed: the connection was closed without an answer");
}

// conformance: I23
#[tokio::test]
async fn schema_1_is_refused_in_words() {
    let registry = Registry::start();
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    registry.put_manifest(
        "team/app",
        Some("1"),
        kind,
        br#"{"schemaVersion":1,"name":"team/app"}"#,
    );
    let error = client()
        .image(&registry.reference("team/app:1"), &Platform::host())
        .await
        .unwrap_err();
    insta::assert_snapshot!(shown(&error), @"`HOST/team/app:1` is stored as a schema 1 manifest, which is no longer supported; push it again with a current tool");
}

// conformance: I18
#[tokio::test]
async fn the_user_agent_is_sent() {
    let registry = Registry::start();
    registry.push_image("a/b:1", &image_from("x"));
    let client = Client::new(RegistrySettings {
        user_agent: "kiln/1.2 upstream\n".into(),
        ..settings()
    })
    .unwrap();
    client.manifest(&registry.reference("a/b:1")).await.unwrap();
    assert!(
        registry
            .log()
            .iter()
            .all(|line| line.header("user-agent") == Some("kiln/1.2 upstream"))
    );
}

// conformance: I39
#[tokio::test]
async fn signed_addresses_stay_out_of_errors() {
    let registry = Registry::start();
    let image = image_from("x").build();
    registry.push_built("a/b:1", &image);
    let closed = kiln_testkit::closed_port();
    let signed = format!("http://127.0.0.1:{closed}/x?X-Amz-Signature=s3cret");
    registry.fault(On::get("/blobs/"), Fault::RedirectTo(signed));
    let found = client()
        .blob_bytes(&registry.repo("a/b"), &image.config_descriptor, 10_000)
        .await;
    let text = shown(&found.unwrap_err());
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_blob_larger_than_expected_is_not_read() {
    let registry = Registry::start();
    let image = image_from("x").build();
    registry.push_built("a/b:1", &image);
    let config = image
        .config_descriptor
        .clone()
        .with_media_type(MediaType::OciConfig);
    let error = client()
        .blob_bytes(&registry.repo("a/b"), &config, 10)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unusable { .. }), "{error}");
    assert_eq!(registry.count("GET", "/blobs/"), 0);
}
