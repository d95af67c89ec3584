//! `.dockerignore`.

use kiln_e2e::{Base, Case, kiln_only, needs_root};

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

// conformance: A35
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

// conformance: A42 D29
#[test]
fn it_covers_bind_mounts_of_the_context_but_not_stages() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base} AS source\nRUN echo made > /secret.txt\n\
             FROM {base}\nRUN --mount=type=bind,target=/ctx ls /ctx > /seen\nCOPY --from=source /secret.txt /\n"
        ))
        .file(".dockerignore", "secret.txt\n.dockerignore\nDockerfile\n")
        .file("secret.txt", "hidden")
        .file("open.txt", "");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("seen"), "open.txt\n");
    assert_eq!(tree.text("secret.txt"), "made\n");
}

// conformance: A37 A43
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
    let context = context.file(".dockerignore", "f\n");
    case.build(&context)
        .run()
        .failed(1, &["not found", "Dockerfile:2"]);
}
