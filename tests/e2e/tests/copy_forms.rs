//! COPY and ADD in their rarer forms: several sources, `--parents`, links that lead nowhere, special bits.

use kiln_e2e::{Base, Case, Tree, kiln_only, needs_root};

/// Mode and owner of each path.
fn owners(tree: &Tree, table: &[(&str, &str)]) {
    assert!(!table.is_empty());
    for (path, owner) in table {
        assert_eq!(tree.owner(path), *owner, "{path} in\n{tree}");
    }
}

/// Each source is copied on top of those before it: the last file stays, directories are merged.
// finding 25
// conformance: E14 E49
#[test]
fn several_sources_may_go_to_one_path() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY a b /last\nCOPY d1 d2 /merged\nCOPY d1 a /dir-first\nCOPY a none* /glob\n\
             COPY [ab] /wild\nCOPY <<A <<B /out\nheredoc a\nA\nheredoc b\nB\nADD a b /added\n\
             COPY a b /etc/motd\nCOPY --chmod=600 b a /new/parent/f\nCOPY <<a b /mixed\nheredoc\na\n"
        ))
        .file("a", "a")
        .file("b", "b")
        .file("d1/one", "1")
        .file("d1/both", "1")
        .file("d2/two", "2")
        .file("d2/both", "2");
    let outcome = case.build(&context).run();
    let image = outcome.image();
    let tree = image.tree();
    let texts = [
        ("last", "b"),
        ("merged/one", "1"),
        ("merged/two", "2"),
        ("merged/both", "2"),
        ("dir-first/one", "1"),
        ("dir-first/a", "a"),
        ("glob", "a"),
        ("wild", "b"),
        ("out", "heredoc b\n"),
        ("added", "b"),
        ("etc/motd", "b"),
        ("new/parent/f", "a"),
        // Heredocs come after everything else.
        ("mixed", "heredoc\n"),
    ];
    for (path, text) in texts {
        assert_eq!(tree.text(path), text, "{path}");
    }
    assert_eq!(tree.owner("new/parent/f"), "0600 0:0");
    let said = "several sources and a destination that is no directory";
    let warnings = outcome.warnings();
    let lines: Vec<bool> = [2, 3, 4, 5, 6, 7, 12, 13, 14, 15]
        .map(|line| {
            let place = format!("Dockerfile:{line}: {said}");
            warnings.iter().any(|warning| warning.contains(&place))
        })
        .to_vec();
    assert_eq!(lines, [true; 10], "{warnings:#?}");
    let history = image.history();
    assert!(
        history
            .iter()
            .any(|line| line.starts_with("COPY b <<a /mixed")),
        "{history:#?}"
    );
}

// finding 25
// conformance: E14
#[test]
fn a_directory_after_a_file_has_no_place() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY a d /new\n"))
        .file("a", "a")
        .file("d/f", "f");
    case.build(&context)
        .no_push()
        .run()
        .failed(1, &["Dockerfile:2", "cannot copy to non-directory: /new"]);
    // Room for all of them is no cause for a warning.
    let context = context.dockerfile(format!(
        "FROM {base}\nCOPY a d /tmp\nCOPY a d /new/\nCOPY --parents a d /below\n"
    ));
    let outcome = case.build(&context).run();
    assert_eq!(outcome.ok().warnings(), Vec::<&str>::new());
}

