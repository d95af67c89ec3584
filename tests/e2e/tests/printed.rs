//! What is printed, and where: no secret of a URL, no number of the system's, commands on stdout and the log on stderr.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use kiln_e2e::{Base, Case, HttpServer, Ran, Registry, Response, User, kiln_only, needs_root, run};
use serde_json::{Value, json};
use walkdir::WalkDir;

/// In every secret of these tests.
const SECRET: &str = "t0k3n";

fn clean(text: &str) {
    assert!(!text.contains(SECRET), "a secret is in\n{text}");
}

fn clean_run(ran: &Ran) {
    clean(&ran.stdout);
    clean(&ran.stderr);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let all = WalkDir::new(dir).into_iter().map(Result::unwrap);
    all.filter(|entry| !entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Every file below a folder, also the inside of compressed layers.
fn clean_files(dir: &Path) {
    let all = files(dir);
    assert!(all.len() > 3, "{all:?}");
    for path in all {
        let bytes = fs::read(&path).unwrap();
        let mut unpacked = Vec::new();
        let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
        for bytes in [&bytes, &unpacked] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(SECRET), "a secret is in {}", path.display());
        }
    }
}

/// Logins and signatures in URLs are used, and are neither in a log, nor in a cache, nor in the image.
// finding 13
// conformance: F20 I39
#[test]
fn secrets_in_urls_stay_there() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::start());
    let server = HttpServer::start(|request| {
        let basic = request.headers.contains_key("authorization");
        if basic && request.path.ends_with("=s-t0k3n") {
            Response::new(200, "text/plain", "content")
        } else {
            Response::new(403, "text/plain", "who are you?")
        }
    });
    let base = case.base(Base::Busybox);
    let url = format!(
        "http://me:p-t0k3n@{}/file?X-Amz-Signature=s-t0k3n",
        server.address()
    );
    let dockerfile = format!(
        "FROM {base}\nARG SIG\nADD http://me:p-t0k3n@{0}/other?sig=$SIG {url} /d/\n\
         RUN wget -q http://me:r-t0k3n@127.0.0.1:1/ 2>/dev/null; date +%N >/n # http://r-t0k3n@h\n",
        server.address()
    );
    let context = case.context().dockerfile(&dockerfile);
    let volume = case.path("volume");
    fs::create_dir(&volume).unwrap();
    let build = case
        .build(&context)
        .no_push()
        .cached_in(case.destination("cache"))
        .arg("--cache-dir")
        .arg(&volume)
        .arg("--verbosity=trace")
        .env("ALL_PROXY", "http://me:proxy-t0k3n@127.0.0.1:1")
        .build_arg("SIG=s-t0k3n");
    let first = build.run();
    clean(&first.ok().log);
    assert!(first.log.contains("X-Amz-Signature=xxxxx"), "{}", first.log);
    for format in ["text", "json"] {
        for ran in [build.explain(format), build.dry_run(format)] {
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            clean_run(&ran);
        }
    }
    for format in ["text", "json", "sarif"] {
        clean_run(&build.check(format));
    }
    clean_files(&volume);
    clean_files(&case.registry().storage().join("storage"));

    // The image: history as in BuildKit, with the secrets masked.
    let context = case
        .context()
        .dockerfile(format!("FROM scratch\nADD {url} /d/\n"));
    let image = case.build(&context).run().image();
    assert!(image.tree().has("d/file"));
    let history = image.history().join("\n");
    clean(&history);
    let shown = format!(
        "ADD http://xxxxx:xxxxx@{}/file?X-Amz-Signature=xxxxx /d/ # buildkit",
        server.address()
    );
    assert!(history.contains(&shown), "{history}");
}

