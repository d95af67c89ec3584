use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// conformance: C1, I1
#[test]
fn resolves_names() {
    let rows = [
        (
            "busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "busybox:1.36",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
        ),
        ("user/x", "docker.io/user/x:latest", "user/x:latest"),
        ("a/b/c:t", "docker.io/a/b/c:t", "a/b/c:t"),
        (
            "docker.io/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "index.docker.io/library/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "registry-1.docker.io/user/x",
            "docker.io/user/x:latest",
            "user/x:latest",
        ),
        (
            "docker.io/library/a/b",
            "docker.io/library/a/b:latest",
            "library/a/b:latest",
        ),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        (
            "localhost:5000/x:y",
            "localhost:5000/x:y",
            "localhost:5000/x:y",
        ),
        (
            "registry.example.com:443/a/b",
            "registry.example.com:443/a/b:latest",
            "registry.example.com:443/a/b:latest",
        ),
        ("GHCR.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest"),
        ("host/x", "docker.io/host/x:latest", "host/x:latest"),
        ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (
            "a__b/c-d.e_f/g---h",
            "docker.io/a__b/c-d.e_f/g---h:latest",
            "a__b/c-d.e_f/g---h:latest",
        ),
        ("x:_T.a-9", "docker.io/library/x:_T.a-9", "x:_T.a-9"),
    ];
    assert!(!rows.is_empty());
    for (text, canonical, familiar) in rows {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.to_string(), canonical, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(Reference::parse(canonical).unwrap(), reference);
        assert_eq!(Reference::parse(familiar).unwrap(), reference);
    }
}

// conformance: C1
#[test]
fn a_digest_decides() {
    let both = Reference::parse(&format!("busybox:1@{DIGEST}")).unwrap();
    assert_eq!(both.tag(), Some("1"));
    assert_eq!(both.digest().unwrap().to_string(), DIGEST);
    assert_eq!(both.identifier(), DIGEST);
    assert_eq!(
        both.to_string(),
        format!("docker.io/library/busybox:1@{DIGEST}")
    );
    assert_eq!(
        both.with_tag("2").unwrap().to_string(),
        "docker.io/library/busybox:2"
    );

    let only = Reference::parse(&format!("busybox@{DIGEST}")).unwrap();
    assert_eq!(only.tag(), None);
    assert_eq!(only.tag_or_latest(), "latest");
    assert_eq!(only.familiar(), format!("busybox@{DIGEST}"));
    assert_eq!(only.repo().at_digest(only.digest().unwrap()), only);

    let tagged = Reference::parse("busybox:1").unwrap();
    assert_eq!(tagged.with_digest(only.digest().unwrap()), both);
}

// conformance: I1
#[test]
fn refuses_other_texts() {
    let long = "a".repeat(300);
    let hex = &DIGEST["sha256:".len()..];
    let tag = format!("x:{}", "t".repeat(129));
    let rows = [
        ("", "image reference is empty"),
        ("Busybox", "repository name must be lower-case"),
        ("docker.io/User/x", "repository name must be lower-case"),
        (":tag", "`` is not a repository name"),
        ("a//b", "`a//b` is not a repository name"),
        ("/a", "`/a` is not a repository name"),
        ("a/", "`a/` is not a repository name"),
        ("a___b", "`a___b` is not a repository name"),
        ("a..b", "`a..b` is not a repository name"),
        ("-a", "`-a` is not a repository name"),
        ("a b", "`a b` is not a repository name"),
        ("x:", "`` is not a tag"),
        ("x:.a", "`.a` is not a tag"),
        ("x:a:b", "`a:b` is not a tag"),
        ("ho_st.io/x", "`ho_st.io` is not a registry host"),
        ("host:port/x", "`host:port` is not a registry host"),
        ("host:70000/x", "`host:70000` is not a registry host"),
        ("x@sha256:00", "has an unusable digest"),
        ("x@sha512:00", "has an unusable digest"),
        (long.as_str(), "longer than 255"),
        (hex, "is not a repository name"),
        (tag.as_str(), "is not a tag"),
        ("x@", "has an unusable digest"),
    ];
    assert!(!rows.is_empty());
    for (text, message) in rows {
        let error = Reference::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn repositories_alone() {
    let rows = [
        ("busybox", "docker.io/library/busybox", "busybox"),
        (
            "reg.local/a/cache",
            "reg.local/a/cache",
            "reg.local/a/cache",
        ),
    ];
    assert!(!rows.is_empty());
    for (text, canonical, familiar) in rows {
        let repository = Repository::parse(text).unwrap();
        assert_eq!(repository.to_string(), canonical);
        assert_eq!(repository.familiar(), familiar);
    }
    assert!(Repository::parse("busybox:1").is_err());
}

fn reference_text() -> impl Strategy<Value = String> {
    (
        proptest::option::of("(localhost|[a-z0-9]{1,8}\\.[a-z]{2,5}|[a-z]{1,5}:[1-9][0-9]{0,3})/"),
        "[a-z0-9]{1,5}(/[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,3}",
        proptest::option::of(":[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        proptest::option::of("@sha256:[0-9a-f]{64}"),
    )
        .prop_map(|(host, path, tag, digest)| {
            [
                host.unwrap_or_default(),
                path,
                tag.unwrap_or_default(),
                digest.unwrap_or_default(),
            ]
            .concat()
        })
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(text in reference_text()) {
        let reference = Reference::parse(&text).unwrap();
        prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
        prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        prop_assert_eq!(reference.digest().is_some(), text.contains('@'));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[a-zA-Z0-9:/@._\\[\\]-]{0,60}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }
}
