//! Credentials, challenges and tokens.

use std::os::unix::fs::PermissionsExt as _;

use kiln_oci::{Descriptor, MediaType};
use kiln_registry::{AuthConfig, BlobSource, Client, CredentialHelper, Pushed, RegistrySettings};
use kiln_testkit::{Auth, Fault, On, Registry, image_from};

use crate::{client, login, settings, shown};

fn client_with(auth: AuthConfig) -> Client {
    Client::new(RegistrySettings { auth, ..settings() }).unwrap()
}

fn bearer(anonymous_pull: bool) -> Auth {
    Auth::Bearer {
        user: "u".into(),
        password: "p:w".into(),
        identity: Some("refresh".into()),
        anonymous_pull,
        expires_in: Some(300),
    }
}

// conformance: I8
// conformance: I4
#[tokio::test]
async fn basic_and_bearer_registries_are_pulled_from() {
    for auth in [Auth::basic("u", "p:w"), bearer(false)] {
        let registry = Registry::with_auth(auth);
        registry.push_image("a/b:1", &image_from("x"));
        let client = client_with(login(&registry.host(), "u", "p:w"));
        client.manifest(&registry.reference("a/b:1")).await.unwrap();
        let error = client_with(AuthConfig::default())
            .manifest(&registry.reference("a/b:1"))
            .await
            .unwrap_err();
        assert!(error.is_unauthorized(), "{error}");
    }
}

// conformance: I4
#[tokio::test]
async fn identity_and_registry_tokens_are_used() {
    let registry = Registry::with_auth(bearer(false));
    registry.push_image("a/b:1", &image_from("x"));
    let config = format!(
        r#"{{"auths":{{"{}":{{"identitytoken":"refresh"}}}}}}"#,
        registry.host()
    );
    let auth = AuthConfig::from_json(config.as_bytes(), "`test.json`").unwrap();
    client_with(auth)
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
    assert_eq!(registry.count("POST", "/token"), 1);
    // The first token the registry handed out is as good as one somebody wrote down.
    let config = format!(
        r#"{{"auths":{{"{}":{{"registrytoken":"token-1"}}}}}}"#,
        registry.host()
    );
    let auth = AuthConfig::from_json(config.as_bytes(), "`test.json`").unwrap();
    client_with(auth)
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
    assert_eq!(registry.count("POST", "/token"), 1);
}

// conformance: I8
#[tokio::test]
async fn anonymous_tokens_are_fetched_where_they_are_wanted() {
    let registry = Registry::with_auth(bearer(true));
    registry.push_image("a/b:1", &image_from("x"));
    client()
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
    let error = client()
        .check_push(&registry.repo("a/b"))
        .await
        .unwrap_err();
    assert!(error.is_unauthorized(), "{error}");
}

// conformance: I10
#[tokio::test]
async fn rejected_credentials_name_their_source() {
    let registry = Registry::with_auth(bearer(true));
    registry.push_image("a/b:1", &image_from("x"));
    let client = client_with(login(&registry.host(), "u", "wrong-s3cret"));
    let error = client
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap_err();
    insta::assert_snapshot!(shown(&error), @"registry `HOST` refused the token request for the manifest request for `a/b:1` (401 Unauthorized: incorrect username or password); credentials came from `test.json`, entry `HOST`");
    let registry = Registry::with_auth(Auth::basic("u", "p"));
    let client = client_with(login(&registry.host(), "u", "wrong-s3cret"));
    let error = client
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap_err();
    insta::assert_snapshot!(shown(&error), @"registry `HOST` refused the manifest request for `a/b:1` (401 Unauthorized: authentication required); credentials came from `test.json`, entry `HOST`");
}

// conformance: I9
#[tokio::test]
async fn tokens_are_shared_by_scope_and_renewed() {
    let registry = Registry::with_auth(bearer(false));
    registry.push_image("a/b:1", &image_from("x"));
    let client = client_with(login(&registry.host(), "u", "p:w"));
    let reference = registry.reference("a/b:1");
    let all = (0..5).map(|_| client.manifest(&reference));
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    assert_eq!(registry.count("GET", "/token"), 1);
    registry.revoke_tokens();
    client.manifest(&reference).await.unwrap();
    assert_eq!(registry.count("GET", "/token"), 2);
    let tokens: Vec<_> = registry
        .log()
        .into_iter()
        .filter(|line| line.path.starts_with("/token"))
        .collect();
    assert!(tokens[0].path.contains("service=kit"), "{}", tokens[0].path);
    assert!(
        tokens[0].path.contains("scope=repository%3Aa%2Fb%3Apull"),
        "{}",
        tokens[0].path
    );
}