// finding 28
// conformance: E34
#[test]
fn excludes_count_from_where_parents_begin() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY --parents --exclude=packages/a/test packages /w/\n\
             COPY --parents --exclude=a/test packages /whole/\n\
             COPY --parents --exclude=a/test packages/./a packages/./b /pivot/\n\
             COPY --parents --exclude=**/test --exclude=!packages/b/test packages/* /deep/\n\
             COPY --parents --exclude=packages/a/f packages/a/f /none/\n\
             COPY --parents --exclude=packages --exclude=!packages/b packages /back/\n\
             COPY --exclude=a/test packages /plain/\n"
        ))
        .file("packages/a/f", "f")
        .file("packages/a/test/t", "t")
        .file("packages/b/g", "g")
        .file("packages/b/test/t", "t");
    let tree = case.build(&context).run().image().tree();
    let below = |dir: &str| -> Vec<String> {
        let strip = |path: String| path[dir.len() + 1..].to_owned();
        tree.below(dir).into_iter().map(strip).collect()
    };
    let (a, b) = (["packages/a", "packages/a/f"], "packages/b");
    let b_all = [b, "packages/b/g", "packages/b/test", "packages/b/test/t"];
    let all: Vec<&str> = ["packages"].into_iter().chain(a).chain(b_all).collect();
    assert_eq!(below("w"), all);
    let mut whole = all.clone();
    whole.splice(3..3, ["packages/a/test", "packages/a/test/t"]);
    assert_eq!(below("whole"), whole, "the pattern names nothing there");
    assert_eq!(
        below("pivot"),
        ["a", "a/f", "b", "b/g", "b/test", "b/test/t"]
    );
    assert_eq!(below("deep"), all);
    assert_eq!(below("none"), Vec::<String>::new());
    let mut back = vec!["packages"];
    back.extend(b_all);
    assert_eq!(below("back"), back);
    assert_eq!(
        below("plain"),
        ["a", "a/f", "b", "b/g", "b/test", "b/test/t"]
    );
}

// finding 29
// conformance: E33
#[test]
fn parents_keep_links_and_do_not_go_through_them() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base} AS files\nCOPY lib /lib2\nFROM {base}\nCOPY --parents lib/x.so* /wild/\nCOPY --parents lib/gone /named/\n\
             COPY --parents dirlink /dir/\nCOPY --parents dirlink/./x.so.1 /pivot/\nCOPY --parents **/x.so /deep/\n\
             COPY --parents dir*/x.so.1 /through/\nCOPY --parents --from=files lib2/x.so* /stage/\n"
        ))
        .file("lib/x.so.1", "1")
        .symlink("lib/x.so", "x.so.1")
        .symlink("lib/x.so.2", "/no/where")
        .symlink("lib/gone", "nothing")
        .symlink("dirlink", "lib");
    let tree = case.build(&context).run().image().tree();
    let kinds = [
        ("wild/lib/x.so", "symlink -> x.so.1"),
        ("wild/lib/x.so.1", "file"),
        ("wild/lib/x.so.2", "symlink -> /no/where"),
        ("named/lib/gone", "symlink -> nothing"),
        ("dir/dirlink", "symlink -> lib"),
        ("pivot/x.so.1", "file"),
        ("deep/lib/x.so", "symlink -> x.so.1"),
        ("stage/lib2/x.so", "symlink -> x.so.1"),
        ("stage/lib2/x.so.2", "symlink -> /no/where"),
    ];
    for (path, kind) in kinds {
        let node = tree.node(path).to_string();
        assert!(node.starts_with(kind), "{path}: {node}");
    }
    assert_eq!(tree.below("through"), Vec::<String>::new());
    assert!(tree.has("through"), "the destination alone");
    assert_eq!(tree.below("deep"), ["deep/lib", "deep/lib/x.so"]);

    let context = context.dockerfile(format!(
        "FROM {base}\nCOPY --parents dirlink/x.so.1 /through/\n"
    ));
    case.build(&context)
        .no_push()
        .run()
        .failed(1, &["Dockerfile:2", "\"/dirlink/x.so.1\": not found"]);
}

