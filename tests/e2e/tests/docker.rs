//! Docker as a judge of images, and as the place where the executor's own image runs.
//!
//! The daemon is private: its own socket and data folder, no bridge; containers use the host's network.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kiln_e2e::{Base, Case, Docker, ExecutorImage, GitHost, kiln_only, needs_root, skipped};

#[test]
fn an_archive_loads_and_runs() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nRUN echo made > /made && chown app /made && ln /made /twin\nENV WHO=world\nUSER app\nWORKDIR /home/app\n\
         ENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo hello $WHO; cat /twin; id -un; pwd\"]\n"
    );
    let tar = case.path("out/image.tar");
    let build = case
        .build(&case.context().dockerfile(dockerfile))
        .destination("kiln/loaded:1")
        .arg("--no-push");
    build
        .arg("--image-format=docker")
        .arg("--tar-path")
        .arg(&tar)
        .run()
        .ok();
    let docker = Docker::shared();
    let said = docker.load(&tar);
    assert!(said.contains("kiln/loaded:1"), "{said}");
    let ran = docker.run(["kiln/loaded:1"]);
    assert_eq!(
        ran.stdout, "hello world\nmade\napp\n/home/app\n",
        "{}",
        ran.stderr
    );
}

// conformance: K11
#[test]
fn what_docker_saves_can_be_pushed() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Docker);
    let docker = Docker::shared();
    let tar = case.path("out/saved.tar");
    kiln_e2e::output(docker.command().args(["pull", "--quiet", &base]));
    // Under two names, which is one image all the same.
    let second = case.destination("second:2");
    kiln_e2e::output(docker.command().args(["tag", &base, &second]));
    kiln_e2e::output(
        docker
            .command()
            .args(["save", &base, &second, "--output"])
            .arg(&tar),
    );
    let pushed = case.push(&tar).run().image();
    let original = kiln_e2e::Image::read(&format!("docker://{base}"));
    assert_eq!(pushed.manifest["config"], original.manifest["config"]);
    assert!(kiln_e2e::compare_trees(&pushed.tree(), &original.tree(), |_| false).is_empty());
}

#[test]
fn docker_pulls_and_runs_what_was_pushed() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    for format in ["docker", "oci"] {
        let base = case.base(Base::Busybox);
        let dockerfile =
            format!("FROM {base}\nRUN echo {format} > /made\nCMD [\"cat\", \"/made\"]\n");
        let destination = case.destination(format);
        let build = case
            .build(&case.context().dockerfile(dockerfile))
            .destination(&destination);
        build.arg(format!("--image-format={format}")).run().ok();
        let ran = Docker::shared().run([&destination]);
        assert_eq!(ran.stdout, format!("{format}\n"), "{}", ran.stderr);
    }
}

/// Runs the executor's image on a small context and looks at what it pushed.
fn own_image(flags: &[&str], lines: &str, chosen: &[&str]) {
    own_image_with(flags, &[], lines, chosen);
}