/// However it goes wrong, and wherever the URL was given.
// finding 13
// conformance: I39
#[test]
fn no_error_shows_the_secrets_of_a_url() {
    kiln_only!();
    let case = Case::new();
    let server = HttpServer::start(|request| {
        if request.path.starts_with("/redirect") {
            let to = "http://u:l-t0k3n@127.0.0.1:1/x?token=t0k3n";
            return Response::new(302, "text/plain", "").header("Location", to);
        }
        Response::new(404, "text/plain", "not here")
    });
    let host = server.address();
    let lines = [
        format!("ADD http://u:t0k3n@{host}/x?sig=t0k3n /"),
        format!("ADD http://t0k3n@{host}/redirect?t0k3n /"),
        "ADD http://u:t0k3n@127.0.0.1:1/x /".to_owned(),
        "ADD http://u:t0k3n@no.such.host.invalid/x?a=t0k3n /".to_owned(),
        "ADD http://u:t0k3n/x@h /".to_owned(),
        format!("ADD http://u:t0k3n@{host}/r.git?token=t0k3n /"),
        format!("ADD http://u:t0k3n@{host}/r.git#main /"),
        "ADD git://u:t0k3n@127.0.0.1:1/r /".to_owned(),
        format!("ADD --checksum=sha256:0 http://u:t0k3n@{host}/x /"),
        format!("COPY http://u:t0k3n@{host}/x?sig=t0k3n /"),
        format!("ADD --nope http://u:t0k3n@{host}/x /"),
        "COPY https://u:t0k3n@h/x.git /".to_owned(),
        "ADD https://u:t0k3n@h/x\nNOPE https://u:t0k3n@h/".to_owned(),
        "FROM https://u:t0k3n@h/x".to_owned(),
        "COPY --from=https://u:t0k3n@h/x a b".to_owned(),
    ];
    for line in lines {
        let context = case.context().dockerfile(format!("FROM scratch\n{line}\n"));
        for format in ["text", "json"] {
            let outcome = case
                .build(&context)
                .no_push()
                .arg("--verbosity=trace")
                .args(format!("--log-format={format}"))
                .run();
            assert_eq!(outcome.code, Some(1), "{line}\n{}", outcome.log);
            clean(&outcome.log);
        }
    }
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let flags = [
        "--context=git://u:t0k3n@127.0.0.1:1/r".to_owned(),
        "--context=https://u:t0k3n@127.0.0.1:1/r.tar.gz?sig=t0k3n".to_owned(),
        "--context=nope://u:t0k3n@h".to_owned(),
        format!("--dockerfile=http://u:t0k3n@{host}/Dockerfile?sig=t0k3n"),
        format!("--digest-file=http://u:t0k3n@{host}/d?sig=t0k3n"),
        "--digest-file=s3://u:t0k3n@h/d?sig=t0k3n".to_owned(),
        "--tar-path=https://u:t0k3n@h/d?sig=t0k3n".to_owned(),
        "--build-context=x=nope://u:t0k3n@h".to_owned(),
        "--registry-map=http://u:t0k3n@h".to_owned(),
        "--destination=https://u:t0k3n@h/x".to_owned(),
        "--no-such-flag=https://u:t0k3n@h/x".to_owned(),
        "https://u:t0k3n@h/x".to_owned(),
        "--git=https://u:t0k3n@h/x".to_owned(),
    ];
    for flag in flags {
        let mut command = case
            .build(&context)
            .no_push()
            .arg("--verbosity=trace")
            .command();
        command.arg(&flag);
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(1), "{flag}\n{}", ran.stderr);
        clean_run(&ran);
    }
}

