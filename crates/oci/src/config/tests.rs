use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(value: &Value) -> ConfigDraft {
    let parsed = ImageConfig::parse(value.to_string().as_bytes()).unwrap();
    let draft = parsed.draft();
    assert_eq!(ImageConfig::from(draft.clone()), parsed);
    draft
}

fn written(config: &ConfigDraft) -> Value {
    serde_json::from_slice(&config.to_bytes()).unwrap()
}

fn full() -> ConfigDraft {
    read(&json!({
        "created": "2026-01-02T03:04:05Z", "architecture": "arm", "variant": "v7", "os": "linux",
        "author": "x", "os.version": "1", "os.features": ["f"],
        "zz_vendor": {"b": [1, null], "a": true}, "docker_version": "1.2",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"1").to_string()]},
        "history": [
            {"created": "2026-01-02T03:04:05Z", "created_by": "ADD x", "comment": "c", "author": "x"},
            {"created_by": "ENV a=b", "empty_layer": true},
        ],
        "config": {
            "X-Vendor": 1, "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN x"], "ArgsEscaped": true,
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000_i64, "Retries": 3},
            "StopSignal": "SIGTERM", "Labels": {"b": "2", "a": "1"}, "WorkingDir": "/w",
            "Volumes": {"/v": {}}, "Cmd": ["a"], "Entrypoint": ["/e"], "Env": ["Z=1", "A=2"],
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "User": "u", "Hostname": "",
        },
    }))
}

// conformance: F18
#[test]
fn field_order_is_fixed_and_unknown_fields_survive() {
    let text = String::from_utf8(full().to_bytes()).unwrap();
    insta::assert_snapshot!("full_config", text);
    let again = ImageConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(again, full().into());
    assert_eq!(again.digest(), Digest::of(text));
}

// conformance: C19
#[test]
fn oddities_are_read() {
    let empty = ConfigDraft::default();
    let rows = [
        (json!({}), empty.clone()),
        (
            json!({"config": null, "history": null, "rootfs": null, "os": null, "created": null}),
            empty.clone(),
        ),
        (
            json!({"rootfs": {"type": null, "diff_ids": null}}),
            empty.clone(),
        ),
        (
            json!({"config": {
                "Env": null, "Cmd": null, "Entrypoint": null, "Labels": null, "Volumes": null, "ExposedPorts": null,
                "User": null, "WorkingDir": null, "StopSignal": null, "Healthcheck": null, "OnBuild": null,
                "Shell": null, "ArgsEscaped": null,
            }}),
            empty.clone(),
        ),
        (
            json!({"config": {"Healthcheck": {"Test": null, "Interval": null, "Retries": null}}}),
            ConfigDraft {
                config: ContainerConfig {
                    healthcheck: Some(HealthConfig::default()),
                    ..Default::default()
                },
                ..empty.clone()
            },
        ),
        (
            json!({"config": {"Env": ["NOVALUE", null, "A=b"], "Labels": {"a": null}, "WorkingDir": "rel"}}),
            ConfigDraft {
                config: ContainerConfig {
                    env: vec!["NOVALUE".into(), "A=b".into()],
                    labels: [("a".to_owned(), String::new())].into(),
                    working_dir: "rel".into(),
                    ..Default::default()
                },
                ..empty.clone()
            },
        ),
        (
            json!({"config": {"Cmd": "sh", "ExposedPorts": {"80/tcp": null}, "Volumes": ["/v"]}}),
            ConfigDraft {
                config: ContainerConfig {
                    cmd: Some(vec!["sh".into()]),
                    exposed_ports: ["80/tcp".to_owned()].into(),
                    volumes: ["/v".to_owned()].into(),
                    ..Default::default()
                },
                ..empty.clone()
            },
        ),
        (
            json!({"history": [null, {"created": null, "empty_layer": null}]}),
            ConfigDraft {
                history: vec![History::default(), History::default()],
                ..empty
            },
        ),
    ];
    assert!(!rows.is_empty());
    for (input, expected) in rows {
        assert_eq!(read(&input), expected, "{input}");
        assert_eq!(read(&written(&expected)), expected, "{input}");
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let rows = [
        "",
        "[]",
        "null",
        "{",
        r#"{"rootfs":{"diff_ids":["sha256:00"]}}"#,
        r#"{"rootfs":{"diff_ids":[null]}}"#,
        r#"{"config":{"Env":"A=b"}}"#,
    ];
    assert!(!rows.is_empty());
    for text in rows {
        let error = ImageConfig::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "image config is not valid", "{text}");
    }
}

