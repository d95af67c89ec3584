//! `.dockerignore`.

use std::fs::File;
use std::time::{Duration, SystemTime};

use kiln_e2e::{Base, Case, HttpServer, Response, kiln_only, needs_root};

// conformance: A36 A38 A39 A40 A41
#[test]
fn excluded_files_are_not_in_the_context() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let ignore = "# comment\n*.log\n**/*.tmp\nnode\n!node/keep\nDockerfile\n/anchored\nempty/*\n";
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY . /all/\n"))
        .file(".dockerignore", ignore)
        .file("a.log", "")
        .file("d/a.log", "kept: the pattern is anchored")
        .file("d/x.tmp", "")
        .file("x.tmp", "")
        .file("node/drop/deep", "")
        .file("node/keep", "k")
        .file("anchored", "")
        .file("d/anchored", "a")
        .file("empty/gone", "");
    let tree = case.build(&context).run().image().tree();
    let expected = [
        "all/.dockerignore",
        "all/d",
        "all/d/a.log",
        "all/d/anchored",
        "all/empty",
        "all/node",
        "all/node/keep",
    ];
    assert_eq!(tree.below("all"), expected);
}

// conformance: A40
#[test]
fn parents_of_what_is_kept_are_kept_as_they_are() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY . /all/\n"))
        .file(".dockerignore", "*\n!a/b/keep\n!gone/keep\n")
        .file("a/b/keep", "k")
        .file("a/b/drop", "")
        .file("a/drop", "")
        .file("gone/drop", "")
        .dir("a/b", 0o750)
        .dir("a", 0o711);
    let seconds = 1_500_000_000;
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for path in ["a/b", "a"] {
        let dir = File::open(context.path().join(path)).expect("a folder of the context");
        dir.set_modified(old).expect("a time can be set");
    }
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.below("all"), ["all/a", "all/a/b", "all/a/b/keep"]);
    for (path, owner) in [("all/a", "0711 0:0"), ("all/a/b", "0750 0:0")] {
        assert_eq!(tree.owner(path), owner, "{path}");
        assert_eq!(tree.node(path).mtime.unsigned_abs(), seconds, "{path}");
    }
}

// conformance: A35 A41
#[test]
fn the_dockerfiles_own_ignore_file_wins() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file(
            "build/My.Dockerfile",
            format!("FROM {base}\nCOPY . /all/\n"),
        )
        .file("build/My.Dockerfile.dockerignore", "build\nx\n")
        .file(".dockerignore", "y\n")
        .file("x", "")
        .file("y", "y");
    let tree = case
        .build(&context)
        .dockerfile("build/My.Dockerfile")
        .run()
        .image()
        .tree();
    assert_eq!(tree.below("all"), ["all/.dockerignore", "all/y"]);
}

// conformance: A41 A42 D29
#[test]
fn it_covers_bind_mounts_of_the_context_but_not_stages() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let server = HttpServer::start(|_| Response::new(200, "text/plain", "downloaded"));
    let url = server.url("secret.txt");
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base} AS source\nRUN echo made > /secret.txt\n\
             FROM {base}\nRUN --mount=type=bind,target=/ctx ls /ctx > /seen\nCOPY --from=source /secret.txt /\n\
             RUN --mount=from=source,target=/made cat /made/secret.txt > /mounted\nADD {url} /url/\n"
        ))
        .file(".dockerignore", "secret.txt\n.dockerignore\nDockerfile\nout\n")
        .file("secret.txt", "hidden")
        .symlink("out", "/etc")
        .symlink("way", "..")
        .file("open.txt", "");
    std::fs::write(case.path("outside"), "not for a build\n").expect("a file beside the context");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("seen"), "open.txt\nway\n");
    assert_eq!(tree.text("secret.txt"), "made\n");
    assert_eq!(tree.text("mounted"), "made\n");
    assert_eq!(tree.text("url/secret.txt"), "downloaded");
    // Links end at the context's own root, with and without an ignore file.
    for ignored in ["secret.txt\n", ""] {
        let context = case
            .context()
            .file(".dockerignore", ignored)
            .dockerfile(format!(
                "FROM {base}\nRUN --mount=source=way,target=/m ls /m > /way; test ! -e /m/outside\n"
            ));
        let tree = case.build(&context).run().image().tree();
        assert!(
            tree.text("way").contains("open.txt\n"),
            "{}",
            tree.text("way")
        );
        for source in ["out/passwd", "way/outside", "way/../outside"] {
            let context = case.context().dockerfile(format!(
                "FROM {base}\nRUN --mount=source={source},target=/m cat /m\n"
            ));
            let outcome = case.build(&context).no_push().run();
            outcome.failed(1, &["not found", "Dockerfile:2"]);
        }
    }
}

// conformance: A37 A42 A43
#[test]
fn bad_patterns_and_excluded_sources_are_errors() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY f /\n"))
        .file("f", "");
    let context = context.file(".dockerignore", "a[\n");
    case.build(&context)
        .run()
        .failed(1, &[".dockerignore", "a["]);
    let mut context = context.file(".dockerignore", "f\n");
    for name in ["COPY", "ADD"] {
        context = context.dockerfile(format!("FROM {base}\n{name} f /\n"));
        let said = ["\"/f\": not found", "Dockerfile:2", "CopyIgnoredFile"];
        case.build(&context).run().failed(1, &said);
    }
}
