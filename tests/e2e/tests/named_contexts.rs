//! `--build-context`: directories, images, layouts, repositories and archives by name.

use kiln_e2e::{Base, Case, GitHost, HttpServer, Response, TarTree, kiln_only, needs_root};

// conformance: C7 E32
#[test]
fn every_kind_can_be_named() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let docs = case
        .context_named("docs")
        .file("page", "page\n")
        .file("hidden", "")
        .file(".dockerignore", "hidden\n");
    let built = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY own /own\n"))
        .file("own", "of the layout\n");
    let layout = case.path("out/layout");
    let build = case.build(&built).no_push();
    build
        .arg(format!("--oci-layout-path={}", layout.display()))
        .run()
        .ok();
    let host = GitHost::new(&case);
    let project = host.repository("project.git");
    project.write("sub/readme", "read me\n");
    project.commit("one");
    let web = host.http(None);
    let archive = TarTree::new()
        .file("top/packed", 0o640, "packed\n")
        .finish();
    let files =
        HttpServer::start(move |_| Response::new(200, "application/x-tar", archive.clone()));

    let lines = "FROM image AS one\nCOPY --from=docs . /docs/\nCOPY --from=PROJECT sub /sub\nCOPY --from=pack /top/packed /\n\
         RUN --mount=from=docs,target=/m cat /m/page > /mounted; ls -A /m > /list\n\
         FROM replaced AS two\nCOPY --from=one /docs /list /mounted /sub/readme /packed /all/\n\
         FROM never:pulled AS three\nFROM docs AS four\nCOPY own /\nFROM two\nCOPY --from=three /own /\nCOPY --from=four /page /four\n";
    let context = built.dockerfile(lines);
    let flags = [
        format!("docs={}", docs.path().display()),
        format!("image=docker-image://{base}"),
        format!("REPLACED=oci-layout://{}", layout.display()),
        format!("never:pulled=oci-layout:{}", layout.display()),
        format!("project={}", web.url("project.git#main")),
        format!("pack={}", files.url("a/pack.tar")),
    ];
    let named = |build: kiln_e2e::Build<'_>| {
        flags
            .iter()
            .fold(build, |build, flag| build.arg("--build-context").arg(flag))
            .run()
    };
    let tree = named(case.build(&context)).image().tree();
    for (path, text) in [
        ("all/page", "page\n"),
        ("all/mounted", "page\n"),
        ("all/readme", "read me\n"),
        ("all/packed", "packed\n"),
        ("own", "of the layout\n"),
        ("four", "page\n"),
    ] {
        assert_eq!(tree.text(path), text, "{path}");
    }
    assert_eq!(
        tree.text("all/list"),
        ".dockerignore\npage\n",
        "its own ignore file counts"
    );
    assert_eq!(tree.owner("all/page"), "0644 0:0");

    // FROM a directory: its files are the first layer.
    let image = named(case.build(&context).target("four")).image();
    let mut paths = image
        .tree()
        .paths()
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    paths.sort();
    assert_eq!(paths, [".dockerignore", "own", "page"]);
    assert_eq!(image.layers.len(), 2);
}

/// Names are known before anything is pulled, and count by what is behind them for the cache.
#[test]
fn mistakes_and_the_cache() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY --from=docs /page /\n"));
    let docs = case
        .context_named("docs")
        .file("page", "one\n")
        .file("other", "");
    let dir = docs.path().display().to_string();
    for (flag, words) in [
        ("docs".to_owned(), ["--build-context", "NAME=SOURCE"]),
        (
            "docs=/not/there".to_owned(),
            ["--build-context", "/not/there"],
        ),
        (
            format!("docs={dir}/page"),
            ["--build-context", "not a directory"],
        ),
        ("docs=s3://b/k".to_owned(), ["--build-context", "s3://"]),
    ] {
        let build = case.build(&context).arg("--build-context").arg(&flag);
        build.run().failed(1, &words);
    }
    let build = || {
        let build = case.build(&context).cached_in(case.destination("cache"));
        build.arg(format!("--build-context=docs={dir}")).run()
    };
    assert!(build().log.contains("packed layer"));
    let _docs = docs.file("other", "changed, and not copied");
    assert!(
        !build().log.contains("packed layer"),
        "nothing that is copied changed"
    );
    let _docs = case.context_named("docs").file("page", "two\n");
    assert_eq!(build().image().tree().text("page"), "two\n");
}
