//! What `resolve` makes of flags, and what it refuses.

use kiln_oci::Family;
use kiln_options::{
    CompressionKind, DockerfileSource, FileTarget, ImageOutput, Isolation, SecretSource,
};

use crate::Files;

#[test]
fn a_full_command_line() {
    let files = Files::new();
    let arguments = [
        "--context-sub-path=sub",
        "-d=reg.example/app",
        "-d=reg.example/app:latest",
        "-d=user/x:1",
        "--target=a, b",
        "--target=,c",
        "--build-arg=A=1",
        "--build-arg=FROM_ENV",
        "--build-arg=NOWHERE",
        "--label=k=1",
        "--label=k=2",
        "--annotation=n=v=w",
        "--secret=id=s,src=@/secret",
        "--custom-platform=linux/aarch64",
        "--ignore-path=a/../b/",
        "--digest-file=https://x/d",
        "--image-name-with-digest-file=@/names",
        "--tar-path=@/x.tar",
        "--compression-level=9",
        "--image-format=docker",
        "--push-retry=3",
        "--image-fs-extract-retry=-1",
        "--registry-certificate=h=@/crt",
        "--registry-client-cert=h=@/crt,@/key",
        "--credential-helpers=",
    ];
    let settings = files.settings(&arguments, &[("FROM_ENV", "e")]);
    let at = |path: &str| files.path().join(path);
    assert_eq!(settings.context_dir, at("ctx/sub"));
    assert_eq!(
        settings.dockerfile,
        DockerfileSource::Path(at("ctx/sub/Dockerfile"))
    );
    let names: Vec<_> = settings
        .destinations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        names.contains(&"docker.io/user/x:1".to_owned()),
        "{names:?}"
    );
    assert_eq!(settings.targets, ["a", "b", "c"]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(settings.build_args, [pair("A", "1"), pair("FROM_ENV", "e")]);
    assert_eq!(settings.labels, [pair("k", "2")]);
    assert_eq!(settings.annotations, [pair("n", "v=w")]);
    assert_eq!(settings.secrets[0].source, SecretSource::File(at("secret")));
    assert_eq!(settings.platform.architecture, "arm64");
    assert_eq!(settings.ignore_paths, [std::path::Path::new("/b")]);
    assert_eq!(
        settings.digest_files.digest,
        Some(FileTarget::Url("https://x/d".into()))
    );
    assert_eq!(
        settings.digest_files.names,
        Some(FileTarget::Path(at("names")))
    );
    assert_eq!(settings.outputs, [ImageOutput::Archive(at("x.tar"))]);
    assert_eq!(
        (settings.compression, settings.compression_level),
        (CompressionKind::Gzip, Some(9))
    );
    assert_eq!(settings.image_format, Some(Family::Docker));
    assert_eq!(settings.registry.retries.push, 3);
    assert_eq!(
        settings.registry.certificates,
        [("h".to_owned(), at("crt"))]
    );
    assert_eq!(
        settings.registry.client_certificates,
        [("h".to_owned(), at("crt"), at("key"))]
    );
}

#[test]
fn unset_variables_in_flags_mean_nothing() {
    let files = Files::new();
    let arguments = [
        "-d=a",
        "--target=",
        "--custom-platform=",
        "--tar-path=",
        "--oci-layout-path=",
        "--digest-file=",
        "--image-name-with-digest-file=",
        "--context-sub-path=",
        "--bucket=",
        "--git=",
        "--kaniko-dir=",
        "--ignore-path=",
        "--build-arg=",
        "--registry-mirror=",
        "--registry-map=",
        "--insecure-registry=",
        "--registry-certificate=",
        "--cache",
        "--cache-repo=",
        "--cache-from=",
        "--cache-dir=",
    ];
    let settings = files.settings(&arguments, &[]);
    assert!(
        settings.targets.is_empty()
            && settings.ignore_paths.is_empty()
            && settings.build_args.is_empty()
    );
    assert!(settings.outputs.is_empty() && settings.digest_files.digest.is_none());
    assert!(settings.registry.mirrors.is_empty() && settings.registry.maps.is_empty());
    assert!(settings.cache.dir.is_none());
    let layers = settings.cache.layers.unwrap();
    assert_eq!(layers.places.len(), 1, "the inferred one");
    assert!(layers.from.is_empty());
}

// conformance: K7, G46, I38
#[test]
fn accepted_combinations() {
    let files = Files::new();
    let table: &[&[&str]] = &[
        &["--no-push"],
        &["--no-push", "--tar-path=@/x"],
        &["--no-push", "--digest-file=@/x"],
        &["--no-push", "-d=a", "--image-name-with-digest-file=@/x"],
        &["-d=a", "--compression=zstd"],
        &[
            "-d=a",
            "--compression=zstd",
            "--compression-level=22",
            "--image-format=oci",
        ],
        &["-d=a", "--oci-layout-path=@/x", "--compression=zstd"],
        &["-d=a", "--cache"],
        &["--no-push", "--cache", "--cache-repo=reg/cache"],
        &["--no-push", "--cache", "--no-push-cache"],
        &["--no-push", "--cache=false"],
        &["-d=a", "--compression-level=0"],
        &["-d=a", "-f=https://example.org/Dockerfile"],
        &["-d=a", "-f=@/ctx/Dockerfile"],
    ];
    assert!(!table.is_empty());
    for arguments in table {
        files.settings(arguments, &[]);
    }
}

