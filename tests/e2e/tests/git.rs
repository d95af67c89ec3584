//! ADD from git repositories.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::format_push_string)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use kiln_e2e::{Base, Case, GitHost, kiln_only};

/// Base64 of `me:p@ss`.
const LOGIN: &str = "bWU6cEBzcw==";

/// A branch with two commits, another with a third, tags of both kinds, and a submodule.
struct Site {
    case: Case,
    host: GitHost,
    first: String,
    second: String,
}

impl Site {
    fn new() -> Site {
        let case = Case::new();
        let host = GitHost::new(&case);
        let part = host.repository("part.git");
        part.write("of-part", "part 1\n");
        part.commit("part");
        let project = host.repository("project.git");
        project.write("README", "first\n");
        project.write("docs/deep/page", "page\n");
        project.write("run", "#!/bin/sh\n");
        fs::set_permissions(project.dir().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("docs/deep/page", project.dir().join("link")).unwrap();
        symlink("/etc", project.dir().join("docs/out")).unwrap();
        let url = part.dir().display().to_string();
        project.git(&["submodule", "--quiet", "add", &url, "parts/one"]);
        project.git(&[
            "config",
            "-f",
            ".gitmodules",
            "submodule.parts/one.url",
            "../part.git",
        ]);
        let first = project.commit("first");
        project.git(&["tag", "light"]);
        project.git(&["tag", "-a", "-m", "v1", "v1"]);
        project.git(&["branch", "side"]);
        part.write("of-part", "part 2\n");
        part.commit("not pinned");
        project.write("README", "second\n");
        let second = project.commit("second");
        // A tag of the branch's name, which counts for less.
        project.git(&["tag", "main", &first]);
        Site {
            case,
            host,
            first,
            second,
        }
    }
}

// conformance: E47
#[test]
fn branches_tags_commits_and_submodules() {
    kiln_only!();
    let site = Site::new();
    let (_daemon, url) = site.host.daemon();
    let web = site.host.http(None);
    let base = site.case.base(Base::Busybox);
    let (first, second) = (&site.first, &site.second);
    let short = &first[..9];
    let http = web.url("project.git");
    let git = format!("{url}/project.git");
    let table = [
        (git.clone(), "second"),
        (http.clone(), "second"),
        (format!("{http}#main"), "second"),
        (format!("{git}#v1"), "first"),
        (format!("{http}#light"), "first"),
        (format!("{http}#refs/heads/side"), "first"),
        (format!("{http}#tags/v1"), "first"),
        (format!("{git}#{first}"), "first"),
        (format!("{http}#{first}"), "first"),
        (format!("{http}#{short}"), "first"),
        (format!("{http}?tag=main"), "first"),
        (
            format!("{http}?branch=main&commit={}", &second[..7]),
            "second",
        ),
    ];
    let mut lines = String::new();
    for (number, (source, _)) in table.iter().enumerate() {
        lines += &format!("ADD {source} /{number}\n");
    }
    let context = site
        .case
        .context()
        .dockerfile(format!("FROM {base}\n{lines}"));
    let tree = site.case.build(&context).run().image().tree();
    for (number, (source, text)) in table.iter().enumerate() {
        assert_eq!(
            tree.text(&format!("{number}/README")),
            format!("{text}\n"),
            "{source}"
        );
        assert_eq!(
            tree.text(&format!("{number}/parts/one/of-part")),
            "part 1\n",
            "{source}"
        );
        assert!(!tree.has(&format!("{number}/.git")), "{source}");
        assert!(!tree.has(&format!("{number}/parts/one/.git")), "{source}");
    }
    let node = |path: &str| tree.node(path).to_string();
    assert_eq!(tree.owner("0/README"), "0644 0:0");
    assert_eq!(tree.owner("0/run"), "0755 0:0");
    assert_eq!(tree.owner("0/docs/deep"), "0755 0:0");
    assert!(
        node("0/link").starts_with("symlink -> docs/deep/page"),
        "{}",
        node("0/link")
    );
}

// conformance: A42 E47 E48
#[test]
fn flags_directories_and_mistakes() {
    kiln_only!();
    let site = Site::new();
    let web = site.host.http(None);
    let base = site.case.base(Base::Busybox);
    let http = web.url("project.git");
    let (first, second) = (&site.first, &site.second);
    let context = site.case.context().dockerfile(format!(
        "FROM {base}\nADD --keep-git-dir=true {http} /kept\nADD {http}#main:docs /docs\n\
         ADD --checksum={} --chown=5:6 --exclude=docs {http}#v1 /owned/\nADD --chmod=700 {http}#v1:docs/deep/ /mode\n",
        &first[..12]
    ));
    // It is about the context.
    let context = context.file(".dockerignore", "**/README\n**/page\nREADME\n");
    let image = site.case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(tree.text("kept/.git/HEAD").trim_end(), *second);
    assert!(tree.has("docs/deep/page") && !tree.has("docs/README"));
    assert!(
        tree.node("docs/out")
            .to_string()
            .starts_with("symlink -> /etc")
    );
    assert_eq!(tree.owner("owned/README"), "0644 5:6");
    assert!(!tree.has("owned/docs"));
    assert_eq!(tree.owner("mode/page"), "0700 0:0");

    let mistakes = [
        (
            format!("ADD {http}#main:docs/../.. /x"),
            "leads out of the repository",
        ),
        (
            format!("ADD {http}#main:docs/out /x"),
            "`docs/out` is no directory of",
        ),
        (
            format!("ADD {http}#main:README /x"),
            "`README` is no directory of",
        ),
        (
            format!("ADD {http}#nothing /x"),
            "has no branch, tag or commit `nothing`",
        ),
        (format!("ADD --checksum={first} {http} /x"), "is expected"),
        (format!("ADD {} /x", web.url("absent.git")), "cannot ask"),
        (format!("COPY {http} /x"), "source can't be a URL for COPY"),
        (
            "COPY git@127.0.0.1:project /x".to_owned(),
            "source can't be a URL for COPY",
        ),
    ];
    for (line, text) in mistakes {
        let context = site
            .case
            .context()
            .dockerfile(format!("FROM {base}\n{line}\n"));
        site.case
            .build(&context)
            .run()
            .failed(1, &[text, "Dockerfile:2"]);
    }
}

/// Users and tokens reach the server, and nothing else.
// conformance: E47
#[test]
fn logins_are_used_and_not_shown() {
    kiln_only!();
    let site = Site::new();
    let web = site.host.http(Some(LOGIN));
    let base = site.case.base(Base::Busybox);
    let open = web.url("project.git");
    let with = open.replace("http://", "http://me:p%40ss@");
    let context = |url: &str| {
        let line = format!("ADD --keep-git-dir=true {url} /project\n");
        site.case
            .context()
            .dockerfile(format!("FROM {base}\n{line}"))
    };
    site.case
        .build(&context(&open))
        .run()
        .failed(1, &["cannot ask", "Dockerfile:2"]);
    let outcome = site
        .case
        .build(&context(&with))
        .arg("--verbosity=trace")
        .run();
    let image = outcome.image();
    assert_eq!(image.tree().text("project/README"), "second\n");
    let config = image.tree().text("project/.git/config");
    for secret in ["p%40ss", "p@ss", LOGIN] {
        // The Dockerfile's own line is the user's to keep secret; nothing that we make has it.
        for (place, text) in [
            ("config", image.config.to_string()),
            (".git/config", config.clone()),
        ] {
            assert!(!text.contains(secret), "`{secret}` is in {place}: {text}");
        }
    }
    let build = site.case.build(&context(&open));
    let build = build.env("GIT_USERNAME", "me").env("GIT_PASSWORD", "p@ss");
    assert_eq!(
        build.run().image().tree().text("project/README"),
        "second\n"
    );
}

// conformance: H11
#[test]
fn the_commit_counts_for_the_cache() {
    kiln_only!();
    let site = Site::new();
    let web = site.host.http(None);
    let base = site.case.base(Base::Busybox);
    let cache = site.case.destination("cache");
    let build = |name: &str| {
        let http = web.url(&format!("project.git#{name}"));
        let context = site
            .case
            .context()
            .dockerfile(format!("FROM {base}\nADD {http} /project\n"));
        site.case.build(&context).cached_in(&cache).run()
    };
    let first = build("v1");
    assert!(first.log.contains("packed layer"), "{}", first.log);
    // The same name, asked again.
    let again = build("v1");
    assert!(!again.log.contains("packed layer"), "{}", again.log);
    assert_eq!(first.image().digest, again.image().digest);
    let project = site.host.repository("project.git");
    project.git(&["tag", "-f", "v1", "main"]);
    let moved = build("v1");
    assert_eq!(moved.image().tree().text("project/README"), "first\n");
    project.git(&["tag", "-f", "v1", &site.second]);
    let moved = build("v1");
    assert_eq!(moved.image().tree().text("project/README"), "second\n");
}

// finding 37
// conformance: E47
#[test]
fn a_checksum_may_be_that_of_an_annotated_tag() {
    kiln_only!();
    let site = Site::new();
    let web = site.host.http(None);
    let base = site.case.base(Base::Busybox);
    let project = site.host.repository("tagged.git");
    project.write("README", "tagged");
    let commit = project.commit("tagged");
    project.git(&["tag", "-a", "-m", "annotated", "annotated"]);
    let tag = project.git(&["rev-parse", "annotated"]).trim().to_owned();
    assert_ne!(tag, commit);
    let http = web.url("tagged.git");
    let context = site.case.context().dockerfile(format!(
        "FROM {base}\nADD --checksum={tag} {http}#annotated /tag\nADD --checksum={} {http}#annotated /short\n\
         ADD --checksum={commit} {http}#annotated /commit\n",
        &tag[..12]
    ));
    let tree = site.case.build(&context).run().image().tree();
    for name in ["tag", "short", "commit"] {
        assert!(tree.has(&format!("{name}/README")), "{name}");
    }
    // The tag's id says nothing of a branch.
    let context = site
        .case
        .context()
        .dockerfile(format!("FROM {base}\nADD --checksum={tag} {http} /x\n"));
    site.case
        .build(&context)
        .no_push()
        .run()
        .failed(1, &["is expected"]);
}