/// The same with flags for the executor.
fn own_image_with(flags: &[&str], own: &[&str], lines: &str, chosen: &[&str]) {
    if !ExecutorImage::is_static() {
        skipped(
            "the executor under test is not static: build with crt-static, as `make test` does",
        );
        return;
    }
    ExecutorImage::load("executor", ExecutorImage::NAME);
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(lines.replace("BASE", &base))
        .file("file", "context\n");
    fs::set_permissions(context.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let volume = format!("--volume={}:/workspace:ro", context.path().display());
    let mut all = vec![volume.as_str()];
    all.extend(flags);
    let destination = case.destination("image");
    let mut arguments = vec!["--destination", &destination];
    arguments.extend(own);
    let outcome = ExecutorImage::run(ExecutorImage::NAME, &all, &arguments);
    let tree = outcome.image().tree();
    assert_eq!(tree.text("copied"), "context\n");
    if lines.contains("RUN") {
        assert_eq!(tree.text("seen"), "context\n");
        assert!(
            !tree.has("etc/motd") && !tree.has("kaniko") && !tree.has("workspace"),
            "{:?}",
            tree.paths()
        );
    }
    for word in chosen {
        assert!(
            outcome.log.contains(word),
            "`{word}` is not in the log:\n{}",
            outcome.log
        );
    }
}

const WITH_RUN: &str = "FROM BASE AS one\nRUN echo 1 > /one\nFROM BASE\nCOPY file /copied\nRUN cat /copied > /seen && rm /etc/motd\n\
    COPY --from=one /one /\nRUN --mount=type=bind,target=/ctx cat /ctx/file > /dev/null\n";
const IN_PLACE: &str = "FROM BASE AS one\nRUN echo 1 > /one\nFROM BASE\nCOPY file /copied\nRUN cat /copied > /seen && rm /etc/motd\n\
    COPY --from=one /one /\n";

// design: "Roots and isolation"
#[test]
fn own_image_with_dockers_defaults_builds_in_place() {
    kiln_only!();
    needs_root!();
    own_image(&[], IN_PLACE, &["isolation: in place"]);
}

/// Mounts where nothing can be mounted, on the storage that containers have: an overlay whose lower layers hold the
/// directories that are covered.
// conformance: D26 D28 D30 D33 D34 (in-place)
#[test]
fn own_image_with_dockers_defaults_has_mounts() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS other\nRUN mkdir -p /d/sub && echo other > /d/sub/f\n\
        FROM BASE\nCOPY file /copied\n\
        RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token,target=/etc/token \
            --mount=type=cache,target=/usr --mount=type=tmpfs,target=/var \
            --mount=type=bind,target=/tmp/context --mount=from=other,source=/d,target=/home \
            test \"$TOKEN\" = s3cret && test \"$(cat /etc/token)\" = s3cret && echo kept > /usr/kept && touch /var/x && \
            cat /tmp/context/file > /seen && test \"$(cat /home/sub/f)\" = other && rm /etc/motd\n\
        RUN --mount=type=cache,target=/usr test \"$(cat /usr/kept)\" = kept\n\
        RUN test ! -e /etc/token && test ! -e /tmp/context && test ! -e /usr/kept && test ! -e /var/x && test -d /var/old\n";
    let flags = ["--env=SECRET=s3cret"];
    let chosen = ["isolation: in place"];
    own_image_with(&flags, &["--secret=id=token,env=SECRET"], lines, &chosen);
}

/// As most pipelines run it: the context on a volume at `/workspace`, where the image works, and a service account.
// finding 16, finding 17, finding 20
#[test]
fn own_image_works_where_the_context_is() {
    kiln_only!();
    needs_root!();
    if !ExecutorImage::is_static() {
        skipped(
            "the executor under test is not static: build with crt-static, as `make test` does",
        );
        return;
    }
    ExecutorImage::load("executor", ExecutorImage::NAME);
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines = "FROM BASE AS b\nWORKDIR /workspace\nCOPY . .\nRUN echo v2 > file && mkdir /var/run/sshd && chown -R app .\n\
                 FROM BASE\nCOPY file /v1\nCOPY --from=b /workspace /w\nCOPY --from=b /run /run\nRUN ls /run/sshd\n";
    let context = case
        .context()
        .dockerfile(lines.replace("BASE", &base))
        .file("file", "v1\n");
    let before = context.tree();
    let account = case.context_named("account").file("token", "token\n");
    let at = |dir: &std::path::Path, to: &str| format!("--volume={}:{to}", dir.display());
    let account = at(
        account.path(),
        "/var/run/secrets/kubernetes.io/serviceaccount:ro",
    );
    let volume = at(context.path(), "/workspace");
    let destination = case.destination("image");
    let flags = [volume.as_str(), account.as_str()];
    let outcome = ExecutorImage::run(
        ExecutorImage::NAME,
        &flags,
        &["--destination", &destination],
    );
    let namespace = case.build(&context).run().image().tree();
    let tree = outcome.image().tree();
    let differences = kiln_e2e::compare_trees(&tree, &namespace, |_| false);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(tree.text("w/file"), "v2\n");
    assert!(tree.has("run/sshd") && outcome.warnings().is_empty());
    assert_eq!(context.tree(), before);

    let lines = format!("FROM {base}\nRUN mkdir /workspace\n");
    let context = case.context_named("elsewhere").dockerfile(lines);
    let volume = at(context.path(), "/elsewhere:ro");
    let destination = case.destination("elsewhere");
    let words = ["--context", "/elsewhere", "--destination", &destination];
    let outcome = ExecutorImage::run(ExecutorImage::NAME, &[&volume], &words);
    assert!(outcome.image().tree().has("workspace"));
}

