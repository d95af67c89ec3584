//! What people read: help and errors.

use std::fmt::Write as _;

use kiln_options::{CommandLine, ExecutorCommand, OptionError, WarmerCommand, failure_text};

use crate::Files;

const WIDTH: usize = 100;

#[test]
fn executor_help() {
    let mut command = ExecutorCommand::adjusted().term_width(WIDTH);
    insta::assert_snapshot!(command.render_help().to_string());
}

#[test]
fn subcommand_help() {
    let mut command = ExecutorCommand::adjusted().term_width(WIDTH);
    command.build();
    let mut text = String::new();
    for name in ["login", "push", "cache", "version"] {
        let help = command.find_subcommand_mut(name).unwrap().render_help();
        writeln!(text, "== {name}\n{help}").unwrap();
    }
    let cache = command.find_subcommand_mut("cache").unwrap();
    let explain = cache.find_subcommand_mut("explain").unwrap();
    let help = explain.render_help().to_string();
    let own = help.split("\nBuild:\n").next().unwrap();
    writeln!(text, "== cache explain\n{own}").unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn warmer_help() {
    let mut command = WarmerCommand::adjusted().term_width(WIDTH);
    insta::assert_snapshot!(command.render_help().to_string());
}

#[test]
fn warmer_subcommand_help() {
    let mut command = WarmerCommand::adjusted().term_width(WIDTH);
    command.build();
    let mut text = String::new();
    for name in ["list", "prune"] {
        let help = command.find_subcommand_mut(name).unwrap().render_help();
        writeln!(text, "== {name}\n{help}").unwrap();
    }
    insta::assert_snapshot!(text);
}

/// One line of arguments and the failure they give.
fn show(text: &mut String, files: &Files, program: &str, arguments: &[&str], error: &OptionError) {
    let failure = failure_text(error, None, error.hint().as_deref());
    let failure = failure.replace(files.path().to_str().unwrap(), "@");
    let current = std::env::current_dir().unwrap();
    let failure = failure.replace(current.to_str().unwrap(), "<here>");
    writeln!(text, "$ {program} {}\n{failure}\n", arguments.join(" ")).unwrap();
}

// conformance: K6, K7, K8, J1, J9, J10, I6, I36, I38, G46
#[test]
fn executor_errors() {
    let files = Files::new();
    let table: &[&[&str]] = &[
        &["--cahce"],
        &["--frobnicate=1"],
        &["-x"],
        &["--no-push", "true"],
        &["psuh"],
        &["--destination"],
        &["--no-push=maybe"],
        &["--compression=gzpi"],
        &["--compression=brotli"],
        &["--verbosity=loud"],
        &["--log-format=xml"],
        &["--snapshot-mode=fulll"],
        &["--isolation=inplace"],
        &["--image-format=OCI"],
        &["--cache-ttl=2weeks"],
        &["--push-retry=some"],
        &[],
        &["-d="],
        &["-d=UPPER/x"],
        &["-d=a@sha256:0000000000000000000000000000000000000000000000000000000000000000"],
        &["--no-push", "--image-name-with-digest-file=x"],
        &["--no-push", "--image-name-tag-with-digest-file=x"],
        &["-d=a", "--tar-path=x", "--compression=zstd"],
        &["-d=a", "--tar-path=x", "--image-format=oci"],
        &["-d=a", "--compression=zstd", "--image-format=docker"],
        &["-d=a", "--compression-level=10"],
        &["-d=a", "--compression=zstd", "--compression-level=0"],
        &["--no-push", "--cache"],
        &["--no-push", "-d=a", "--use-cache", "--cache-dir="],
        &["-d=a", "--cache="],
        &["-d=a", "--cache=ture"],
        &["-d=a", "--cache=reg/c:1"],
        &["-d=a", "--cache", "--cache-repo=localhost:5000/c:v1"],
        &[
            "-d=a",
            "--cache",
            "--cache-from=reg/c@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
        &["-d=a", "--cache", "--cache-repo=UPPER/c"],
        &["-d=a", "--cache", "--cache-repo=oci:"],
        &["-d=a", "-c="],
        &["-d=a", "-c=@/missing"],
        &["-d=a", "-c=@/secret"],
        &["-d=a", "-c=git://example.org/a.git#main"],
        &["-d=a", "-c=tar://stdin"],
        &["-d=a", "-c=s3://bucket/key"],
        &["-d=a", "-b=bucket"],
        &["-d=a", "-c=g://bucket/key"],
        &["-d=a", "--context-sub-path=../x"],
        &["-d=a", "--context-sub-path=nope"],
        &["-d=a", "-f=Dockerfile.prod"],
        &["-d=a", "--git=brnach=x"],
        &["-d=a", "--build-arg==x"],
        &["-d=a", "--label=x"],
        &["-d=a", "--secret=src=x"],
        &["-d=a", "--secret=id=x,src=@/missing"],
        &["-d=a", "--secret=id=x,env=A", "--secret=id=x,env=B"],
        &["-d=a", "--custom-platform=potato"],
        &["-d=a", "--registry-map=a"],
        &["-d=a", "--registry-certificate=a"],
        &["-d=a", "--registry-client-cert=a=b"],
        &["-d=a", "--credential-helpers=goggle"],
        &["-d=a", "--build-arg=SOURCE_DATE_EPOCH=now"],
        &["--no-push", "--dryrun-format=json"],
        &["--no-push", "--dryrun", "--dryrun-format=yaml"],
        &["-d=a", "--build-context=a"],
        &["-d=a", "--build-context=a=/not/there"],
        &["-d=a", "--build-context=a=s3://b/k"],
        &["-d=a", "--digest-file=ftp://x/d"],
        &["-d=a", "--ssh=default"],
        &["-d=a", "--ssh=a=/not/there"],
        &["login"],
        &["push"],
        &["cache"],
        &["cache", "explian"],
        &["explain"],
        &["cache", "explain", "--format=xml"],
    ];
    let mut text = String::new();
    for arguments in table {
        let Err(error) = files.build(arguments, &[]) else {
            panic!("accepted: {arguments:?}")
        };
        show(&mut text, &files, "executor", arguments, &error);
    }
    insta::assert_snapshot!(text);
}

// conformance: K8, K14
#[test]
fn warmer_errors() {
    let files = Files::new();
    let table: &[&[&str]] = &[
        &[],
        &["-i=UPPER"],
        &["--images=a"],
        &["-d=@/missing"],
        &["-i=a", "--customPlatform=potato"],
        &["-i=a", "-c="],
        &["busybox"],
        &["lst"],
        &["prune", "--max-size=lots"],
        &["prune", "--max-age=2weeks"],
        &["list", "--format=xml"],
        &["--cache-dir=/x", "list"],
    ];
    let mut text = String::new();
    for arguments in table {
        let Err(error) = files.warm(arguments, &[]) else {
            panic!("accepted: {arguments:?}")
        };
        show(&mut text, &files, "warmer", arguments, &error);
    }
    insta::assert_snapshot!(text);
}