#[test]
fn notices() {
    let files = Files::new();
    let count = |arguments: &[&str]| files.build(arguments, &[]).unwrap().notices.len();
    assert_eq!(count(&["-d=a"]), 0);
    assert_eq!(
        count(&["-d=a", "--cache-repo=x", "--cache-ttl=1h"]),
        0,
        "no effect in kaniko either"
    );
    assert_eq!(count(&["-d=a", "--materialize", "--pre-cleanup=false"]), 0);
    assert_eq!(count(&["-d=a", "--cache", "--cache-from=x/y"]), 0);
    assert_eq!(count(&["-d=a", "--cache-from=x/y", "--cache-from="]), 1);
    assert_eq!(count(&["-d=a", "--cache", "--git=depth=1"]), 1);
}

// conformance: K14
#[test]
fn warmer_settings() {
    let files = Files::new();
    let arguments = [
        "-i=busybox",
        "-i=busybox:latest",
        "-d=@/ctx/Dockerfile",
        "-d=@/ctx/sub/Dockerfile",
        "-d=@/ctx/Dockerfile",
        "-c=@/cache",
        "-f",
        "--build-arg=A=1",
    ];
    let settings = files.warm(&arguments, &[]).unwrap();
    assert_eq!(settings.images[0].repository(), "library/busybox");
    assert_eq!(
        settings.dockerfiles,
        ["ctx/Dockerfile", "ctx/sub/Dockerfile"]
            .map(|name| DockerfileSource::Path(files.path().join(name)))
    );
    assert_eq!(settings.cache_dir(), files.path().join("cache"));
    assert!(settings.force);
    assert_eq!(settings.build_args.len(), 1);
    assert_eq!(
        files.warm(&["-i=a"], &[]).unwrap().cache_dir().to_str(),
        Some("/cache")
    );
}

// conformance: D19
#[test]
fn var_run_is_kept_out_of_layers_only_if_asked_for() {
    let files = Files::new();
    let table: &[(&[&str], &[&str])] = &[
        (&[], &[]),
        (&["--ignore-var-run=false"], &[]),
        (&["--ignore-var-run"], &["/var/run"]),
        (
            &["--whitelist-var-run=true", "--ignore-path=a"],
            &["/a", "/var/run"],
        ),
    ];
    assert!(!table.is_empty());
    for (flags, expected) in table {
        let arguments = [&["--no-push"], *flags].concat();
        let settings = files.settings(&arguments, &[]);
        let paths: Vec<_> = settings
            .ignore_paths
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        assert_eq!(paths, *expected, "{flags:?}");
    }
}

// conformance: I16
#[test]
fn tries_of_unpacking_are_said_to_have_no_effect() {
    let files = Files::new();
    let notices = |flag: &str| files.build(&["--no-push", flag], &[]).unwrap().notices;
    assert_eq!(notices("--image-fs-extract-retry=0"), []);
    let said = notices("--image-fs-extract-retry=2");
    assert!(said[0].0.contains("--image-download-retry"), "{said:?}");
}

#[test]
fn files_that_stay_need_a_build_in_place() {
    let files = Files::new();
    let isolation = |flag: &str| files.settings(&["-d=a", flag], &[]).isolation;
    assert_eq!(isolation("--materialize"), Isolation::InPlace);
    assert_eq!(isolation("--cleanup"), Isolation::Auto);
    for other in ["--isolation=namespace", "--cleanup"] {
        let error = files
            .build(&["-d=a", "--materialize", other], &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`--materialize`") && error.contains(other),
            "{error}"
        );
    }
}

#[test]
fn a_check_needs_no_destination_and_leaves_everything_as_it_is() {
    let files = Files::new();
    let arguments = [
        "-c=@/ctx",
        "--check",
        "--check-format=sarif",
        "--tar-path=@/out.tar",
        "--digest-file=@/digest",
        "--secret=id=x,src=@/nowhere",
        "--cache=true",
        "--cleanup",
        "--dryrun",
        "--target=a",
        "--build-arg=A=1",
    ];
    let command: kiln_options::ExecutorCommand = crate::parse(&files.expand(&arguments)).unwrap();
    assert_eq!(
        command.options.build.check_format,
        kiln_options::CheckFormat::Sarif
    );
    let env = [("KANIKO_NO_PUSH", "false")];
    let resolved = command.options.resolve_check(&crate::lookup(&env)).unwrap();
    let settings = resolved.settings;
    assert!(settings.no_push && settings.outputs.is_empty() && settings.secrets.is_empty());
    assert_eq!(settings.digest_files, kiln_options::DigestFiles::default());
    assert!(!settings.cleanup && !settings.dry_run);
    assert_eq!(settings.targets, ["a"]);
    assert_eq!(settings.build_args, [("A".to_owned(), "1".to_owned())]);

    let error = crate::executor(&["--check-format=json"]).unwrap_err();
    assert!(error.to_string().contains("--check"), "{error}");
}
