//! COPY: sources, destinations, owners and modes.

use kiln_e2e::{Base, Case, kiln_only, needs_root};

// conformance: E1 E2 E4 E12 E13 E22 E23
#[test]
fn files_and_directories_go_where_they_should() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nWORKDIR /w\nUSER app\nCOPY a name\nCOPY a dir/\nCOPY a /tmp\nCOPY d copied\nCOPY d/. dotted\n\
             COPY /d/deep ./\nCOPY [\"with space\", \"/w/space here\"]\nCOPY a b /both/\n"
        ))
        .file_with_mode("a", 0o640, "a")
        .file_with_mode("b", 0o755, "b")
        .file("with space", "s")
        .file_with_mode("d/run", 0o755, "s")
        .file("d/deep/file", "f")
        .dir("d/empty", 0o711)
        .symlink("d/dangling", "/no/where")
        .symlink("d/link", "deep/file");
    let tree = case.build(&context).run().image().tree();
    let texts = [
        ("w/name", "a"),
        ("w/dir/a", "a"),
        ("tmp/a", "a"),
        ("w/copied/deep/file", "f"),
        ("w/dotted/deep/file", "f"),
        ("w/file", "f"),
        ("w/deep", "missing"),
        ("w/space here", "s"),
        ("both/a", "a"),
        ("both/b", "b"),
    ];
    for (path, text) in texts {
        if text == "missing" {
            assert!(
                !tree.has(path),
                "the contents of a directory are copied, not the directory"
            );
        } else {
            assert_eq!(tree.text(path), text, "{path}");
        }
    }
    let owners = [
        ("w/name", "0640 0:0"),
        ("both/b", "0755 0:0"),
        ("w/copied", "0755 0:0"),
        ("w/copied/run", "0755 0:0"),
        ("w/copied/empty", "0711 0:0"),
        ("tmp", "1777 0:0"),
    ];
    for (path, owner) in owners {
        assert_eq!(tree.owner(path), owner, "{path}");
    }
    assert_eq!(
        tree.node("w/copied/dangling").to_string(),
        "symlink -> /no/where 0777 0:0"
    );
    assert_eq!(
        tree.node("w/copied/link").to_string(),
        "symlink -> deep/file 0777 0:0"
    );
}

// conformance: E3 E5
#[test]
fn symlinks_named_as_sources_are_followed_inside_the_context() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY link /named/\nCOPY lin* /wild/\nCOPY dirlink /dir/\nCOPY out/a /outside\n"))
        .file("a", "inside")
        .file("d/f", "f")
        .symlink("link", "a")
        .symlink("dirlink", "d")
        .symlink("out", "/");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("named/link"), "inside");
    assert_eq!(tree.text("wild/link"), "inside");
    assert_eq!(tree.text("dir/f"), "f");
    assert_eq!(
        tree.text("outside"),
        "inside",
        "an absolute link ends at the context's own root"
    );
}

// conformance: E6 E9
#[test]
fn wildcards_match_within_one_component() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY *.txt /star/\nCOPY ?.md /mark/\nCOPY d*/x.txt /deep/\nCOPY sub* /merged/\n"
        ))
        .file("one.txt", "1")
        .file("two.txt", "2")
        .file("d/x.txt", "x")
        .file("a.md", "a")
        .file("ab.md", "ab")
        .file("sub1/p", "p")
        .file("sub2/q", "q");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.below("star"), ["star/one.txt", "star/two.txt"]);
    assert_eq!(tree.below("mark"), ["mark/a.md"]);
    assert_eq!(tree.below("deep"), ["deep/x.txt"]);
    assert_eq!(tree.below("merged"), ["merged/p", "merged/q"]);
}

// conformance: E6 E7
#[test]
fn brackets_can_be_matched_and_a_wildcard_may_match_nothing() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!("FROM {base}\nCOPY arr[[]0].txt /class/\nCOPY no*thing /nothing/\n");
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("arr[0].txt", "c")
        .file("arr0.txt", "");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.below("class"), ["class/arr[0].txt"]);
    assert_eq!(tree.below("nothing"), Vec::<String>::new());
}