// conformance: B25
#[test]
fn env_is_set_in_place() {
    let rows: [(&[&str], &str, &str, &[&str]); 5] = [
        (&[], "A", "1", &["A=1"]),
        (&["A=0", "B=2"], "A", "1", &["A=1", "B=2"]),
        (&["A=0", "B=2", "A=3"], "A", "1", &["A=1", "B=2"]),
        (&["A", "AB=2", "a=3"], "A", "", &["A=", "AB=2", "a=3"]),
        (&["B=x=y"], "A", "p=q", &["B=x=y", "A=p=q"]),
    ];
    assert!(!rows.is_empty());
    for (before, name, value, after) in rows {
        let mut config = ContainerConfig {
            env: before.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        config.env_set(name, value);
        assert_eq!(config.env, after);
        assert_eq!(config.env_get(name), Some(value));
    }
    let config = ContainerConfig {
        env: vec!["A".into(), "B=1".into(), "B=2".into()],
        ..Default::default()
    };
    assert_eq!(config.env_get("A"), None);
    assert_eq!(config.env_get("B"), Some("2"));
    assert_eq!(
        config.env_pairs().collect::<Vec<_>>(),
        [("B", "1"), ("B", "2")]
    );
}

// conformance: C14 F17
#[test]
fn platform_goes_in_and_out() {
    let mut config = ConfigDraft::default();
    config.set_platform(&Platform::parse("linux/arm/v6").unwrap());
    assert_eq!(config.variant.as_deref(), Some("v6"));
    let platform = ImageConfig::from(config.clone()).platform();
    assert_eq!(platform.to_string(), "linux/arm/v6");
    config.set_platform(&Platform::parse("linux/amd64").unwrap());
    assert_eq!(config.variant, None);
}

#[test]
fn what_is_written_is_what_oci_spec_reads() {
    let ours = ImageConfig::from(full());
    let mut theirs = spec::ImageConfiguration::from_reader(ours.to_bytes().as_slice()).unwrap();
    // `oci-spec` reads sets in any order.
    let mut config = theirs.config().clone().unwrap();
    let sort = |list: &Option<Vec<String>>| {
        let mut list = list.clone().unwrap();
        list.sort();
        Some(list)
    };
    config.set_exposed_ports(sort(config.exposed_ports()));
    config.set_volumes(sort(config.volumes()));
    theirs.set_config(Some(config));
    assert_eq!(theirs, *ours.as_ref());
}

#[test]
fn goes_to_oci_spec_and_back() {
    let container = spec::ConfigBuilder::default()
        .exposed_ports(vec!["80/tcp".to_owned(), "53/udp".to_owned()])
        .labels([("b", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())))
        .build()
        .unwrap();
    let theirs = spec::ImageConfigurationBuilder::default()
        .os("linux")
        .architecture("amd64")
        .config(container)
        .rootfs(
            spec::RootFsBuilder::default()
                .typ("layers")
                .diff_ids([DiffId::of(b"1").to_string()])
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    let ours = ImageConfig::try_from(theirs.clone()).unwrap();
    assert_eq!(ours.diff_ids(), [DiffId::of(b"1")]);
    let text = String::from_utf8(ours.to_bytes()).unwrap();
    insta::assert_snapshot!(text, @r#"{"architecture":"amd64","config":{"ExposedPorts":{"53/udp":{},"80/tcp":{}},"Labels":{"a":"1","b":"2"}},"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"]}}"#);
    assert_eq!(spec::ImageConfiguration::from(ours), theirs);

    let mut odd = theirs;
    odd.rootfs_mut().diff_ids_mut().push("sha256:00".to_owned());
    let error = ImageConfig::try_from(odd).unwrap_err().to_string();
    assert!(error.contains("`sha256:00` must have"), "{error}");
}

#[test]
fn docker_and_unknown_fields_are_kept_beside() {
    let ours = ImageConfig::from(full());
    assert_eq!(ours.on_build(), ["RUN x"]);
    assert_eq!(ours.shell().unwrap(), ["/bin/bash", "-c"]);
    assert_eq!(ours.healthcheck().unwrap().retries, Some(3));
    assert_eq!(ours.env(), ["Z=1", "A=2"]);
    assert!(ours.args_escaped());
    assert_eq!(ours.extra()["docker_version"], "1.2");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    // conformance: F18
    #[test]
    fn unknown_fields_survive(
        top in prop::collection::vec(("x_[a-z]{0,6}", json_value()), 0..4),
        inner in prop::collection::vec(("X[a-z]{0,6}", json_value()), 0..4),
        env in prop::collection::vec("\\PC{0,10}", 0..4),
        words in prop::collection::vec("\\PC{0,10}", 1..4),
    ) {
        let mut config: Map<String, Value> = inner.into_iter().collect();
        config.insert("Env".into(), json!(env));
        config.insert("Cmd".into(), json!(words));
        let mut image: Map<String, Value> = top.into_iter().collect();
        image.insert("config".into(), Value::Object(config));
        let input = Value::Object(image);
        let parsed = read(&input);
        let output = written(&parsed);
        for (key, value) in input.as_object().unwrap() {
            if key == "config" {
                for (key, value) in value.as_object().unwrap() {
                    let kept = &output["config"][key];
                    prop_assert!(kept == value || (key == "Env" && env.is_empty()), "{}: {}", key, kept);
                }
            } else {
                prop_assert_eq!(&output[key], value);
            }
        }
        prop_assert_eq!(read(&output), parsed.clone());
        prop_assert_eq!(parsed.to_bytes(), read(&output).to_bytes());
    }
}
