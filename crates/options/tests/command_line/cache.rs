//! What the flags of the cache resolve to.

use kiln_options::{
    CacheAction, CacheSettings, ExecutorAction, ExecutorCommand, LayerCacheSettings, OptionError,
};

use crate::{Files, lookup, parse};

fn names(layers: &LayerCacheSettings) -> (Vec<String>, Vec<String>) {
    let show =
        |places: &[kiln_options::CachePlace]| places.iter().map(ToString::to_string).collect();
    (show(&layers.places), show(&layers.from))
}

// conformance: H24, K
#[test]
fn on_and_off() {
    let files = Files::new();
    let table: &[(&[&str], bool)] = &[
        (&[], false),
        (&["--cache"], true),
        (&["--cache=true"], true),
        (&["--cache=false"], false),
        (&["--cache=reg.io/c"], true),
        (&["--cache=oci:/c"], true),
        (&["--cache", "--cache=false"], false),
        (&["--use-cache"], true),
        (&["--use-cache=false"], false),
        (&["--use-cache", "--cache=false"], false),
        (&["--use-cache=false", "--cache"], true),
        (&["--cache-repo=reg.io/c", "--cache-from=reg.io/d"], false),
        (&["--cache-repo=reg.io/c:1"], false),
    ];
    assert!(!table.is_empty());
    for (arguments, expected) in table {
        let all: Vec<&str> = ["-d=a"].iter().chain(*arguments).copied().collect();
        let settings = files.settings(&all, &[]);
        assert_eq!(settings.cache.layers.is_some(), *expected, "{arguments:?}");
    }
}

// conformance: H24, H26
#[test]
fn places() {
    let files = Files::new();
    let inferred = "reg.example/app/cache";
    let table: &[(&[&str], &[&str], &[&str])] = &[
        (&["-d=reg.example/app:1"], &[inferred], &[]),
        (&["-d=reg.example/app:1", "-d=b"], &[inferred], &[]),
        (&["-d=a"], &["docker.io/library/a/cache"], &[]),
        (&["-d=a", "--cache=reg.io/c"], &["reg.io/c"], &[]),
        (&["-d=a", "--cache-repo=reg.io/c"], &["reg.io/c"], &[]),
        (
            &[
                "-d=a",
                "--cache-repo=reg.io/d",
                "--cache-repo=oci:/x",
                "--cache=reg.io/c",
            ],
            &["reg.io/c", "reg.io/d", "oci:/x"],
            &[],
        ),
        (
            &[
                "-d=a",
                "--cache-repo=reg.io/d",
                "--cache-repo=reg.io/c",
                "--cache=reg.io/c",
            ],
            &["reg.io/c", "reg.io/d"],
            &[],
        ),
        (
            &["-d=a", "--cache-repo=oci:@/c", "--cache-repo="],
            &["oci:@/c"],
            &[],
        ),
        (
            &[
                "-d=reg.example/app",
                "--cache-from=reg.io/c",
                "--cache-from=oci:/x",
            ],
            &[inferred],
            &["reg.io/c", "oci:/x"],
        ),
        (
            &[
                "-d=a",
                "--cache-repo=reg.io/c",
                "--cache-from=reg.io/c",
                "--cache-from=reg.io/d",
            ],
            &["reg.io/c"],
            &["reg.io/d"],
        ),
        // Nothing is pushed: the destination is only a name, unless the cache is only read.
        (&["--no-push", "--cache-repo=reg.io/c"], &["reg.io/c"], &[]),
        (
            &["--no-push", "-d=a", "--cache-from=reg.io/c"],
            &[],
            &["reg.io/c"],
        ),
        (&["--no-push", "-d=a", "--cache-dir=/x"], &[], &[]),
        (&["--no-push", "--no-push-cache"], &[], &[]),
        (
            &["--no-push", "--no-push-cache", "-d=reg.example/app"],
            &[inferred],
            &[],
        ),
    ];
    assert!(!table.is_empty());
    for (arguments, own, from) in table {
        let all: Vec<&str> = ["--use-cache"].iter().chain(*arguments).copied().collect();
        let layers = files.settings(&all, &[]).cache.layers.unwrap();
        let expected = (files.expand(own), files.expand(from));
        assert_eq!(names(&layers), expected, "{arguments:?}");
        let store = !arguments.contains(&"--no-push-cache");
        assert_eq!(layers.store, store, "{arguments:?}");
    }
}