// conformance: E15
#[test]
fn a_symlink_at_the_destination_is_followed_in_the_image() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY links /\nCOPY f /to-dir/\nCOPY f /to-file\nCOPY f /var/run/below\n"
        ))
        .file("f", "new")
        .symlink("links/to-dir", "/tmp")
        .symlink("links/to-file", "/etc/target-not-there");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("tmp/f"), "new");
    assert_eq!(tree.text("etc/target-not-there"), "new");
    assert_eq!(tree.text("run/below"), "new");
    assert_eq!(
        tree.node("to-file").to_string(),
        "symlink -> /etc/target-not-there 0777 0:0",
        "the link stays"
    );
    assert_eq!(tree.node("var/run").to_string(), "symlink -> /run 0777 0:0");
}

// conformance: E21 E27 E29 E30 E31
#[test]
fn chown_and_chmod() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nARG WHO=app\nCOPY --chown=33 f /number\nCOPY --chown=:8 f /group\nCOPY --chown=$WHO:staff d /names\n\
             COPY --chmod=1777 d /octal\nCOPY d /kept\nCOPY --chmod=u=rwX,go=rX d /symbolic\nCOPY --chmod=400 --chown=5:6 f /new/parent/f\n"
        ))
        .file("f", "f")
        .file_with_mode("d/run", 0o700, "r")
        .file_with_mode("d/plain", 0o600, "p")
        .file_with_mode("d/suid", 0o6755, "s")
        .symlink("d/link", "plain");
    let tree = case.build(&context).run().image().tree();
    let table = [
        ("number", "0644 33:33"),
        ("group", "0644 0:8"),
        ("names", "0755 1000:50"),
        ("names/run", "0700 1000:50"),
        ("names/link", "0777 1000:50"),
        ("octal/run", "1777 0:0"),
        ("octal/link", "0777 0:0"),
        ("kept/suid", "6755 0:0"),
        ("symbolic/run", "0755 0:0"),
        ("symbolic/plain", "0644 0:0"),
        ("new/parent/f", "0400 5:6"),
        ("new/parent", "0400 5:6"),
    ];
    for (path, owner) in table {
        assert_eq!(tree.owner(path), owner, "{path}");
    }
}

// conformance: E25
#[test]
fn hard_links_within_a_directory_stay() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!("FROM {base}\nCOPY d /d\nCOPY d/one d/two /apart/\n");
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("d/one", "same")
        .hardlink("d/two", "d/one");
    let tree = case.build(&context).run().image().tree();
    assert!(
        tree.node("d/two").to_string().contains("linked with d/one"),
        "{}",
        tree.node("d/two")
    );
    assert_eq!(tree.text("apart/two"), "same");
}

// conformance: E33 E34 E35
#[test]
fn parents_exclude_and_link() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY --parents a/b/c.txt /parents/\nCOPY --parents a/./b/c.txt /pivot/\n\
             COPY --exclude=*.md --exclude=sub/no d /exclude/\nCOPY --link f /linked/\n"
        ))
        .file("a/b/c.txt", "c")
        .file("d/keep", "k")
        .file("d/drop.md", "d")
        .file("d/sub/no", "n")
        .file("d/sub/yes", "y")
        .file("f", "f");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("parents/a/b/c.txt"), "c");
    assert_eq!(tree.text("pivot/b/c.txt"), "c");
    assert_eq!(
        tree.below("exclude"),
        ["exclude/keep", "exclude/sub", "exclude/sub/yes"]
    );
    assert_eq!(tree.text("linked/f"), "f");
}

// conformance: E11 G5
#[test]
fn odd_names_survive() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let long = "long-".repeat(40);
    let mut context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY odd /odd\n"));
    let names = [
        "quote'\"".to_owned(),
        "new\nline".into(),
        "ünï".into(),
        "-dash".into(),
        ".wh".into(),
        long.clone(),
        format!("{long}/{long}"),
    ];
    for name in &names[..6] {
        context = context.file(&format!("odd/{name}"), name);
    }
    let nested = format!("odd/nested-{}/{long}", &names[5]);
    context = context.file(&nested, "deep");
    let tree = case.build(&context).run().image().tree();
    for name in &names[..6] {
        assert_eq!(&tree.text(&format!("odd/{name}")), name);
    }
    assert_eq!(tree.text(&nested), "deep");
}

// conformance: E24 G19
#[test]
fn capabilities_and_setuid_pass_through_stages() {
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS source\nRUN touch /ran\nFROM scratch\nCOPY --from=source /usr/bin /bin\n"
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.owner("bin/suid"), "4755 0:0");
    assert!(
        tree.node("bin/capable")
            .xattrs
            .contains_key("security.capability"),
        "{tree}"
    );
}
