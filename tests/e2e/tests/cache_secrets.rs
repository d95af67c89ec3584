//! What nobody else may read: neither in the cache, nor on the volume, nor in the most talkative log.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_e2e::{Base, Case, Registry, kiln_only, needs_root};
use walkdir::WalkDir;

/// Values that are given to the builds; the last two are the registry's password, plain and as it is sent.
const SECRETS: [&str; 7] = [
    "file-secret-1f0c",
    "variable-secret-2e9b",
    "undeclared-arg-3d8a",
    "proxy-password-4c7f",
    "later-proxy-password-5b6e",
    "s3cret:pw",
    "a2lsbjpzM2NyZXQ6cHc=",
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let all = WalkDir::new(dir).into_iter().map(Result::unwrap);
    all.filter(|entry| !entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Every secret in every file below a folder, also inside of compressed layers.
fn leaked(dir: &Path, secrets: &[&str]) -> Vec<String> {
    let all = files(dir);
    assert!(all.len() > 10, "there is something to look at: {all:#?}");
    let mut found = Vec::new();
    for path in all {
        let mut bytes = fs::read(&path).unwrap();
        let mut unpacked = Vec::new();
        if flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_end(&mut unpacked)
            .is_ok()
        {
            bytes.extend(unpacked);
        }
        let text = String::from_utf8_lossy(&bytes);
        let here = secrets.iter().filter(|secret| text.contains(**secret));
        found.extend(here.map(|secret| format!("{secret} in {}", path.display())));
    }
    found
}

// conformance: H10 H4 I39
#[test]
fn no_secret_is_in_the_cache_or_in_the_log() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::with_login());
    let docker = case.path("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    let host = case.registry().host();
    let login = format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, SECRETS[6]);
    fs::write(docker.join("config.json"), login).unwrap();
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {} AS one\nCOPY a /\nRUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=V \
             test \"$(cat /run/secrets/file)$V\" && test -n \"$HTTP_PROXY$all_proxy\" && date +%N > /d\n\
             FROM one\nCOPY --from=one /d /e\nRUN date +%N > /f\n",
            case.base(Base::Busybox)
        ))
        .file("a", "one\n");
    fs::write(case.path("out/file"), SECRETS[0]).unwrap();
    let volume = case.path("volume");
    fs::create_dir_all(&volume).unwrap();
    let build = case.build(&context).cached_in(case.destination("cache"));
    let build = build
        .arg(format!("--cache-dir={}", volume.display()))
        .arg("--verbosity=trace")
        .arg("--secret=id=file,src=out/file")
        .arg("--secret=id=variable,env=HIDDEN")
        .env("HIDDEN", SECRETS[1])
        .build_arg(format!("UNDECLARED={}", SECRETS[2]))
        .build_arg(format!("HTTP_PROXY=http://user:{}@proxy:1", SECRETS[3]))
        .build_arg(format!("all_proxy=http://user:{}@proxy:1", SECRETS[4]));
    let first = build.run();
    assert_eq!(
        first.ok().steps("one"),
        "COPY miss, RUN miss",
        "{}",
        first.log
    );
    fs::write(case.path("context/a"), "two\n").unwrap();
    let second = build.run();
    assert_eq!(
        second.ok().steps("one"),
        "COPY miss, RUN miss",
        "{}",
        second.log
    );
    let third = build.run();
    assert_eq!(
        third.ok().steps("one"),
        "COPY hit, RUN hit",
        "{}",
        third.log
    );
    let explained = build.explain("json");
    let logs = [
        &first.log,
        &second.log,
        &third.log,
        &explained.stdout,
        &explained.stderr,
    ];
    for log in logs {
        for secret in SECRETS {
            assert!(!log.contains(secret), "{secret} is in\n{log}");
        }
    }
    assert_eq!(
        leaked(&case.registry().storage().join("storage"), &SECRETS),
        Vec::<String>::new()
    );
    assert_eq!(leaked(&volume, &SECRETS), Vec::<String>::new());
}

/// A build arg that only an intermediate stage uses is in no image, and therefore nowhere: neither as it was given nor
/// in what was made of it.
// finding 12
// conformance: H10 H29
#[test]
fn a_build_arg_is_not_in_the_cache() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::start());
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {0} AS one\nARG TOKEN\nARG ALIAS=$TOKEN\nENV COPIED=$TOKEN PART=${{TOKEN%%-*}} FREE=free\n\
             COPY --chmod=${{TOKEN:+644}} a /\nRUN test -n \"$TOKEN$PART$ALIAS\" && date +%N > /d\n\
             FROM {0}\nCOPY --from=one /d /e\n",
            case.base(Base::Busybox)
        ))
        .file("a", "one\n");
    let volume = case.path("volume");
    fs::create_dir_all(&volume).unwrap();
    let build = case.build(&context).cached_in(case.destination("cache"));
    let build = build
        .arg(format!("--cache-dir={}", volume.display()))
        .arg("--verbosity=trace");
    let secrets = ["qwertz1-5f2e", "qwertz1", "qwertz2-8c1d", "qwertz2"];
    let with = |token: &str| build.clone().build_arg(format!("TOKEN={token}"));
    let first = with(secrets[0]).run();
    assert_eq!(
        first.ok().steps("one"),
        "COPY miss, RUN miss",
        "{}",
        first.log
    );
    let again = with(secrets[0]).run();
    assert_eq!(again.ok().steps("one"), "", "{}", again.log);
    let explained = [
        with(secrets[2]).explain("text"),
        with(secrets[2]).explain("json"),
    ];
    let other = with(secrets[2]).run();
    assert_eq!(
        other.ok().steps("one"),
        "COPY hit, RUN miss",
        "{}",
        other.log
    );
    assert!(
        other.log.contains("build arg TOKEN changed"),
        "{}",
        other.log
    );
    assert!(
        explained[0].stdout.contains("build arg TOKEN changed"),
        "{}",
        explained[0].stdout
    );
    for log in [
        &first.log,
        &again.log,
        &other.log,
        &explained[0].stdout,
        &explained[1].stdout,
    ] {
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} is in\n{log}");
        }
    }
    let places = [case.registry().storage().join("storage"), volume];
    for place in places {
        assert_eq!(leaked(&place, &secrets), Vec::<String>::new());
    }
}
