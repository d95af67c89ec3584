//! The workspace's arrows, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Packages that only tests may use.
const FOR_TESTS: &[&str] = &["testkit", "skip"];

/// What is no library for others: binaries are handed out as an image, an example is read, and the rest is for tests.
const UNPUBLISHED: &[&str] = &[
    "executor", "warmer", "embed", "benches", "e2e", "arch", "probe", "testkit", "skip",
];

/// Who may use a crate from outside that decides a great deal: the terminal, the network, the runtime.
const RESERVED: &[(&str, &[&str])] = &[
    ("clap", &["options", "executor", "warmer"]),
    (
        "tokio",
        &[
            "registry",
            "download",
            "work",
            "store",
            "step-cache",
            "delivery",
            "volume",
            "engine",
            "testkit",
            "executor",
            "warmer",
            "embed",
        ],
    ),
    ("tokio-util", &["registry", "testkit"]),
    (
        "reqwest",
        &[
            "registry", "git", "download", "plan", "delivery", "volume", "engine",
        ],
    ),
    ("indicatif", &["executor", "warmer"]),
    (
        "anyhow",
        &[
            "executor", "warmer", "testkit", "embed", "benches", "e2e", "arch",
        ],
    ),
];

struct Dependency {
    name: String,
    dev: bool,
    optional: bool,
}

/// Our packages without `kiln-`, and all that their manifests name.
fn packages() -> &'static BTreeMap<String, Vec<Dependency>> {
    static PACKAGES: OnceLock<BTreeMap<String, Vec<Dependency>>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let metadata = metadata();
        let list = metadata["packages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let of = |package: &Value| {
            let dependencies = package["dependencies"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            dependencies
                .iter()
                .map(|one| Dependency {
                    name: text(&one["name"]).to_owned(),
                    dev: one["kind"] == "dev",
                    optional: one["optional"] == true,
                })
                .collect()
        };
        list.iter()
            .map(|package| (short(text(&package["name"])).to_owned(), of(package)))
            .collect()
    })
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--offline",
        "--manifest-path",
    ]);
    let done = command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .output();
    let output = done.map(|done| done.stdout).unwrap_or_default();
    serde_json::from_slice(&output).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.strip_prefix("kiln-").unwrap_or(name)
}

fn ours(dependency: &Dependency) -> Option<&str> {
    dependency.name.strip_prefix("kiln-")
}

/// The rows of the tables `| crate | owns | uses |` in docs/architecture.md, in their order.
fn table() -> Vec<(String, BTreeSet<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "crate" | "package", "owns", "uses", ""] => inside = true,
            ["", name, _, uses, ""] if inside => {
                if let Some(name) = name
                    .strip_prefix('`')
                    .and_then(|name| name.strip_suffix('`'))
                {
                    let uses = uses.split(',').map(str::trim).filter(|one| !one.is_empty());
                    rows.push((name.to_owned(), uses.map(str::to_owned).collect()));
                }
            }
            _ => inside = false,
        }
    }
    rows
}

#[test]
fn every_package_is_in_the_picture_once() {
    let known: Vec<String> = table().into_iter().map(|(name, _)| name).collect();
    let mut sorted: Vec<&str> = known.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let found: Vec<&str> = packages().keys().map(String::as_str).collect();
    assert!(!found.is_empty(), "cargo metadata lists no package");
    assert_eq!(found, sorted);
}

#[test]
fn arrows_are_those_of_the_picture() {
    for (name, drawn) in table() {
        let used: BTreeSet<String> = packages()[&name]
            .iter()
            .filter(|one| !one.dev)
            .filter_map(ours)
            .map(str::to_owned)
            .collect();
        assert_eq!(
            used, drawn,
            "what `{name}` uses, by its manifest and by docs/architecture.md"
        );
    }
}

#[test]
fn the_picture_has_no_cycle() {
    let mut above = BTreeSet::new();
    for (name, uses) in table() {
        for used in uses {
            assert!(
                above.contains(&used),
                "{name} uses {used}, which is not above it"
            );
        }
        above.insert(name);
    }
}

#[test]
fn what_is_for_tests_is_used_by_tests() {
    for (name, dependencies) in packages() {
        let used = dependencies
            .iter()
            .any(|one| !one.dev && ours(one).is_some_and(|used| FOR_TESTS.contains(&used)));
        let is_a_test = ["e2e", "testkit"].contains(&name.as_str());
        assert!(!used || is_a_test, "{name} uses it outside of its tests");
    }
}

#[test]
fn terminal_network_and_runtime_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for (outside, allowed) in RESERVED {
        for (name, dependencies) in packages() {
            let used = dependencies
                .iter()
                .any(|one| !one.dev && one.name == *outside);
            if used && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{name} uses {outside}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not in the picture:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn every_manifest_takes_lints_and_versions_from_the_workspace() {
    let metadata = metadata();
    let list = metadata["packages"].as_array().unwrap();
    assert!(!list.is_empty());
    for package in list {
        let path = text(&package["manifest_path"]);
        let manifest = std::fs::read_to_string(path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{path} has lints of its own"
        );
        let versions = manifest
            .lines()
            .filter(|line| line.contains("version = \""))
            .count();
        assert_eq!(
            versions, 0,
            "{path}: versions belong in the workspace's table"
        );
        let name = text(&package["name"]);
        let folder = Path::new(path)
            .parent()
            .and_then(Path::file_name)
            .unwrap()
            .to_string_lossy();
        assert_eq!(short(name), folder, "folder `x` is package `kiln-x`");
    }
}

#[test]
fn libraries_can_be_published_and_say_what_they_are() {
    let metadata = metadata();
    let list = metadata["packages"].as_array().unwrap();
    assert!(!list.is_empty());
    for package in list {
        let name = short(text(&package["name"]));
        let kept_here = package["publish"] == serde_json::json!([]);
        assert_eq!(kept_here, UNPUBLISHED.contains(&name), "{name}");
        if kept_here {
            continue;
        }
        assert_eq!(package["readme"], "README.md", "{name}");
        for field in ["keywords", "categories"] {
            let words = package[field].as_array().map_or(0, Vec::len);
            assert!((1..=5).contains(&words), "{field} of {name}");
        }
    }
}

#[test]
fn heavy_parts_are_choices() {
    for (name, heavy) in [
        ("options", "clap"),
        ("git", "gix"),
        ("registry", "hickory-resolver"),
    ] {
        let found = packages()[name].iter().find(|one| one.name == heavy);
        assert!(
            found.is_some_and(|one| one.optional),
            "embedders get {name} without {heavy}"
        );
    }
}

#[test]
fn all_code_from_outside_comes_from_one_registry() {
    let lock =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"))
            .unwrap();
    let sources: BTreeSet<&str> = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(
        sources
            .iter()
            .all(|source| source.starts_with("source = \"registry+")),
        "{sources:?}"
    );
}
