use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(value: &Value) -> ImageConfig {
    ImageConfig::parse(value.to_string().as_bytes()).unwrap()
}

fn written(config: &ImageConfig) -> Value {
    serde_json::from_slice(&config.to_bytes()).unwrap()
}

fn full() -> ImageConfig {
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
    assert_eq!(again, full());
    assert_eq!(again.digest(), Digest::of(text));
}

// conformance: C19
#[test]
fn oddities_are_read() {
    let empty = ImageConfig::default();
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
            ImageConfig {
                config: ContainerConfig {
                    healthcheck: Some(HealthConfig::default()),
                    ..Default::default()
                },
                ..empty.clone()
            },
        ),
        (
            json!({"config": {"Env": ["NOVALUE", null, "A=b"], "Labels": {"a": null}, "WorkingDir": "rel"}}),
            ImageConfig {
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
            ImageConfig {
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
            ImageConfig {
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
    let mut config = ImageConfig::default();
    config.set_platform(&Platform::parse("linux/arm/v6").unwrap());
    assert_eq!(config.variant.as_deref(), Some("v6"));
    assert_eq!(config.platform().to_string(), "linux/arm/v6");
    config.set_platform(&Platform::parse("linux/amd64").unwrap());
    assert_eq!(config.variant, None);
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
