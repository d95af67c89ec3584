//! Mirrors and maps.

use std::collections::BTreeMap;

use kiln_oci::{LayerCompression, Platform};
use kiln_registry::{Client, RegistryError, RegistrySettings};
use kiln_testkit::{
    Auth, Authority, Fault, On, Registry, RegistryOptions, closed_port, image_from,
};

use crate::{login, settings, shown};

fn mapped(from: &Registry, to: &[String], skip: bool) -> Client {
    Client::new(RegistrySettings {
        maps: BTreeMap::from([(from.host(), to.to_vec())]),
        skip_default_fallback: skip,
        ..settings()
    })
    .unwrap()
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

// conformance: I20
#[tokio::test]
async fn a_map_serves_before_the_registry() {
    let (origin, mirror) = (Registry::start(), Registry::start());
    origin.push_image("a/b:1", &image_from("x"));
    let digest = mirror.push_image("pre/a/b:1", &image_from("y"));
    let client = mapped(&origin, &[format!("{}/pre", mirror.host())], false);
    let found = client
        .image(&origin.reference("a/b:1"), &amd64())
        .await
        .unwrap();
    assert_eq!(
        (found.manifest_digest, found.from),
        (digest, mirror.repo("pre/a/b"))
    );
    assert!(origin.log().is_empty());
}

// conformance: I22
#[tokio::test]
async fn direct_clients_and_pushes_are_not_mapped() {
    let (origin, mirror) = (Registry::start(), Registry::start());
    let image = image_from("x").build();
    let digest = origin.push_built("a/b:1", &image);
    let client = mapped(&origin, &[mirror.host()], false);
    assert_eq!(
        client
            .direct()
            .manifest(&origin.reference("a/b:1"))
            .await
            .unwrap()
            .digest,
        digest
    );
    let reference = origin.reference("a/b:2");
    client
        .push_manifest(&reference, image.manifest.into(), &image.media_type)
        .await
        .unwrap();
    assert!(mirror.log().is_empty());
    assert_eq!(origin.tags("a/b"), ["1", "2"]);
}

// conformance: I21
#[tokio::test]
async fn a_mirror_that_fails_in_any_way_is_passed_over() {
    let origin = Registry::start();
    let digest = origin.push_image("a/b:1", &image_from("x"));
    let faults = [401, 403, 404, 429, 500, 503].map(Fault::status);
    let faults = faults
        .into_iter()
        .chain([Fault::Reset, Fault::Html, Fault::too_many("3600")]);
    for fault in faults {
        let mirror = Registry::start();
        mirror.push_image("a/b:1", &image_from("y"));
        mirror.fault(On::any("/manifests/"), fault.clone());
        let client = mapped(&origin, &[mirror.host()], false);
        let found = client.manifest(&origin.reference("a/b:1")).await.unwrap();
        assert_eq!(
            (found.digest, found.from),
            (digest, origin.repo("a/b")),
            "{fault:?}"
        );
    }
    let refused = format!("127.0.0.1:{}", closed_port());
    let private = Registry::with_auth(Auth::bearer("u", "p"));
    let client = mapped(&origin, &[refused, private.host()], false);
    assert_eq!(
        client
            .manifest(&origin.reference("a/b:1"))
            .await
            .unwrap()
            .digest,
        digest
    );
}

// conformance: I20
#[tokio::test]
async fn without_fallback_every_try_is_listed() {
    let (origin, first, second) = (Registry::start(), Registry::start(), Registry::start());
    origin.push_image("a/b:1", &image_from("x"));
    second.fault(On::any(""), Fault::status(503));
    let client = mapped(
        &origin,
        &[format!("{}/p", first.host()), second.host()],
        true,
    );
    let error = client
        .manifest(&origin.reference("a/b:1"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RegistryError::AllSourcesFailed { errors, .. } if errors.len() == 2),
        "{error}"
    );
    insta::assert_snapshot!(shown(&error), @"`HOST/a/b:1` could not be fetched from any of its sources: `HOST/p/a/b`: registry `HOST` answered the manifest request for `p/a/b:1` with 404 Not Found: manifest unknown; `HOST/a/b`: registry `HOST` answered the manifest request for `a/b:1` with 503 Service Unavailable");
}

// conformance: I21
#[tokio::test]
async fn a_mirror_that_lacks_or_spoils_a_blob_is_passed_over() {
    let origin = Registry::start();
    let image = image_from("[size=100000] x")
        .compression(LayerCompression::None)
        .build();
    origin.push_built("a/b:1", &image);
    let layer = &image.layers[0];
    // A config that is another one is no better than none.
    let mirror = Registry::start();
    mirror.push_built("a/b:1", &image);
    let config = image.config_descriptor.digest().hex();
    mirror.fault(On::get(&config), Fault::WrongContent);
    let client = mapped(&origin, &[mirror.host()], false);
    let found = client.image(&origin.reference("a/b:1"), &amd64()).await;
    assert_eq!(found.unwrap().manifest_digest, image.digest);
    let client = mapped(&origin, &[mirror.host()], true);
    let found = client.image(&origin.reference("a/b:1"), &amd64()).await;
    assert!(found.is_err(), "{found:?}");
    for fault in [Fault::status(404), Fault::WrongContent] {
        let mirror = Registry::start();
        mirror.push_built("a/b:1", &image);
        mirror.fault(On::get(&layer.descriptor.digest().hex()), fault.clone());
        let client = mapped(&origin, &[mirror.host()], false);
        let found = client
            .image(&origin.reference("a/b:1"), &amd64())
            .await
            .unwrap();
        assert_eq!(found.from, mirror.repo("a/b"));
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("layer");
        client
            .blob_to_file(&found.from, &layer.descriptor, &to, &|_| ())
            .await
            .unwrap();
        assert_eq!(std::fs::read(to).unwrap(), layer.blob, "{fault:?}");
    }
}

// conformance: I21
#[tokio::test]
async fn settings_of_a_mirror_are_those_of_its_host() {
    let origin = Registry::start();
    let from_origin = origin.push_image("a/b:1", &image_from("x"));
    let authority = Authority::new();
    let mirror = Registry::with(RegistryOptions {
        auth: Auth::basic("u", "p"),
        tls: Some(authority.issue(&["127.0.0.1"])),
        ..RegistryOptions::default()
    });
    let from_mirror = mirror.push_image("a/b:1", &image_from("y"));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("ca.pem");
    std::fs::write(&root, authority.pem()).unwrap();
    // Who may log in, and whose certificate is known: only both of the mirror's let it answer.
    let table = [
        (mirror.host(), mirror.host(), from_mirror),
        (origin.host(), mirror.host(), from_origin),
        (mirror.host(), origin.host(), from_origin),
    ];
    for (logged_in, known, expected) in table {
        let client = Client::new(RegistrySettings {
            maps: BTreeMap::from([(origin.host(), vec![mirror.host()])]),
            auth: login(&logged_in, "u", "p"),
            certificates: vec![(known.clone(), root.clone())],
            ..settings()
        });
        let found = client.unwrap().manifest(&origin.reference("a/b:1")).await;
        assert_eq!(found.unwrap().digest, expected, "{logged_in} {known}");
    }
}