// conformance: I9
#[tokio::test]
async fn expired_tokens_are_not_used() {
    let registry = Registry::with_auth(Auth::Bearer {
        user: "u".into(),
        password: "p".into(),
        identity: None,
        anonymous_pull: true,
        expires_in: Some(1),
    });
    registry.push_image("a/b:1", &image_from("x"));
    let client = client();
    client.manifest(&registry.reference("a/b:1")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    client.manifest(&registry.reference("a/b:1")).await.unwrap();
    assert_eq!(registry.count("GET", "/token"), 2);
}

// conformance: I9
#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_push_is_replaced() {
    let registry = Registry::with_auth(bearer(false));
    let client = client_with(login(&registry.host(), "u", "p:w"));
    let bytes = vec![7; 2_000_000];
    let descriptor = Descriptor::of(MediaType::OciLayer, &bytes);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"kit\"",
        registry.host()
    );
    registry.fault(
        On::put("/uploads/").times(1),
        Fault::Status {
            code: 401,
            headers: vec![("WWW-Authenticate".into(), challenge)],
            body: String::new(),
        },
    );
    let source = BlobSource::Bytes(bytes.into());
    let pushed = client
        .push_blob(&registry.repo("a/b"), &descriptor, source, &[])
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    assert_eq!(
        (
            registry.count("PUT", "/uploads/"),
            registry.count("GET", "/token")
        ),
        (2, 2)
    );
}

// conformance: I9
#[tokio::test]
async fn mounting_asks_for_the_source_too() {
    let registry = Registry::with_auth(bearer(false));
    let client = client_with(login(&registry.host(), "u", "p:w"));
    let bytes = vec![7; 1000];
    registry.put_blob("base", &bytes);
    let descriptor = Descriptor::of(MediaType::OciLayer, &bytes);
    let from = [registry.repo("base")];
    let source = BlobSource::Bytes(bytes.into());
    let pushed = client
        .push_blob(&registry.repo("a/b"), &descriptor, source, &from)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
}

// conformance: I3
#[tokio::test]
async fn credentials_of_another_path_are_not_sent() {
    let registry = Registry::with_auth(Auth::basic("u", "p"));
    registry.push_image("team-b/x:1", &image_from("x"));
    let client = client_with(login(&format!("{}/team-a", registry.host()), "u", "p"));
    let error = client
        .manifest(&registry.reference("team-b/x:1"))
        .await
        .unwrap_err();
    assert!(error.is_unauthorized());
    assert!(
        registry
            .log()
            .iter()
            .all(|line| line.header("authorization").is_none())
    );
}

// conformance: I6 I7
#[tokio::test]
async fn variables_are_credentials() {
    let registry = Registry::with_auth(Auth::basic("u", "p"));
    registry.push_image("a/b:1", &image_from("x"));
    let stem = format!("KANIKO_127_0_0_1_{}", registry.port());
    let lookup = move |name: &str| match name.strip_prefix(&stem) {
        Some("_USER") => Some("u".into()),
        Some("_PASSWORD") => Some("p".into()),
        _ => None,
    };
    let auth = AuthConfig::from_env(&|_| None).unwrap();
    let auth = auth.with_environment(lookup);
    // All of them are asked unless somebody chooses.
    client_with(auth.clone())
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
    let on = auth.clone().with_helpers([CredentialHelper::Env]);
    client_with(on)
        .manifest(&registry.reference("a/b:1"))
        .await
        .unwrap();
    let off = auth.with_helpers([]);
    assert!(
        client_with(off)
            .manifest(&registry.reference("a/b:1"))
            .await
            .unwrap_err()
            .is_unauthorized()
    );
}

// conformance: I5
#[tokio::test]
async fn helper_programs_are_asked_and_failing_ones_passed_over() {
    let registry = Registry::with_auth(Auth::Bearer {
        user: "u".into(),
        password: "p".into(),
        identity: Some("refresh".into()),
        anonymous_pull: false,
        expires_in: None,
    });
    registry.push_image("a/b:1", &image_from("x"));
    let host = registry.host();
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = dir.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let answer = |user: &str, secret: &str| {
        format!(
            "#!/bin/sh\nread -r server\n[ \"$server\" = {host} ] && echo '{{\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}'\n"
        )
    };
    program("good", &answer("u", "p"));
    program("token", &answer("<token>", "refresh"));
    program("bad", "#!/bin/sh\necho oops s3cret; exit 3\n");
    program(
        "none",
        "#!/bin/sh\necho credentials not found in native keychain; exit 1\n",
    );
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let table = [
        (format!(r#"{{"credHelpers":{{"{host}":"good"}}}}"#), true),
        (
            format!(r#"{{"credHelpers":{{"{host}":"token"}},"auths":{{"{host}":{{}}}}}}"#),
            true,
        ),
        (r#"{"credsStore":"good"}"#.to_owned(), true),
        (
            format!(r#"{{"credHelpers":{{"{host}":"bad"}},"credsStore":"good"}}"#),
            true,
        ),
        (
            format!(r#"{{"credHelpers":{{"{host}":"none"}},"credsStore":"good"}}"#),
            true,
        ),
        (
            format!(r#"{{"credHelpers":{{"{host}":"kiln-surely-missing"}}}}"#),
            false,
        ),
        (format!(r#"{{"credHelpers":{{"x{host}":"good"}}}}"#), false),
        (r#"{"credsStore":"bad"}"#.to_owned(), false),
    ];
    for (config, expected) in table {
        let path = path.clone();
        let auth = AuthConfig::from_json(config.as_bytes(), "`test.json`")
            .unwrap()
            .with_environment(move |name| (name == "PATH").then(|| path.clone().into()));
        let found = client_with(auth)
            .manifest(&registry.reference("a/b:1"))
            .await;
        assert_eq!(found.is_ok(), expected, "{config}: {found:?}");
    }
}