/// `executor 2>/dev/null` gives what the commands say, and nothing else.
// finding 52
// conformance: D10
#[test]
fn commands_are_on_stdout_and_the_log_is_on_stderr() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN echo to-out; echo to-err >&2; echo https://u:p@h '(os error 5)'\n"
    ));
    let build = case.build(&context).no_push();
    let words = "to-out\nhttps://u:p@h (os error 5)\n";
    for verbosity in ["info", "fatal"] {
        let ran = run(&mut build
            .clone()
            .args(format!("--verbosity={verbosity}"))
            .command());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout, words);
        assert!(ran.stderr.contains("to-err\n"), "{}", ran.stderr);
        assert_eq!(
            ran.stderr.contains("INFO"),
            verbosity == "info",
            "{}",
            ran.stderr
        );

        let build = build
            .clone()
            .args(format!("--verbosity={verbosity} --log-format=json"));
        let ran = run(&mut build.command());
        let lines = |text: &str| -> Vec<Value> {
            let lines = text.lines();
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let said: Vec<Value> = lines(&ran.stdout);
        let said: Vec<_> = said
            .iter()
            .map(|line| line["msg"].as_str().unwrap())
            .collect();
        assert_eq!(said, words.lines().collect::<Vec<_>>());
        let has = lines(&ran.stderr)
            .iter()
            .any(|line| line["msg"] == "to-err");
        assert!(has, "{}", ran.stderr);
    }
    // Whoever does not listen does not end the build.
    for redirect in [
        ">&-",
        ">/dev/full",
        "2>&-",
        ">/dev/full 2>/dev/full",
        ">&- 2>&-",
    ] {
        for format in ["text", "json"] {
            let script = format!("exec \"$@\" {redirect}");
            let build = build.clone().args(format!("--log-format={format}"));
            let build = build.under(["sh", "-c", &script, "sh"]);
            let ran = run(&mut build.command());
            assert_eq!(ran.code, Some(0), "{redirect}: {}", ran.stderr);
            assert!(
                !ran.stderr.contains("panicked"),
                "{redirect}: {}",
                ran.stderr
            );
        }
    }
}

/// A URL for the digest gets it, and what cannot be done is refused before anything is built.
// finding 47
// conformance: I36
#[test]
fn no_file_has_the_name_of_a_url() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let (sent, asked) = mpsc::channel();
    let server = HttpServer::start(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        sent.send((request.method.clone(), request.path.clone(), body))
            .unwrap();
        Response::new(200, "text/plain", "")
    });
    let flags = [
        "--digest-file",
        "--image-name-with-digest-file",
        "--image-name-tag-with-digest-file",
    ];
    for flag in flags {
        let build = case.build(&context).arg(flag).arg(server.url(flag));
        build.run().ok();
        let (method, path, body) = asked.try_recv().unwrap();
        assert_eq!((method.as_str(), path), ("PUT", format!("/{flag}")));
        assert!(body.contains("sha256:"), "{body}");
    }
    for flag in flags.into_iter().chain([
        "--tar-path",
        "--oci-layout-path",
        "--cache-dir",
        "--kaniko-dir",
    ]) {
        for url in ["gs://bucket/x", "s3://bucket/x", "ftp://h/x", "file:///x"] {
            let build = case.build(&context).no_push().destination("h/x");
            let outcome = build.arg(flag).arg(url).run();
            outcome.failed(
                1,
                &[&format!("invalid value `{url}` for `{flag}`: expected")],
            );
        }
    }
    for flag in ["--tar-path", "--oci-layout-path"] {
        let outcome = case
            .build(&context)
            .no_push()
            .arg(flag)
            .arg(server.url("x"))
            .run();
        outcome.failed(1, &[flag, "expected a path"]);
    }
    let names = fs::read_dir(case.path("")).unwrap().flatten();
    let odd: Vec<_> = names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.contains(':'))
        .collect();
    assert_eq!(odd, Vec::<String>::new());
}

/// One warning, whatever is wrong with the folder; the build is none the worse for it.
// finding 48
// conformance: H23
#[test]
fn a_cache_folder_that_cannot_be_written_is_said() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    fs::write(case.path("out/file"), "").unwrap();
    fs::create_dir(case.path("out/closed")).unwrap();
    fs::set_permissions(case.path("out/closed"), PermissionsExt::from_mode(0o555)).unwrap();
    let mut places = vec![case.path("out/file"), case.path("out/file/below")];
    let (words, program) = User::Ordinary.enter(&case);
    places.push(case.path("out/closed"));
    for place in places {
        let build = case
            .build(&context)
            .no_push()
            .isolation(Some("auto"))
            .cached_in(format!("oci:{}", place.display()))
            .under(words.clone())
            .program(program.clone());
        let outcome = build.run();
        let warnings = outcome.ok().warnings();
        let [warning] = warnings.as_slice() else {
            panic!("{}: {warnings:?}", place.display());
        };
        let said = format!("cannot be stored in the cache at {}", place.display());
        assert!(
            warning.contains(&said) && !warning.contains("os error"),
            "{warning}"
        );
    }
}

