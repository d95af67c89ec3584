//! Schemes and certificates.

use kiln_registry::{Client, RegistryError, RegistrySettings};
use kiln_testkit::{Authority, Fault, On, Registry, RegistryOptions, closed_port, image_from};

use crate::{client, settings, shown};

// conformance: I13
#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    let authority = Authority::new();
    let registry = Registry::with_tls(&authority);
    registry.push_image("a/b:1", &image_from("x"));
    let reference = registry.reference("a/b:1");
    let error = client().manifest(&reference).await.unwrap_err();
    insta::assert_snapshot!(shown(&error), @"the version check to registry `HOST` failed: invalid peer certificate: unknown issuer");
    assert!(error.is_untrusted() && !error.is_unreachable(), "{error:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let table = [
        (
            "extra root",
            RegistrySettings {
                certificates: vec![(registry.host(), file.clone())],
                ..settings()
            },
            true,
        ),
        (
            "root of another host",
            RegistrySettings {
                certificates: vec![("other:1".into(), file)],
                ..settings()
            },
            false,
        ),
        (
            "skip all pulls",
            RegistrySettings {
                skip_tls_verify_pull: true,
                ..settings()
            },
            true,
        ),
        (
            "skip all pushes",
            RegistrySettings {
                skip_tls_verify_push: true,
                ..settings()
            },
            false,
        ),
        (
            "skip host",
            RegistrySettings {
                skip_tls_verify_hosts: vec![registry.host()],
                ..settings()
            },
            true,
        ),
    ];
    for (what, settings, expected) in table {
        let found = Client::new(settings).unwrap().manifest(&reference).await;
        assert_eq!(found.is_ok(), expected, "{what}: {found:?}");
    }
}

/// What a flag does to the settings.
type Change = fn(&mut RegistrySettings, String);

// finding 44: a certificate of its own does not take back that a host's is not looked at.
// conformance: I13
#[tokio::test]
async fn skipping_holds_for_hosts_with_certificates_of_their_own() {
    let authority = Authority::new();
    let registry = Registry::with_tls(&authority);
    registry.push_image("a/b:1", &image_from("x"));
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.pem");
    std::fs::write(&other, Authority::new().pem()).unwrap();
    let (certificate, key) = authority.issue(&["me"]).write(dir.path(), "me");
    let roots = vec![(registry.host(), other)];
    let identity = vec![(registry.host(), certificate, key)];
    let flags: [(&str, Change, [bool; 2]); 4] = [
        ("nothing", |_, _| (), [false, false]),
        ("pull", |s, _| s.skip_tls_verify_pull = true, [true, false]),
        ("push", |s, _| s.skip_tls_verify_push = true, [false, true]),
        (
            "host",
            |s, host| s.skip_tls_verify_hosts = vec![host],
            [true, true],
        ),
    ];
    for (certificates, client_certificates) in [
        (roots.clone(), vec![]),
        (vec![], identity.clone()),
        (roots, identity),
    ] {
        for (what, change, expected) in flags {
            let mut with = RegistrySettings {
                certificates: certificates.clone(),
                client_certificates: client_certificates.clone(),
                ..settings()
            };
            change(&mut with, registry.host());
            let client = Client::new(with).unwrap();
            let pulled = client.manifest(&registry.reference("a/b:1")).await;
            let pushed = client.check_push(&registry.repo("a/b")).await;
            assert_eq!(
                [pulled.is_ok(), pushed.is_ok()],
                expected,
                "{what}: {pulled:?} {pushed:?}"
            );
        }
    }
}

// conformance: I13
#[tokio::test]
async fn a_self_signed_certificate_is_called_so() {
    let registry = Registry::with(RegistryOptions {
        tls: Some(Authority::new().itself()),
        ..RegistryOptions::default()
    });
    let error = client()
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap_err();
    insta::assert_snapshot!(shown(&error), @"the version check to registry `HOST` failed: invalid peer certificate: it is self-signed");
}