/// An image from scratch has no git, no certificates and no /tmp.
#[test]
fn own_image_adds_from_git() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let host = GitHost::new(&case);
    let project = host.repository("project.git");
    project.write("README", "read me\n");
    project.commit("one");
    let url = host.http(None);
    let lines = format!(
        "FROM BASE\nCOPY file /copied\nADD {} /project\nRUN cat /copied > /seen && rm /etc/motd && test -f /project/README\n",
        url.url("project.git#main")
    );
    own_image(&[], &lines, &["isolation: in place"]);
}

#[test]
fn own_image_without_seccomp_builds_in_a_namespace() {
    kiln_only!();
    needs_root!();
    own_image(
        &["--security-opt=seccomp=unconfined"],
        WITH_RUN,
        &["isolation: user namespace"],
    );
}

#[test]
fn own_image_with_nothing_builds_without_run() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nCOPY file /copied\nENV A=1\nWORKDIR /w\nUSER app\n";
    own_image(&["--cap-drop=ALL", "--user=1000"], lines, &[]);
}

#[test]
fn the_executor_image_builds_the_executor_image() {
    kiln_only!();
    needs_root!();
    if !ExecutorImage::is_static() {
        skipped(
            "the executor under test is not static: build with crt-static, as `make test` does",
        );
        return;
    }
    ExecutorImage::load("executor", ExecutorImage::NAME);
    let case = Case::new();
    let context = case.context_named("own");
    ExecutorImage::context(context.path());
    let volume = format!("--volume={}:/workspace:ro", context.path().display());
    let destination = case.destination("second");
    let words = ["--destination", &destination, "--target", "executor"];
    let image = ExecutorImage::run(ExecutorImage::NAME, &[&volume], &words).image();
    assert_eq!(image.list("Entrypoint"), ["/kaniko/executor"]);
    for path in ["kaniko/executor", "kaniko/ssl/certs/ca-certificates.crt"] {
        assert!(image.tree().has(path), "{path}");
    }
    // The second generation works as well.
    let third = case.destination("third");
    let words = [
        "--destination",
        &third,
        "--target",
        "executor",
        "--reproducible",
    ];
    let outcome = ExecutorImage::run(&destination, &[&volume], &words);
    assert!(kiln_e2e::compare_trees(&image.tree(), &outcome.image().tree(), |_| false).is_empty());
}

#[test]
fn the_debug_image_has_a_shell() {
    kiln_only!();
    needs_root!();
    if !ExecutorImage::is_static() {
        skipped(
            "the executor under test is not static: build with crt-static, as `make test` does",
        );
        return;
    }
    ExecutorImage::load("debug", ExecutorImage::DEBUG);
    let words = [
        "--entrypoint=/busybox/sh",
        ExecutorImage::DEBUG,
        "-c",
        "ls /kaniko && executor version",
    ];
    let ran = Docker::shared().run(words);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for word in ["executor", "warmer", "ssl"] {
        assert!(ran.stdout.contains(word), "{}", ran.stdout);
    }
    let volumes = Docker::shared().inspect(ExecutorImage::DEBUG, "{{json .Config.Volumes}}");
    assert_eq!(volumes.trim(), r#"{"/busybox":{}}"#);
}

/// The daemon itself, with an image that no builder of ours made.
#[test]
fn the_private_daemon_runs_containers() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Docker);
    let docker = Docker::shared();
    let ran = docker.run([base.as_str(), "cat", "/etc/motd"]);
    assert_eq!(ran.stdout, "second layer\n", "{}", ran.stderr);
    let ran = docker.run([
        "--cap-drop=ALL",
        "--user=1000",
        &base,
        "grep",
        "CapEff",
        "/proc/self/status",
    ]);
    assert_eq!(ran.stdout, "CapEff:\t0000000000000000\n", "{}", ran.stderr);
    let words = [
        "--security-opt=seccomp=unconfined",
        &base,
        "unshare",
        "-U",
        "-r",
        "-m",
        "true",
    ];
    assert_eq!(docker.run(words).code, Some(0));
}