/// The name is right, and the message says what is wrong.
// finding 49
// conformance: J10
#[test]
fn a_dockerfile_that_cannot_be_read_is_not_missing() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\n")
        .file("closed/Dockerfile", "FROM scratch\n")
        .file("open/Dockerfile", "FROM scratch\n");
    let path = |name: &str| context.path().join(name);
    fs::set_permissions(path("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(path("open/Dockerfile"), PermissionsExt::from_mode(0o000)).unwrap();
    let (words, program) = User::Ordinary.enter(&case);
    for name in ["closed/Dockerfile", "open/Dockerfile"] {
        let outcome = case
            .build(&context)
            .no_push()
            .isolation(Some("auto"))
            .dockerfile(name)
            .under(words.clone())
            .program(program.clone())
            .start()
            .wait();
        outcome.failed(1, &["cannot read", name, "Permission denied"]);
        for wrong in ["os error", "no Dockerfile"] {
            assert!(!outcome.log.contains(wrong), "{}", outcome.log);
        }
    }
    fs::set_permissions(path("closed"), PermissionsExt::from_mode(0o755)).unwrap();
}

// finding 46
// conformance: J10
#[test]
fn an_absolute_dockerfile_is_looked_for_in_the_context_too() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .file("sub/Dockerfile.kiln-e2e", "FROM scratch\nCOPY sub /\n");
    let build = case.build(&context).dockerfile("/sub/Dockerfile.kiln-e2e");
    assert!(build.run().image().tree().has("Dockerfile.kiln-e2e"));
    let missing = case.build(&context).dockerfile("/no/such/kiln-e2e").run();
    let below = context
        .path()
        .join("no/such/kiln-e2e")
        .display()
        .to_string();
    missing.failed(1, &["`/no/such/kiln-e2e`", &below]);
}

/// A variable with one login does not hide a file with others.
// finding 43
// conformance: I2
#[test]
fn logins_of_the_variable_and_of_the_file() {
    kiln_only!();
    let case = Case::with_registry(Registry::with_login());
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let home = case.path("home/.docker");
    fs::create_dir_all(&home).unwrap();
    // base64 of `kiln:s3cret:pw`
    let auth = |host: &str| json!({ "auths": { host: { "auth": "a2lsbjpzM2NyZXQ6cHc=" } } });
    let own = auth(case.registry().host()).to_string();
    let other = auth("other.example").to_string();
    fs::write(home.join("config.json"), &own).unwrap();
    fs::write(case.path("out/auth.json"), &own).unwrap();
    let build = case.build(&context);
    build.clone().env("DOCKER_AUTH_CONFIG", &other).run().ok();
    fs::write(home.join("config.json"), &other).unwrap();
    build.run().failed(1, &["401", "config.json"]);
    build
        .clone()
        .env("DOCKER_AUTH_CONFIG", case.path("out/auth.json"))
        .run()
        .ok();
    let missing = build
        .env("DOCKER_AUTH_CONFIG", case.path("out/none.json"))
        .run();
    missing.failed(1, &["cannot read credentials", "out/none.json"]);
}

// finding 53
#[test]
fn variables_of_kaniko_without_meaning_are_one_line() {
    kiln_only!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let build = case
        .build(&context)
        .no_push()
        .env("FF_KANIKO_SQUASH_STAGES", "1")
        .env("KANIKO_TELEMETRY_ENDPOINT", "https://t0k3n@h")
        .env("FF_KANIKO_DISABLE_HTTP2", "1")
        .env("KANIKO_REGISTRY_MAP", "docker.io=mirror.example");
    let outcome = build.run();
    assert_eq!(
        outcome.ok().warnings(),
        [
            "the variables `FF_KANIKO_SQUASH_STAGES`, `KANIKO_TELEMETRY_ENDPOINT` have no effect here"
        ]
    );
    clean(&outcome.log);
}