// conformance: I13
#[tokio::test]
async fn client_certificates_are_shown() {
    let authority = Authority::new();
    let registry = Registry::with(RegistryOptions {
        tls: Some(authority.issue(&["127.0.0.1"])),
        client_authority: Some(authority.pem()),
        ..RegistryOptions::default()
    });
    registry.push_image("a/b:1", &image_from("x"));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("ca.pem");
    std::fs::write(&root, authority.pem()).unwrap();
    let (certificate, key) = authority.issue(&["me"]).write(dir.path(), "me");
    let mut with = RegistrySettings {
        certificates: vec![(registry.host(), root)],
        ..settings()
    };
    assert!(
        Client::new(with.clone())
            .unwrap()
            .manifest(&registry.reference("a/b:1"))
            .await
            .is_err()
    );
    // finding 44: what the server wants is said.
    let error = Client::new(with.clone()).unwrap();
    let error = error
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap_err();
    let text = shown(&error);
    assert!(text.contains("--registry-client-cert"), "{text}");
    with.client_certificates = vec![(registry.host(), certificate, key)];
    Client::new(with)
        .unwrap()
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
}

// conformance: I13
#[test]
fn unusable_files_are_errors_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let nonsense = dir.path().join("nonsense");
    std::fs::write(&nonsense, "hello").unwrap();
    let (certificate, _) = Authority::new().issue(&["a"]).write(dir.path(), "a");
    let (_, other_key) = Authority::new().issue(&["b"]).write(dir.path(), "b");
    let host = || "h".to_owned();
    let roots = |path: &std::path::Path| RegistrySettings {
        certificates: vec![(host(), path.to_owned())],
        ..settings()
    };
    let identity = |certificate: &std::path::Path, key: &std::path::Path| RegistrySettings {
        client_certificates: vec![(host(), certificate.to_owned(), key.to_owned())],
        ..settings()
    };
    let table = [
        (roots(&missing), "cannot read the certificate"),
        (roots(&nonsense), "holds no PEM certificate"),
        (identity(&certificate, &nonsense), "the client key"),
        (
            identity(&missing, &other_key),
            "cannot read the client certificate",
        ),
        (identity(&certificate, &other_key), "the client key"),
    ];
    for (settings, expected) in table {
        let error = Client::new(settings).unwrap_err();
        assert!(matches!(error, RegistryError::Settings(_)));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

// conformance: I12
#[tokio::test]
async fn https_is_preferred_and_http_is_found() {
    let plain = Registry::start();
    plain.push_image("a/b:1", &image_from("x"));
    client().manifest(&plain.reference("a/b:1")).await.unwrap();
    let by_name = format!("localhost:{}/a/b:1", plain.port()).parse().unwrap();
    client().manifest(&by_name).await.unwrap();
    let secure = Registry::with_tls(&Authority::new());
    secure.push_image("a/b:1", &image_from("x"));
    let trusting = Client::new(RegistrySettings {
        insecure_pull: true,
        skip_tls_verify_pull: true,
        ..settings()
    })
    .unwrap();
    trusting.manifest(&secure.reference("a/b:1")).await.unwrap();
}

// conformance: I11
#[tokio::test]
async fn a_private_registry_may_store_its_blobs_behind_plain_http() {
    let registry = Registry::with_tls(&Authority::new());
    let storage = Registry::start();
    let image = image_from("x").build();
    storage.put_blob("a/b", &image.config);
    registry.fault(
        On::get("/blobs/"),
        Fault::Redirect(format!("http://{}", storage.host())),
    );
    let client = Client::new(RegistrySettings {
        skip_tls_verify_pull: true,
        ..settings()
    })
    .unwrap();
    client
        .blob_bytes(&registry.repo("a/b"), &image.config_descriptor, 10_000)
        .await
        .unwrap();
}

// conformance: I15
#[tokio::test]
async fn a_registry_that_is_not_there_is_a_readable_error() {
    let reference = format!("127.0.0.1:{}/a/b:1", closed_port())
        .parse()
        .unwrap();
    let error = client().manifest(&reference).await.unwrap_err();
    assert!(error.is_retryable());
    insta::assert_snapshot!(shown(&error), @"the version check to registry `HOST` failed: connection refused");
}

// conformance: I18
#[tokio::test]
async fn other_downloads_share_the_transport() {
    let registry = Registry::start();
    let digest = registry.put_blob("a/b", b"hello");
    let http = kiln_registry::http_client_builder("kiln/1")
        .unwrap()
        .build()
        .unwrap();
    let url = format!("http://localhost:{}/v2/a/b/blobs/{digest}", registry.port());
    assert_eq!(
        http.get(url).send().await.unwrap().bytes().await.unwrap(),
        "hello"
    );
    assert_eq!(registry.log()[0].header("user-agent"), Some("kiln/1"));
}
