//! Variables that stand in for flags, add to them or win over them.

use std::collections::BTreeMap;

use kiln_options::{SourceDateEpoch, WorkDir};

use crate::Files;

// conformance: K4
#[test]
fn no_push() {
    let files = Files::new();
    let table: &[(&[&str], &str, bool)] = &[
        (&["-d=a"], "true", true),
        (&["-d=a", "--no-push=false"], "1", true),
        (&["-d=a", "--no-push"], "false", false),
        (&["-d=a", "--no-push"], "", true),
    ];
    assert!(!table.is_empty());
    for (arguments, value, expected) in table {
        let settings = files.settings(arguments, &[("KANIKO_NO_PUSH", value)]);
        assert_eq!(settings.no_push, *expected, "{arguments:?} {value}");
    }
    assert!(
        files
            .build(&["--no-push"], &[("KANIKO_NO_PUSH", "0")])
            .is_err()
    );
    let error = files
        .build(&["-d=a"], &[("KANIKO_NO_PUSH", "yes")])
        .unwrap_err();
    assert!(error.to_string().contains("`KANIKO_NO_PUSH`"), "{error}");
}

// conformance: K3
#[test]
fn defaults_from_variables() {
    let files = Files::new();
    let all = [
        ("KANIKO_PRE_CLEANUP", "true"),
        ("KANIKO_CLEANUP", "1"),
        ("KANIKO_PRESERVE_CONTEXT", "t"),
        ("KANIKO_PRINT_PLAN", "true"),
        ("KANIKO_DIR", "/work"),
    ];
    let none = files.settings(&["-d=a"], &[]);
    assert!(!none.pre_cleanup && !none.cleanup && !none.print_plan);
    assert!(matches!(none.work_dir, WorkDir::Private(_)));
    let set = files.settings(&["-d=a"], &all);
    assert!(set.pre_cleanup && set.cleanup && set.print_plan);
    assert_eq!(set.work_dir, WorkDir::Fixed("/work".into()));
    let flags = [
        "-d=a",
        "--pre-cleanup=false",
        "--cleanup=false",
        "--preserve-context=0",
        "--kaniko-dir=/other",
    ];
    let over = files.settings(&flags, &all);
    assert!(!over.pre_cleanup && !over.cleanup);
    assert_eq!(over.work_dir, WorkDir::Fixed("/other".into()));
}

// conformance: K5
#[test]
fn mirrors_and_maps() {
    let files = Files::new();
    let env = [
        ("KANIKO_REGISTRY_MIRROR", "m2/x"),
        ("KANIKO_REGISTRY_MAP", "a=c;d=e"),
    ];
    let registry = files
        .settings(
            &["-d=a", "--registry-mirror=m1", "--registry-map=a=b"],
            &env,
        )
        .registry;
    assert_eq!(registry.mirrors, ["m1", "m2/x"]);
    let expected = BTreeMap::from([
        ("a".to_owned(), vec!["b".to_owned(), "c".to_owned()]),
        ("d".to_owned(), vec!["e".to_owned()]),
    ]);
    assert_eq!(registry.maps, expected);

    let registry = files
        .warm(&["-i=a", "--registry-mirror=m1"], &env)
        .unwrap()
        .registry;
    assert_eq!(
        registry.mirrors,
        ["m1"],
        "the warmer does not read KANIKO_REGISTRY_MIRROR"
    );
    assert_eq!(registry.maps.len(), 2);
}

// conformance: I18, I35
#[test]
fn the_rest() {
    let files = Files::new();
    let env = [
        ("UPSTREAM_CLIENT_TYPE", "ci"),
        ("FF_KANIKO_DISABLE_HTTP2", "true"),
        ("FF_KANIKO_OCI_WARMER", "nonsense"),
        ("BUILDER_OUTPUT", "/out"),
        ("SOURCE_DATE_EPOCH", "5"),
    ];
    let settings = files.settings(&["-d=a"], &env);
    let user_agent = &settings.registry.user_agent;
    assert!(user_agent.ends_with(",ci"), "{user_agent}");
    let plain = files.settings(&["-d=a"], &[]).registry.user_agent;
    assert_eq!(*user_agent, format!("{plain},ci"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(plain, format!("kiln/{version}"));
    assert!(settings.registry.disable_http2);
    assert_eq!(
        settings.digest_files.builder_output.as_deref(),
        Some("/out".as_ref())
    );
    assert_eq!(
        settings.source_date_epoch,
        Some(SourceDateEpoch::Seconds(5))
    );
}
