//! The manifests in `deploy/kubernetes` and the binaries they start. Their form is checked by `tests/kubernetes-validate`.
#![expect(
    clippy::expect_used,
    reason = "clippy sees the helpers of an integration test as ordinary code"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_e2e::{executor, kiln_only, run, warmer};

/// A container: the image and the arguments, as written.
#[derive(Debug, Default)]
struct Container {
    image: String,
    arguments: Vec<String>,
}

/// The containers of a manifest in which `image` precedes `args`.
fn containers(text: &str) -> Vec<Container> {
    let mut found: Vec<Container> = Vec::new();
    let mut in_arguments = false;
    for line in text.lines().map(str::trim) {
        if let Some(image) = line.strip_prefix("image: ") {
            found.push(Container {
                image: image.to_owned(),
                ..Container::default()
            });
        }
        in_arguments = match line.strip_prefix("- ") {
            Some(argument) if in_arguments => {
                let last = found.last_mut().expect("`image` precedes `args`");
                last.arguments.push(argument.to_owned());
                true
            }
            _ => line == "args:" || (in_arguments && line.starts_with('#')),
        };
    }
    found
}

#[test]
fn manifests_use_flags_that_exist_and_versions_that_stay() {
    kiln_only!();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    let mut checked = 0;
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for Container { image, arguments } in containers(&text) {
            let name = format!("{}: {image}", path.display());
            let (repository, tag) = image.rsplit_once(':').expect("a tag");
            assert_ne!(tag, "latest", "{name}");
            assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}");
            let program = match repository.rsplit('/').next() {
                Some("executor") => executor(),
                Some("warmer") => warmer(),
                _ => panic!("{name}: neither executor nor warmer"),
            };
            assert!(arguments.len() > 2, "{name}: {arguments:?}");
            assert!(
                !arguments
                    .iter()
                    .any(|argument| argument.ends_with(":latest")),
                "{name}"
            );
            // Everything before it is parsed, and nothing is done.
            let ran = run(Command::new(&program).args(&arguments).arg("--help"));
            assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
            let wrong = ["--no-such-flag", "--help"];
            let ran = run(Command::new(&program).args(&arguments).args(wrong));
            assert_eq!(ran.code, Some(1), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 6, "{checked} containers");
}

/// `key: value` of a line, without the dash of a list.
fn entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_start_matches("- ");
    let (key, value) = line.split_once(':')?;
    (!line.starts_with('#')).then(|| (key, value.trim()))
}

/// What the pod security standard `baseline` refuses is in no manifest, and nothing is mounted that nobody looks at.
// finding 51
#[test]
fn manifests_pass_the_baseline_standard() {
    kiln_only!();
    // Fields that have to be absent, or to have one of these values.
    let rules: [(&str, &[&str]); 12] = [
        ("type", &["RuntimeDefault", "Localhost"]),
        ("privileged", &["false"]),
        ("hostNetwork", &["false"]),
        ("hostPID", &["false"]),
        ("hostIPC", &["false"]),
        ("hostProcess", &["false"]),
        ("hostPort", &["0"]),
        ("hostPath", &[]),
        ("procMount", &["Default"]),
        ("add", &[]),
        ("sysctls", &[]),
        ("seLinuxOptions", &[]),
    ];
    // Where the programs of the manifests read and write.
    let used = ["/workspace", "/kaniko/.docker", "/cache"];
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes");
    let mut profiles = 0;
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (key, value) in text.lines().filter_map(entry) {
            for (rule, allowed) in rules {
                let passes = rule != key || allowed.contains(&value);
                assert!(passes, "{}: {key}: {value}", path.display());
            }
            profiles += usize::from(key == "seccompProfile");
            let is_used = key != "mountPath" || used.contains(&value);
            assert!(is_used, "{}: nothing uses {value}", path.display());
        }
    }
    assert!(profiles >= 5, "{profiles} profiles");
}