// finding 30
// conformance: E33
#[test]
fn parents_leave_directories_as_they_are() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY --chown=5:6 --chmod=700 empty /w/a\nCOPY --parents a/f /w/\n\
             COPY --parents --chmod=640 --chown=7:8 a/g a/new/h /w/\nCOPY --parents a /w/\n\
             COPY --parents --chmod=711 b/f b/g /x/\nCOPY --parents --chmod=711 b/f /y/\n\
             COPY --parents --chmod=711 b/* /z/\n"
        ))
        .file("a/f", "f")
        .file("a/g", "g")
        .file("a/new/h", "h")
        .dir("a/new", 0o750)
        .file("b/f", "f")
        .file("b/g", "g")
        .dir("b", 0o705)
        .dir("empty", 0o755);
    let layers = case.build(&context).run().image().layers;
    // The tree after so many of the seven steps.
    let after = |steps: usize| {
        let mut tree = Tree::default();
        for layer in &layers[..layers.len() - 7 + steps] {
            tree.apply(&layer.entries);
        }
        tree
    };
    owners(&after(1), &[("w/a", "0700 5:6")]);
    owners(&after(2), &[("w/a", "0700 5:6"), ("w/a/f", "0644 0:0")]);
    owners(
        &after(3),
        &[
            ("w/a", "0700 5:6"),
            ("w/a/g", "0640 7:8"),
            ("w/a/new", "0640 7:8"),
            ("w/a/new/h", "0640 7:8"),
        ],
    );
    // What is named itself comes as it is.
    owners(&after(4), &[("w/a", "0755 0:0"), ("w/a/new", "0750 0:0")]);
    owners(
        &after(7),
        &[
            // Two sources share it.
            ("x/b", "0705 0:0"),
            ("x/b/g", "0711 0:0"),
            ("y/b", "0711 0:0"),
            ("z/b", "0711 0:0"),
            ("z", "0711 0:0"),
        ],
    );
}

// finding 33
// conformance: E3 E6 E7
#[test]
fn a_wildcard_that_meets_a_link_to_nothing_is_an_error() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file("d/f", "f")
        .file("real/f", "f")
        .symlink("d/z", "/nowhere")
        .symlink("way", "real");
    for (line, missing) in [
        ("COPY d/* /x/", "\"/d/z\": not found"),
        ("COPY d/z /x/", "\"/d/z\": not found"),
        ("ADD d/[z] /x/", "\"/d/z\": not found"),
        ("COPY --from=files d/* /x/", "\"/d/z\": not found"),
    ] {
        let text = format!("FROM scratch AS files\nCOPY d /d\nFROM {base}\n{line}\n");
        let context = kiln_e2e::Context::new(context.path()).dockerfile(text);
        let outcome = case.build(&context).no_push().run();
        outcome.failed(1, &["Dockerfile:4", missing]);
    }
    // From the first wildcard on, links are no ways.
    let context = context.dockerfile(format!(
        "FROM {base}\nCOPY [rw]*/f /x/\nCOPY w*/f /none/\nCOPY way/* /followed/\n"
    ));
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.below("x"), ["x/f"]);
    assert!(!tree.has("none"));
    assert_eq!(tree.below("followed"), ["followed/f"]);
}

/// A directory that is made below one with the set-group-id bit gets the bit, and its group unless an owner is given.
// finding 34
// conformance: E18 E21 F7
#[test]
fn directories_made_below_a_setgid_directory_inherit() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let archive = kiln_e2e::TarTree::new().file("in/f", 0o644, "i").finish();
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nRUN mkdir /sg && chmod 2775 /sg && chgrp 50 /sg\nWORKDIR /sg/w/x\nCOPY f /sg/copied/below/\n\
             COPY --chown=7:8 f /sg/owned/\nCOPY --chmod=4711 f /sg/mode/f\nCOPY d /sg/dir\nADD a.tar /sg/un/tar\n\
             COPY --parents d/f /sg/par/\nUSER app\nWORKDIR /sg/mine\nUSER root\nWORKDIR /sg/roots\n\
             COPY --link f /sg/linked/\n"
        ))
        .file("f", "f")
        .file("d/f", "f")
        .dir("d/sub", 0o755)
        .file("a.tar", archive);
    let tree = case.build(&context).run().image().tree();
    owners(
        &tree,
        &[
            ("sg/w", "2755 0:50"),
            ("sg/w/x", "2755 0:50"),
            ("sg/copied", "2755 0:50"),
            ("sg/copied/below", "2755 0:50"),
            // Files have the owner that they are given.
            ("sg/copied/below/f", "0644 0:0"),
            ("sg/owned", "2755 7:8"),
            ("sg/mode", "2711 0:50"),
            ("sg/mode/f", "4711 0:0"),
            ("sg/dir", "2755 0:50"),
            // It has a source.
            ("sg/dir/sub", "0755 0:0"),
            ("sg/un", "2755 0:50"),
            ("sg/un/tar", "2755 0:50"),
            // Root's, whatever is above it.
            ("sg/un/tar/in", "2755 0:0"),
            ("sg/par", "2755 0:50"),
            ("sg/par/d", "0755 0:0"),
            ("sg/mine", "2755 1000:1000"),
            ("sg/roots", "2755 0:0"),
            // Made without looking at what is below.
            ("sg/linked", "0755 0:0"),
        ],
    );
}

// finding 34
// conformance: E21 E30
#[test]
fn special_bits_go_where_they_were_sent() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY --chmod=4711 f /four/p/f\nCOPY --chmod=1777 d /one/p\n\
             COPY --chmod=go=rX d /sticky\nCOPY --chmod=g=u d /copied\nCOPY --chmod=a=rx d /all\nADD --chmod=2755 f /two/f\n\
             COPY --chmod=go= f /symbolic/p/f\n"
        ))
        .file("f", "f")
        .dir("d/sub", 0o1777)
        .dir("d/sg", 0o2750)
        .file_with_mode("d/su", 0o4755, "s");
    let tree = case.build(&context).run().image().tree();
    owners(
        &tree,
        &[
            ("four", "0711 0:0"),
            ("four/p", "0711 0:0"),
            ("four/p/f", "4711 0:0"),
            ("one", "0777 0:0"),
            ("one/p", "0777 0:0"),
            ("one/p/sub", "1777 0:0"),
            ("two", "0755 0:0"),
            ("two/f", "2755 0:0"),
            ("symbolic", "0755 0:0"),
            ("symbolic/p", "0755 0:0"),
            ("symbolic/p/f", "0600 0:0"),
            ("sticky/sub", "1755 0:0"),
            ("sticky/sg", "0755 0:0"),
            ("copied/sg", "2770 0:0"),
            ("all/sub", "1555 0:0"),
            ("all/su", "0555 0:0"),
        ],
    );
}

/// A hit is the same image again.
// finding 25
// conformance: E14 H1
#[test]
fn several_sources_come_from_the_cache_as_they_went_in() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let cache = case.path("cache");
    let place = format!("oci:{}", cache.display());
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY a b /last\nCOPY --parents --exclude=d/no d /par/\n"
        ))
        .file("a", "a")
        .file("b", "b")
        .file("d/yes", "1")
        .file("d/no", "2")
        .symlink("d/link", "yes");
    let build = || {
        let build = case.build(&context).cached_in(&place);
        build.run().image()
    };
    let (first, again) = (build(), build());
    assert_eq!(first.digest, again.digest);
    // The order of the sources decides.
    let context = context.dockerfile(format!("FROM {base}\nCOPY b a /last\n"));
    let outcome = case.build(&context).cached_in(&place).run();
    assert_eq!(outcome.image().tree().text("last"), "a");
}
