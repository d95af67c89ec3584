//! Every flag reaches its field, in every spelling.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::time::Duration;

use clap::Command;
use kiln_options::{
    CacheAction, CommandLine, ExecutorAction, ExecutorCommand, ExecutorOptions, ExplainFormat,
    ListFormat, ListOptions, PruneOptions, WarmerAction, WarmerCommand, WarmerOptions,
};

use crate::{executor, warmer};

/// Arguments, how to show the field they set, and what it must show.
type Row<T> = (&'static [&'static str], fn(&T) -> String, &'static str);

macro_rules! row {
    ([$($argument:literal),+], $($field:ident).+, $expected:literal) => {
        (&[$($argument),+], |options| format!("{:?}", options.$($field).+), $expected)
    };
}

#[expect(
    clippy::too_many_lines,
    reason = "a table with a line for each spelling"
)]
fn executor_rows() -> Vec<Row<ExecutorOptions>> {
    vec![
        row!(["-v", "debug"], log.verbosity, "Debug"),
        row!(["--verbosity=WARNING"], log.verbosity, "Warn"),
        row!(["--log-format=json"], log.log_format, "Json"),
        row!(["--log-timestamp"], log.log_timestamp, "true"),
        row!(
            ["-f", "x/Dockerfile"],
            build.dockerfile,
            r#""x/Dockerfile""#
        ),
        row!(["-f=x"], build.dockerfile, r#""x""#),
        row!(["-fx"], build.dockerfile, r#""x""#),
        row!(
            ["--dockerfile", "https://x/D"],
            build.dockerfile,
            r#""https://x/D""#
        ),
        row!(["-c", "dir:///x"], context.context, r#""dir:///x""#),
        row!(["--context=/x"], context.context, r#""/x""#),
        row!(
            ["--context-sub-path", "a/b"],
            context.context_sub_path,
            r#"Some("a/b")"#
        ),
        row!(["-b", "bucket"], context.bucket, r#"Some("bucket")"#),
        row!(["--bucket=bucket"], context.bucket, r#"Some("bucket")"#),
        row!(
            ["--git", "branch=x", "--git=depth=1"],
            context.git,
            r#"["branch=x", "depth=1"]"#
        ),
        row!(
            ["-d", "a", "--destination=b"],
            output.destination,
            r#"["a", "b"]"#
        ),
        row!(
            ["--target", "a,b", "--target=c"],
            build.target,
            r#"["a,b", "c"]"#
        ),
        row!(
            ["--build-arg", "A=1,2", "--build-arg=B"],
            build.build_arg,
            r#"["A=1,2", "B"]"#
        ),
        row!(["--build-arg", "--x"], build.build_arg, r#"["--x"]"#),
        row!(
            ["--secret", "id=a,src=b"],
            build.secret,
            r#"["id=a,src=b"]"#
        ),
        row!(
            ["--label", "a=b,c", "--label=d="],
            build.label,
            r#"["a=b,c", "d="]"#
        ),
        row!(["--annotation", "a=b"], build.annotation, r#"["a=b"]"#),
        row!(
            ["--custom-platform", "linux/arm64"],
            build.custom_platform,
            r#"Some("linux/arm64")"#
        ),
        row!(
            ["--customPlatform=linux/arm64"],
            build.custom_platform,
            r#"Some("linux/arm64")"#
        ),
        row!(["--force"], build.force, "true"),
        row!(["--no-push"], output.no_push, "true"),
        row!(["--no-push", "--no-push=false"], output.no_push, "false"),
        row!(["--no-push-cache"], cache.no_push_cache, "true"),
        row!(["--tar-path", "x.tar"], output.tar_path, r#"Some("x.tar")"#),
        row!(["--tarPath=x.tar"], output.tar_path, r#"Some("x.tar")"#),
        row!(["--tar-path="], output.tar_path, r#"Some("")"#),
        row!(
            ["--oci-layout-path=x"],
            output.oci_layout_path,
            r#"Some("x")"#
        ),
        row!(
            ["--digest-file=x"],
            output.digest_files.digest_file,
            r#"Some("x")"#
        ),
        row!(
            ["--image-name-with-digest-file=x"],
            output.digest_files.image_name_with_digest_file,
            r#"Some("x")"#
        ),
        row!(
            ["--image-name-tag-with-digest-file=x"],
            output.digest_files.image_name_tag_with_digest_file,
            r#"Some("x")"#
        ),
        row!(["--compression", "zstd"], output.compression, "Zstd"),
        row!(
            ["--compression-level", "-1"],
            output.compression_level,
            "-1"
        ),
        row!(["--compression-level=9"], output.compression_level, "9"),
        row!(
            ["--compressed-caching=false"],
            cache.compressed_caching,
            "false"
        ),
        row!(["--image-format", "oci"], output.image_format, "Some(Oci)"),
        row!(["--cache"], cache.cache, "Some(On)"),
        row!(["--cache=0"], cache.cache, "Some(Off)"),
        row!(["--cache=a/b"], cache.cache, r#"Some(At("a/b"))"#),
        row!(["--cache=a/b", "--cache=false"], cache.cache, "Some(Off)"),
        row!(["--use-cache"], cache.use_cache, "true"),
        row!(
            ["--cache-copy-layers=false"],
            cache.cache_copy_layers,
            "false"
        ),
        row!(
            ["--cache-run-layers=false"],
            cache.cache_run_layers,
            "false"
        ),
        row!(
            ["--cache-repo", "oci:/x", "--cache-repo=a/b"],
            cache.cache_repo,
            r#"["oci:/x", "a/b"]"#
        ),
        row!(
            ["--cache-from", "a", "--cache-from=b"],
            cache.cache_from,
            r#"["a", "b"]"#
        ),
        row!(["--cache-dir", "/x"], cache.cache_dir, r#"Some("/x")"#),
        row!(["--cache-ttl", "1h30m"], cache.cache_ttl, "5400s"),
        row!(["--snapshot-mode", "redo"], build.snapshot_mode, "Redo"),
        row!(["--snapshotMode=time"], build.snapshot_mode, "Time"),
        row!(["--single-snapshot"], build.single_snapshot, "true"),
        row!(["--reproducible"], build.reproducible, "true"),
        row!(["--use-new-run"], build.use_new_run, "true"),
        row!(
            ["--ignore-path", "/a", "--ignore-path=/b"],
            build.ignore_path,
            r#"["/a", "/b"]"#
        ),
        row!(
            ["--ignore-var-run=false"],
            build.ignore_var_run,
            "Some(false)"
        ),
        row!(["--whitelist-var-run"], build.ignore_var_run, "Some(true)"),
        row!(["--kaniko-dir", "/x"], build.kaniko_dir, r#"Some("/x")"#),
        row!(["--pre-cleanup"], build.pre_cleanup, "Some(true)"),
        row!(["--cleanup=false"], build.cleanup, "Some(false)"),
        row!(["--preserve-context"], build.preserve_context, "Some(true)"),
        row!(["--materialize"], build.materialize, "true"),
        row!(["--check"], build.check, "true"),
        row!(["--check", "--check-bases"], build.check_bases, "true"),
        row!(
            ["--check", "--check-format=sarif"],
            build.check_format,
            "Sarif"
        ),
        row!(["--dryrun"], build.dryrun, "true"),
        row!(
            ["--dryrun", "--dryrun-format=json"],
            build.dryrun_format,
            "Json"
        ),
        row!(
            [
                "--build-context",
                "a=b",
                "--build-context=c=docker-image://d"
            ],
            build.build_context,
            r#"["a=b", "c=docker-image://d"]"#
        ),
        row!(
            ["--ssh", "default", "--ssh=a=b"],
            build.ssh,
            r#"["default", "a=b"]"#
        ),
        row!(["--isolation", "in-place"], build.isolation, "InPlace"),
        row!(["--isolation=namespace"], build.isolation, "Namespace"),
        row!(
            ["--image-fs-extract-retry", "2"],
            build.image_fs_extract_retry,
            "2"
        ),
        row!(["--image-download-retry=2"], push.image_download_retry, "2"),
        row!(
            ["--push-retry=2", "--push-retry", "3"],
            push.push_retry,
            "3"
        ),
        row!(
            ["--push-ignore-immutable-tag-errors"],
            push.push_ignore_immutable_tag_errors,
            "true"
        ),
        row!(
            ["--skip-push-permission-check"],
            push.skip_push_permission_check,
            "true"
        ),
        row!(["--insecure"], push.insecure, "true"),
        row!(["--skip-tls-verify"], push.skip_tls_verify, "true"),
        row!(["--insecure-pull"], registry.insecure_pull, "true"),
        row!(
            ["--skip-tls-verify-pull"],
            registry.skip_tls_verify_pull,
            "true"
        ),
        row!(
            ["--insecure-registry=a", "--insecure-registry", "b"],
            registry.insecure_registry,
            r#"["a", "b"]"#
        ),
        row!(
            ["--skip-tls-verify-registry=a"],
            registry.skip_tls_verify_registry,
            r#"["a"]"#
        ),
        row!(
            ["--registry-certificate=a=b"],
            registry.registry_certificate,
            r#"["a=b"]"#
        ),
        row!(
            ["--registry-client-cert=a=b,c"],
            registry.registry_client_cert,
            r#"["a=b,c"]"#
        ),
        row!(
            ["--registry-map=a=b;c=d"],
            registry.registry_map,
            r#"["a=b;c=d"]"#
        ),
        row!(
            ["--registry-mirror=a", "--registry-mirror=b"],
            registry.registry_mirror,
            r#"["a", "b"]"#
        ),
        row!(
            ["--skip-default-registry-fallback"],
            registry.skip_default_registry_fallback,
            "true"
        ),
        row!(
            ["--credential-helpers=env", "--credential-helpers=ecr"],
            push.credential_helpers,
            r#"Some(["env", "ecr"])"#
        ),
        row!(
            ["--credential-helpers="],
            push.credential_helpers,
            r#"Some([""])"#
        ),
        row!(
            ["--force-build-metadata"],
            build.force_build_metadata,
            "true"
        ),
        row!(
            ["--skip-unused-stages=false"],
            build.skip_unused_stages,
            "false"
        ),
    ]
}

fn warmer_rows() -> Vec<Row<WarmerOptions>> {
    vec![
        row!(["-v=trace", "--verbosity=debug"], log.verbosity, "Debug"),
        row!(["--log-format", "text"], log.log_format, "Text"),
        row!(["--log-timestamp"], log.log_timestamp, "true"),
        row!(["-i", "a", "--image=b"], warm.image, r#"["a", "b"]"#),
        row!(
            ["-d", "x", "--dockerfile=y"],
            warm.dockerfile,
            r#"["x", "y"]"#
        ),
        row!(["--parallel=9"], warm.parallel, "9"),
        row!(["--build-arg=A=1"], warm.build_arg, r#"["A=1"]"#),
        row!(["-c", "/x"], cache.cache_dir, r#"Some("/x")"#),
        row!(["--cache-dir=/x"], cache.cache_dir, r#"Some("/x")"#),
        row!(["-f"], warm.force, "true"),
        row!(["--force=false"], warm.force, "false"),
        row!(["--cache-ttl=6h"], cache.cache_ttl, "21600s"),
        row!(["--cache=a/b"], cache.cache, r#"Some(At("a/b"))"#),
        row!(["--use-cache"], cache.use_cache, "true"),
        row!(["--cache-repo=a"], cache.cache_repo, r#"["a"]"#),
        row!(["--cache-from=a"], cache.cache_from, r#"["a"]"#),
        row!(
            ["--cache-copy-layers=false"],
            cache.cache_copy_layers,
            "false"
        ),
        row!(
            ["--cache-run-layers=false"],
            cache.cache_run_layers,
            "false"
        ),
        row!(["--no-push-cache"], cache.no_push_cache, "true"),
        row!(
            ["--compressed-caching=false"],
            cache.compressed_caching,
            "false"
        ),
        row!(
            ["--customPlatform=linux/arm64"],
            warm.custom_platform,
            r#"Some("linux/arm64")"#
        ),
        row!(
            ["--custom-platform=linux/arm64"],
            warm.custom_platform,
            r#"Some("linux/arm64")"#
        ),
        row!(["--insecure-pull"], registry.insecure_pull, "true"),
        row!(
            ["--skip-tls-verify-pull"],
            registry.skip_tls_verify_pull,
            "true"
        ),
        row!(
            ["--skip-default-registry-fallback"],
            registry.skip_default_registry_fallback,
            "true"
        ),
        row!(
            ["--insecure-registry=a"],
            registry.insecure_registry,
            r#"["a"]"#
        ),
        row!(
            ["--skip-tls-verify-registry=a"],
            registry.skip_tls_verify_registry,
            r#"["a"]"#
        ),
        row!(
            ["--registry-certificate=a=b"],
            registry.registry_certificate,
            r#"["a=b"]"#
        ),
        row!(
            ["--registry-client-cert=a=b,c"],
            registry.registry_client_cert,
            r#"["a=b,c"]"#
        ),
        row!(["--registry-map=a=b"], registry.registry_map, r#"["a=b"]"#),
        row!(
            ["--registry-mirror=a"],
            registry.registry_mirror,
            r#"["a"]"#
        ),
    ]
}

/// Every long flag of the command, without those clap adds.
fn long_flags(command: &Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect()
}

fn tested<T>(rows: &[Row<T>]) -> BTreeSet<String> {
    let arguments = rows.iter().flat_map(|(arguments, ..)| arguments.iter());
    arguments
        .map(|argument| argument.split('=').next().unwrap_or_default().to_owned())
        .collect()
}

// conformance: K1
#[test]
fn every_executor_flag() {
    let rows = executor_rows();
    for (arguments, show, expected) in &rows {
        let command = executor(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(show(&command.options), *expected, "{arguments:?}");
    }
    let missing: Vec<_> = long_flags(&ExecutorCommand::adjusted())
        .difference(&tested(&rows))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "flags without a test: {missing:?}");
}

// conformance: K1
#[test]
fn every_warmer_flag() {
    let rows = warmer_rows();
    for (arguments, show, expected) in &rows {
        let command = warmer(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(show(&command.options), *expected, "{arguments:?}");
    }
    let missing: Vec<_> = long_flags(&WarmerCommand::adjusted())
        .difference(&tested(&rows))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "flags without a test: {missing:?}");
    for absent in [
        "--credential-helpers=env",
        "--image-download-retry=1",
        "--insecure",
        "-f=x",
    ] {
        assert!(warmer(&[absent]).is_err(), "{absent}");
    }
}

#[test]
fn warmer_subcommands() {
    let Some(WarmerAction::List(list)) = warmer(&["list"]).unwrap().action else {
        panic!()
    };
    assert_eq!(list, ListOptions::default());
    let Some(WarmerAction::List(list)) = warmer(&["list", "-c=/x", "--json", "-v=debug"])
        .unwrap()
        .action
    else {
        panic!()
    };
    let settings = list.resolve().unwrap();
    assert_eq!(settings.dir.to_str(), Some("/x"));
    assert_eq!(settings.format, ListFormat::Json);
    let Some(WarmerAction::Prune(prune)) = warmer(&["prune"]).unwrap().action else {
        panic!()
    };
    assert_eq!(prune, PruneOptions::default());
    let arguments = [
        "prune",
        "--cache-dir=/x",
        "--max-size=20GB",
        "--max-age=14d",
        "--grace=0",
        "--dry-run",
    ];
    let Some(WarmerAction::Prune(prune)) = warmer(&arguments).unwrap().action else {
        panic!()
    };
    let settings = prune.resolve().unwrap();
    assert_eq!(settings.dir.to_str(), Some("/x"));
    assert_eq!(settings.max_size, Some(20_000_000_000));
    assert_eq!(settings.max_age, Some(Duration::from_hours(336)));
    assert_eq!((settings.grace, settings.dry_run), (Duration::ZERO, true));
    assert!(
        PruneOptions {
            cache_dir: "".into(),
            ..prune
        }
        .resolve()
        .is_err()
    );
}

// conformance: K1
#[test]
fn defaults_are_those_of_the_structs() {
    assert_eq!(executor(&[]).unwrap().options, ExecutorOptions::default());
    assert_eq!(warmer(&[]).unwrap().options, WarmerOptions::default());
}

// conformance: K2
#[test]
fn booleans_leave_the_next_word_alone() {
    let command = ExecutorCommand::adjusted();
    let booleans: Vec<String> = command
        .get_arguments()
        .filter(|arg| arg.get_value_parser().type_id() == TypeId::of::<bool>())
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect();
    assert!(booleans.len() > 20, "{booleans:?}");
    for flag in booleans {
        // It means nothing without the other.
        let needed: &[&str] = if flag == "--check-bases" {
            &["--check"]
        } else {
            &[]
        };
        let read = |words: &[&str]| executor(&[needed, words].concat());
        let with = |value: &str| read(&[&format!("{flag}={value}")]).unwrap().options;
        let yes = read(&[&flag]).unwrap().options;
        for value in ["true", "1", "t", "T", "TRUE", "True"] {
            assert_eq!(with(value), yes, "{flag}={value}");
        }
        let no = with("false");
        assert_ne!(no, yes, "{flag}");
        for value in ["0", "f", "F", "FALSE", "False"] {
            assert_eq!(with(value), no, "{flag}={value}");
        }
        let error = read(&[&flag, "false"]).unwrap_err().to_string();
        assert_eq!(error, "unexpected argument `false`", "{flag}");
        assert!(read(&[&format!("{flag}=maybe")]).is_err(), "{flag}");
    }
}

// conformance: K2
#[test]
fn cache_without_a_value_leaves_the_next_word_alone() {
    let command = executor(&["--cache", "-d=a"]).unwrap();
    assert_eq!(command.options.output.destination, ["a"]);
    let command = executor(&["--cache", "version"]).unwrap();
    assert!(matches!(command.action, Some(ExecutorAction::Version)));
    for word in ["false", "a/b"] {
        let error = executor(&["--cache", word]).unwrap_err().to_string();
        assert_eq!(error, format!("unexpected argument `{word}`"));
    }
}

#[test]
fn explain_has_the_flags_of_a_build() {
    let command = ExecutorCommand::adjusted();
    let cache = command.find_subcommand("cache").unwrap();
    let explain = long_flags(cache.find_subcommand("explain").unwrap());
    let build = long_flags(&command);
    let more: Vec<_> = explain.difference(&build).collect();
    assert_eq!(more, ["--format"]);
    assert!(explain.is_superset(&build));

    let arguments = ["-v=debug", "cache", "explain", "--format=json", "-d=a"];
    let command = executor(&arguments).unwrap();
    let Some(ExecutorAction::Cache(CacheAction::Explain(explain))) = command.action else {
        panic!()
    };
    assert_eq!(explain.format, ExplainFormat::Json);
    assert_eq!(explain.options.output.destination, ["a"]);
    assert_eq!(format!("{:?}", command.options.log.verbosity), "Debug");
    for (flag, named) in [
        ("--cache", "--cache"),
        ("--cache-repo=a", "--cache-repo"),
        ("-d=a", "--destination"),
    ] {
        let error = executor(&[flag, "cache", "explain"]).unwrap_err();
        let expected = format!("`{named}` must follow `cache explain`");
        assert_eq!(error.to_string(), expected);
    }
    let command = executor(&["cache", "explain", "-v=debug"]).unwrap();
    assert_eq!(format!("{:?}", command.options.log.verbosity), "Debug");
}

// conformance: K10, K11, K12
#[test]
fn subcommands() {
    let action = |arguments: &[&str]| executor(arguments).unwrap().action.unwrap();
    assert!(matches!(action(&["version"]), ExecutorAction::Version));
    assert!(matches!(
        action(&["-v", "debug", "version"]),
        ExecutorAction::Version
    ));
    let ExecutorAction::Login(login) = action(&["login", "reg", "-u", "me", "--password-stdin"])
    else {
        panic!()
    };
    assert_eq!(
        (login.registry.as_str(), login.username.as_deref()),
        ("reg", Some("me"))
    );
    assert!(login.password_stdin && login.password.is_none());
    let ExecutorAction::Login(login) = action(&["login", "--username=me", "-p", "-x", "reg"])
    else {
        panic!()
    };
    assert_eq!(login.password.as_deref(), Some("-x"));
    let ExecutorAction::Push(push) = action(&[
        "push",
        "x.tar",
        "-d=a",
        "-d",
        "b",
        "--insecure",
        "--push-retry=2",
    ]) else {
        panic!()
    };
    assert_eq!(push.path.to_str(), Some("x.tar"));
    assert_eq!(push.destination, ["a", "b"]);
    assert!(push.push.insecure);
    for wrong in [
        &["login"][..],
        &["push"],
        &["push", "a", "b"],
        &["version", "x"],
        &["build"],
        &["cache"],
        &["cache", "explain", "x"],
        &["explain"],
    ] {
        assert!(executor(wrong).is_err(), "{wrong:?}");
    }
    let command = executor(&["push", "x", "-v=debug", "-d=a"]).unwrap();
    assert_eq!(format!("{:?}", command.options.log.verbosity), "Debug");
}
