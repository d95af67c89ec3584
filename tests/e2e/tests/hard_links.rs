//! Files with several names: which of them are in a layer, and what a COPY makes of them.

use kiln_e2e::{Base, Case, Tree, kiln_only, needs_root};

/// Which of `paths` are names of one file, by the first of them.
fn linked(tree: &Tree, paths: &[&str], first: &str) {
    for path in paths {
        let node = tree.node(path).to_string();
        let said = format!("linked with {first}");
        assert!(node.contains(&said), "{path}: {node}, not {said}\n{tree}");
    }
}

/// A name that a later step gives to an old file makes it one file with all its names, though each name may have come
/// in another layer.
// finding 26
// conformance: G7 E25
#[test]
fn a_later_name_joins_all_names() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base} AS made\nRUN mkdir /d /d/0 && echo 1 > /d/a && ln /d/a /d/b && ln /d/a /d/0/first\n\
         RUN ln /d/a /d/c\nRUN ln /d/c /d/e && echo x > /other\nFROM {base} AS copied\nCOPY --from=made /d /d\n\
         COPY --from=made --parents /d /p/\nCOPY --from=made --parents /d/* /w/\nCOPY --from=made /d/a /d/b /apart/\n\
         FROM made AS last\nRUN rm /d/b && ln /d/a /d/b2\n"
    ));
    let names = ["a", "b", "c", "e", "0/first"];
    let tree = case.build(&context).target("made").run().image().tree();
    let below = |dir: &str| names.map(|name| format!("{dir}/{name}"));
    let paths = below("d");
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    linked(&tree, &paths, "d/0/first");
    assert_eq!(tree.text(paths[1]), "1\n");
    let tree = case.build(&context).target("copied").run().image().tree();
    for dir in ["d", "p/d", "w/d"] {
        let paths = below(dir);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        linked(&tree, &paths, &format!("{dir}/0/first"));
        assert_eq!(tree.text(paths[4]), "1\n");
    }
    for path in ["apart/a", "apart/b"] {
        let node = tree.node(path).to_string();
        assert!(
            !node.contains("linked"),
            "two sources are two files: {node}"
        );
    }
    let tree = case.build(&context).target("last").run().image().tree();
    assert!(!tree.has("d/b"), "a name that is gone does not come back");
    let left = ["d/a", "d/b2", "d/c", "d/e", "d/0/first"];
    linked(&tree, &left, "d/0/first");
}

/// Names that nothing was linked to stay out of the layer.
// finding 26
// conformance: G7 G11 G13
#[test]
fn files_with_several_names_that_are_only_touched_are_left_out() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN echo 1 > /a && ln /a /b && ln /a /c\nRUN chmod 644 /a && touch -c -r /b /a && echo x > /x\n\
         RUN rm /c\n"
    ));
    let image = case.build(&context).run().image();
    let names: Vec<Vec<&str>> = image.layers.iter().map(|layer| layer.names()).collect();
    let own = &names[names.len() - 3..];
    assert_eq!(own[0], ["a", "b", "c"]);
    assert_eq!(own[1], ["x"]);
    assert_eq!(own[2], [".wh.c"]);
}

/// From the cache it is the same image, and the next step finds one file.
// finding 26
// conformance: G7 H1
#[test]
fn names_come_from_the_cache_together() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let cache = case.path("cache");
    let place = format!("oci:{}", cache.display());
    let text = |last: &str| {
        format!(
            "FROM {base}\nRUN echo 1 > /a && ln /a /b\nRUN ln /a /c\nRUN echo {last} > /l; stat -c %h /a /b /c > /count\n"
        )
    };
    let build = |text: String| {
        let context = case.context().dockerfile(text);
        let build = case.build(&context).cached_in(&place);
        build.run().image()
    };
    let (first, again) = (build(text("1")), build(text("1")));
    assert_eq!(first.digest, again.digest);
    // The layers before are those of the cache now, unpacked.
    let tree = build(text("2")).tree();
    assert_eq!(tree.text("count"), "3\n3\n3\n");
    linked(&tree, &["a", "b", "c"], "a");
}

/// What one step made and another one copies whole is one layer, packed once.
// finding 58
// conformance: E36
#[test]
fn an_identical_layer_is_packed_once() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM scratch AS files\nCOPY d /app\nFROM {base} AS other\nCOPY --from=files / /\nCOPY --from=files /app /app\n\
             COPY --from=files --chmod=600 /app /app\n"
        ))
        .file("d/f", "content")
        .file("d/g", "content")
        .hardlink("d/h", "d/g")
        .dir("d/sub", 0o750);
    let outcome = case.build(&context).run();
    let image = outcome.image();
    // finding 61
    assert!(!outcome.log.contains('\x1b'), "{:?}", outcome.log);
    let packed: Vec<&str> = outcome
        .log
        .lines()
        .filter_map(|line| line.split_once("packed layer of ["))
        .filter_map(|(_, rest)| rest.split_once(']'))
        .map(|(step, _)| step)
        .collect();
    assert_eq!(packed.len(), 2, "{}", outcome.log);
    assert!(packed.contains(&"files 1/1"), "{packed:?}");
    assert!(packed.contains(&"other 3/3"), "{packed:?}");
    let own = &image.layers[image.layers.len() - 3..];
    assert_eq!(own[0].digest, own[1].digest);
    assert_ne!(own[0].digest, own[2].digest);
    assert_eq!(image.tree().text("app/f"), "content");
}

/// Two filesystems number their files alike; only those of one are names of one file.
// conformance: G6 (namespace)
#[test]
fn equal_inodes_of_two_filesystems_are_two_files() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY d /d\n")
        .dir("d/x", 0o755)
        .dir("d/y", 0o755);
    let script = r#"for name in x y; do
            mount -t tmpfs tmpfs "$0/$name" && echo "$name" > "$0/$name/a" && ln "$0/$name/a" "$0/$name/b" || exit 9
            stat -c %i "$0/$name/a" > "$0/$name/inode"
        done; exec "$@""#;
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation=private",
        "/bin/sh",
        "-c",
        script,
    ];
    let dir = context.path().join("d").display().to_string();
    let words = wrapper.map(str::to_owned).into_iter().chain([dir]);
    let tree = case.build(&context).under(words).run().image().tree();
    assert_eq!(
        tree.text("d/x/inode"),
        tree.text("d/y/inode"),
        "nothing is shown otherwise"
    );
    for name in ["x", "y"] {
        let paths = [format!("d/{name}/a"), format!("d/{name}/b")];
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        linked(&tree, &paths, paths[0]);
        assert_eq!(tree.text(paths[1]), format!("{name}\n"));
    }
}