#[test]
fn relative_folders_become_absolute() {
    let files = Files::new();
    let arguments = ["-d=a", "--cache=oci:c", "--cache-from=oci:d/e"];
    let layers = files.settings(&arguments, &[]).cache.layers.unwrap();
    let here = std::env::current_dir().unwrap();
    let here = here.display();
    let expected = (
        vec![format!("oci:{here}/c")],
        vec![format!("oci:{here}/d/e")],
    );
    assert_eq!(names(&layers), expected);
}

// conformance: H30
#[test]
fn kinds_of_layers() {
    let files = Files::new();
    let table: &[(&[&str], bool, bool)] = &[
        (&[], true, true),
        (&["--cache-copy-layers", "--cache-run-layers"], true, true),
        (&["--cache-copy-layers=false"], false, true),
        (&["--cache-run-layers=false"], true, false),
        (&["--compressed-caching=false"], true, true),
    ];
    assert!(!table.is_empty());
    for (arguments, copy, run) in table {
        let all: Vec<&str> = ["-d=a", "--cache"]
            .iter()
            .chain(*arguments)
            .copied()
            .collect();
        let layers = files.settings(&all, &[]).cache.layers.unwrap();
        assert_eq!((layers.copy, layers.run), (*copy, *run), "{arguments:?}");
    }
}

// conformance: H39
#[test]
fn volume() {
    let files = Files::new();
    let dir = |arguments: &[&str]| files.settings(arguments, &[]).cache.dir;
    assert_eq!(dir(&["-d=a"]), Some("/cache".into()));
    assert_eq!(dir(&["-d=a", "--cache-dir=/x"]), Some("/x".into()));
    assert_eq!(dir(&["-d=a", "--cache-dir="]), None);
    let here = std::env::current_dir().unwrap();
    assert_eq!(dir(&["-d=a", "--cache-dir=x"]), Some(here.join("x")));
}

#[test]
fn the_warmer_has_no_layer_cache() {
    let files = Files::new();
    let arguments = [
        "-i=a",
        "--cache",
        "--cache-repo=reg.io/c:1",
        "--cache-from=oci:",
    ];
    let settings = files.warm(&arguments, &[]).unwrap();
    let expected = CacheSettings {
        dir: Some("/cache".into()),
        ..CacheSettings::default()
    };
    assert_eq!(settings.cache, expected);
}

#[test]
fn explain_only_reads() {
    let files = Files::new();
    let explain = |arguments: &[&str]| {
        let mut all = files.expand(&["cache", "explain", "-c=@/ctx"]);
        all.extend(files.expand(arguments));
        let command: ExecutorCommand = parse(&all).unwrap();
        let Some(ExecutorAction::Cache(CacheAction::Explain(explain))) = command.action else {
            panic!()
        };
        let env = [("KANIKO_NO_PUSH", "false"), ("KANIKO_CLEANUP", "true")];
        explain.resolve(&lookup(&env))
    };
    let table: &[(&[&str], &[&str])] = &[
        (&[], &[]),
        (&["-d=reg.io/app"], &["reg.io/app/cache"]),
        (
            &["-d=reg.io/app", "--no-push", "--cache"],
            &["reg.io/app/cache"],
        ),
        (&["-d=reg.io/app", "--cache=reg.io/c"], &["reg.io/c"]),
        (
            &["-d=reg.io/app", "--use-cache", "--cache-repo=reg.io/c"],
            &["reg.io/c"],
        ),
        (&["--cache=false"], &[]),
        (
            &[
                "--tar-path=@/x",
                "--digest-file=@/d",
                "--pre-cleanup",
                "--materialize",
                "--dryrun",
            ],
            &[],
        ),
    ];
    assert!(!table.is_empty());
    for (arguments, expected) in table {
        let resolved = explain(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert!(resolved.notices.is_empty(), "{arguments:?}");
        let settings = resolved.settings;
        let layers = settings.cache.layers.unwrap();
        assert!(!layers.store && settings.no_push, "{arguments:?}");
        assert_eq!(names(&layers).0, *expected, "{arguments:?}");
        assert!(
            settings.outputs.is_empty()
                && settings.digest_files == kiln_options::DigestFiles::default()
        );
        assert!(!settings.cleanup && !settings.pre_cleanup && !settings.materialize);
    }
    assert!(matches!(
        explain(&["--cache-repo=reg.io/c:1"]),
        Err(OptionError::CacheRepoIsImage { .. })
    ));
}
