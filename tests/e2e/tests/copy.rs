//! COPY: sources, destinations, owners and modes.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use kiln_e2e::{Base, Case, Context, Image, Tree, kiln_only, namespace_only, needs_root};

// conformance: E1 E2 E4 E11 E12 E13 E22 E23
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
    for path in ["w/name", "w/copied/run", "both/b"] {
        assert_eq!(tree.node(path).mtime, 1_600_000_000, "{path}");
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

// conformance: E1 E3 E5
#[test]
fn symlinks_named_as_sources_are_followed_inside_the_context() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY link /named/\nCOPY lin* /wild/\nCOPY dirlink /dir/\nCOPY out/a /outside\n\
             COPY dirl* /wilddir/\nCOPY ../../a /climbed\nCOPY d/ /slash\nCOPY a/ /file-slash\n"))
        .file("a", "inside")
        .file("d/f", "f")
        .symlink("link", "a")
        .symlink("dirlink", "d")
        .symlink("out", "/");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("named/link"), "inside");
    assert_eq!(tree.text("wild/link"), "inside");
    assert_eq!(tree.text("dir/f"), "f");
    assert_eq!(tree.text("wilddir/f"), "f");
    assert_eq!(tree.text("climbed"), "inside");
    assert_eq!(tree.text("slash/f"), "f");
    assert_eq!(tree.text("file-slash"), "inside");
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

/// `..` takes away the name before it, also where that is a symlink.
// conformance: E12
#[test]
fn destinations_are_cleaned_before_links_are_followed() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY links /\nCOPY f /link/..\nWORKDIR /link\nCOPY g ..\nCOPY h ../../../up/\nWORKDIR ..\nCOPY f here\n"
        ))
        .file("f", "f")
        .file("g", "g")
        .file("h", "h")
        .symlink("links/link", "/srv/deep");
    let tree = case.build(&context).run().image().tree();
    for path in ["f", "g", "up/h", "here"] {
        assert!(tree.has(path), "{path}: {tree}");
    }
    assert!(!tree.has("srv/f") && !tree.has("srv/g"));
}

// conformance: E21 E23 E27 E29 E30 E31
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
        .file_with_mode("d/sticky", 0o1644, "s")
        .symlink("d/link", "plain");
    let between = SystemTime::UNIX_EPOCH + Duration::new(OLD.unsigned_abs(), 999_999_999);
    let plain = File::open(context.path().join("d/plain")).unwrap();
    plain.set_modified(between).unwrap();
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.node("kept/plain").mtime, OLD, "whole seconds");
    let table = [
        ("number", "0644 33:33"),
        ("group", "0644 0:8"),
        ("names", "0755 1000:50"),
        ("names/run", "0700 1000:50"),
        ("names/link", "0777 1000:50"),
        ("octal/run", "1777 0:0"),
        ("octal/link", "0777 0:0"),
        ("kept/suid", "6755 0:0"),
        ("kept/sticky", "1644 0:0"),
        ("symbolic/run", "0755 0:0"),
        ("symbolic/plain", "0644 0:0"),
        ("new/parent/f", "0400 5:6"),
        ("new/parent", "0400 5:6"),
        ("new", "0400 5:6"),
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

/// Holes of a file are zeros of its content.
// conformance: E26
#[test]
fn sparse_files_read_back_equal() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let hole = 3 << 20;
    let mut content = vec![0; hole];
    content[..5].copy_from_slice(b"begin");
    content[hole - 3..].copy_from_slice(b"end");
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY . /d\n"))
        .file("sparse", "begin")
        .file("full", &content)
        .file("hole", "")
        .file("zeros", vec![0; hole]);
    let open = |name: &str| File::options().write(true).open(context.path().join(name));
    let sparse = open("sparse").unwrap();
    sparse.set_len(hole as u64).unwrap();
    sparse.write_all_at(b"end", hole as u64 - 3).unwrap();
    open("hole").unwrap().set_len(hole as u64).unwrap();
    let tree = case.build(&context).run().image().tree();
    let node = |name: &str| tree.node(&format!("d/{name}")).to_string();
    assert!(node("full").contains("3145728 B"), "{}", node("full"));
    assert_eq!(node("sparse"), node("full"));
    assert_eq!(node("hole"), node("zeros"));
    assert_ne!(node("hole"), node("full"));
}

// conformance: G1 G3
#[test]
fn names_in_layers_are_relative_and_those_of_directories_end_in_a_slash() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY . /\nCOPY d /new/\nRUN mkdir /made && touch /made/file && chmod 711 / && touch /\n"
        ))
        .file("d/file", "f");
    let image = case.build(&context).run().image();
    let above = image.above(&Image::read(&format!("docker://{base}")));
    let names: Vec<Vec<&str>> = above.iter().map(|layer| layer.names()).collect();
    assert_eq!(names[1], ["new/", "new/file"]);
    assert_eq!(names[2], ["made/", "made/file"]);
    assert!(
        names[0].contains(&"d/") && names[0].contains(&"d/file"),
        "{names:?}"
    );
    let odd = |name: &&&str| name.starts_with(['.', '/']) || name.is_empty();
    let odd: Vec<_> = names.iter().flatten().filter(odd).collect();
    assert!(odd.is_empty(), "{odd:?}");
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
            "FROM {base} AS copied\nCOPY --parents a/b/c.txt /parents/\nCOPY --parents a/./b/c.txt /pivot/\n\
             COPY --exclude=*.md --exclude=sub/no d /exclude/\nCOPY --link f /linked/\n\
             COPY --link f /tmp/\nCOPY --link f /var/run/x/\n\
             FROM scratch AS owned\nCOPY --chown=5:6 a /o\nFROM scratch AS parents\nCOPY --parents --from=owned /o/b/c.txt /\n"
        ))
        .file("a/b/c.txt", "c")
        .dir("a/b", 0o705)
        .file("d/keep", "k")
        .file("d/drop.md", "d")
        .file("d/sub/no", "n")
        .file("d/sub/yes", "y")
        .file("f", "f");
    let build = case.build(&context);
    let tree = build.clone().run().image().tree();
    assert_eq!(tree.owner("o/b"), "0705 5:6");
    let tree = build.target("copied").run().image().tree();
    assert_eq!(tree.text("parents/a/b/c.txt"), "c");
    assert_eq!(tree.owner("parents/a/b"), "0705 0:0");
    assert_eq!(tree.text("pivot/b/c.txt"), "c");
    assert_eq!(
        tree.below("exclude"),
        ["exclude/keep", "exclude/sub", "exclude/sub/yes"]
    );
    assert_eq!(tree.text("linked/f"), "f");
    // Nothing below is looked at.
    assert_eq!(tree.owner("tmp"), "0755 0:0");
    assert_eq!(tree.owner("var/run"), "0755 0:0");
    assert_eq!(tree.text("var/run/x/f"), "f");
    assert!(!tree.has("run/x"), "{tree}");
    let layer = |base: &str| {
        let lines = format!("FROM {base}\nCOPY --link f /tmp/d/\n");
        let context = case.context_named("link").file("f", "f").dockerfile(lines);
        // Without the times of two builds.
        let image = case.build(&context).arg("--reproducible").run().image();
        image.layers.last().map(|layer| layer.digest.clone())
    };
    assert_eq!(layer(&base), layer("scratch"));
}

// conformance: E11 G5
#[test]
fn odd_names_survive() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let long = "long-".repeat(40);
    // Owners and a link text that no field of a tar header has room for.
    let mut context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY --chown=3000000:3000001 odd /odd\n"
        ))
        .symlink("odd/link", &long);
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
    let image = case.build(&context).run().image();
    let tree = image.tree();
    for name in &names[..6] {
        assert_eq!(&tree.text(&format!("odd/{name}")), name);
    }
    assert_eq!(tree.text(&nested), "deep");
    assert_eq!(tree.owner("odd/-dash"), "0644 3000000:3000001");
    assert_eq!(
        tree.node("odd/link").to_string(),
        format!("symlink -> {long} 0777 3000000:3000001")
    );
    if kiln_e2e::is_root() {
        // Go's reader of tars, which containerd and docker use too, sees the same.
        let root = image.unpack(&case.path("unpacked"));
        let unpacked = Tree::of_dir(&root).unwrap();
        let differences = kiln_e2e::compare_trees(&tree, &unpacked, |_| false);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// Names that are no text in any language, as a command finds them.
// conformance: E11
#[test]
fn names_are_bytes() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file("odd/with space", "s")
        .dockerfile(format!(
            "FROM {base}\nCOPY odd /odd\nRUN cd /odd && printf '%s' * | od -An -tx1 | tr -d ' \\n' > /seen\n"
        ));
    let name = OsStr::from_bytes(b"a\xff");
    std::fs::write(context.path().join("odd").join(name), "").unwrap();
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("seen"), hex::encode(b"a\xffwith space"));
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

const OLD: i64 = 1_500_000_000;

/// Gives a directory of the context a time that nothing else has.
fn set_old(context: &Context, path: &str) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(OLD.unsigned_abs());
    let dir = File::open(context.path().join(path)).unwrap();
    dir.set_modified(time).unwrap();
}

/// Mode, owner, and whether the time is that of the source.
fn directory(tree: &Tree, path: &str) -> String {
    let time = if tree.node(path).mtime == OLD {
        "time of the source"
    } else {
        "another time"
    };
    format!("{}, {time}", tree.owner(path))
}

#[test]
fn directories_that_a_copy_meets_or_makes() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM scratch AS owned\nCOPY --chown=5:6 d /o\nFROM {base}\nCOPY d /fresh\nCOPY --chown=5:6 --chmod=711 d /chosen\nCOPY d /home/app\nCOPY v /var\nCOPY d f /tmp\n\
             COPY --chown=5:6 d /mine\nCOPY c /\nCOPY --from=owned /o /of-stage\n"
        ))
        .file("f", "f")
        .dir("d", 0o700)
        .file("d/in", "in")
        .dir("v/old", 0o711)
        .file("v/old/in", "in")
        .dir("v/new", 0o2750)
        .dir("c/mine", 0o705);
    for path in ["d", "v/old", "v/new", "v", "c/mine"] {
        set_old(&context, path);
    }
    let tree = case.build(&context).run().image().tree();
    let table = [
        // conformance: E18
        ("fresh", "0755 0:0, time of the source"),
        ("chosen", "0711 5:6, time of the source"),
        ("of-stage", "0755 0:0, time of the source"),
        // conformance: E19
        ("home/app", "0750 1000:1000, time of the source"),
        ("var", "0755 0:0, time of the source"),
        // conformance: E20
        ("var/old", "0711 0:0, time of the source"),
        ("var/new", "2750 0:0, time of the source"),
        ("mine", "0705 0:0, time of the source"),
        // conformance: E14
        ("tmp", "1777 0:0, time of the source"),
    ];
    for (path, expected) in table {
        assert_eq!(directory(&tree, path), expected, "{path}");
    }
    for path in [
        "fresh/in",
        "home/app/.profile",
        "var/old/new",
        "tmp/in",
        "tmp/f",
    ] {
        assert!(tree.has(path), "{path}");
    }
}

#[test]
fn what_a_copy_cannot_replace() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file("a", "a")
        .file("b", "b")
        .file("d/f", "f")
        .file("tmp", "a file with the name of a directory")
        .file("below/tmp", "the same below the top")
        .file("run/run/f", "a directory with the name of a symlink");
    let table = [
        // conformance: E16
        (
            "COPY d /etc/motd",
            "cannot copy to non-directory: /etc/motd",
        ),
        ("COPY tmp /", "cannot replace to directory /tmp with file"),
        ("COPY below /", "cannot replace to directory /tmp with file"),
        ("COPY a /etc/motd/", "/etc/motd: not a directory"),
        // conformance: E17
        ("COPY run /var", "cannot copy to non-directory: /var/run"),
        // conformance: E32
        ("COPY --from=scratch /a /a", "not found"),
        // conformance: E42
        ("ADD --from=scratch /a /a", "--from"),
    ];
    for (line, said) in table {
        let context = Context::new(context.path()).dockerfile(format!("FROM {base}\n{line}\n"));
        let outcome = case.build(&context).no_push().run();
        outcome.failed(1, &["Dockerfile", line, said]);
    }
}

// conformance: E17
#[test]
fn a_symlink_below_the_destination_is_replaced() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY links /x/\nCOPY files /x/\n"))
        .symlink("links/motd", "/etc/motd")
        .file("files/motd", "new");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.text("x/motd"), "new");
    assert_eq!(tree.text("etc/motd"), "second layer\n");
}

fn device_image(case: &Case) -> String {
    let reference = case.destination("devices");
    let tar = kiln_e2e::TarTree::new().char_device("n", 1, 3);
    let spec = kiln_e2e::ImageSpec::of(tar);
    case.registry().push(&spec, &reference);
    reference
}

// conformance: E10
#[test]
fn sockets_stay_behind_and_fifos_come_along() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY odd /odd\n"))
        .file("odd/file", "f");
    let odd = context.path().join("odd");
    let _socket = UnixListener::bind(odd.join("socket")).unwrap();
    nix::unistd::mkfifo(
        &odd.join("pipe"),
        nix::sys::stat::Mode::from_bits_truncate(0o640),
    )
    .unwrap();
    // A device of a stage is copied by anybody; only making one needs a right.
    let context = context.dockerfile(format!(
        "FROM {} AS devices\nFROM {base}\nCOPY odd /odd\nCOPY --from=devices /n /device\n",
        device_image(&case)
    ));
    let outcome = case.build(&context).run();
    let tree = outcome.image().tree();
    assert_eq!(tree.node("device").to_string(), "special c 1 3 0666 0:0");
    assert_eq!(tree.below("odd"), ["odd/file", "odd/pipe"]);
    assert_eq!(tree.node("odd/pipe").to_string(), "special p 0640 0:0");
    let warned = "`odd/socket` of the context is a socket and is left out";
    assert!(outcome.log.contains(warned), "{}", outcome.log);
}

// conformance: E32
#[test]
fn sources_have_names_in_any_case() {
    kiln_only!();
    let case = Case::new();
    let (base, other) = (case.base(Base::Busybox), case.base(Base::Index));
    let dockerfile = format!(
        "FROM {base} AS Made\nCOPY f /f\nFROM {base}\nCOPY --from=MADE /f /stage\nCOPY --from=0 /f /index\n\
         COPY --from={other} /etc/motd /image\n"
    );
    let context = case.context().dockerfile(dockerfile).file("f", "f");
    let tree = case.build(&context).run().image().tree();
    let texts = ["stage", "index", "image"].map(|path| tree.text(path));
    assert_eq!(texts, ["f", "f", "second layer\n"]);
}

/// A file of the kernel's says that it has 4096 bytes, and has fewer.
// conformance: E50
#[test]
fn a_file_of_another_size_than_it_said_is_an_error() {
    kiln_only!();
    // A throw-away root has the context elsewhere.
    namespace_only!();
    let case = Case::new();
    let context = case.context().dockerfile("FROM scratch\nCOPY address /a\n");
    let build = case.build(&context).context("/sys/class/net/lo");
    let tar = case.path("out/image.tar");
    let build = build
        .dockerfile(context.path().join("Dockerfile"))
        .no_push();
    let build = build.arg("--image-format=docker").arg("--tar-path");
    build.arg(&tar).run().failed(
        1,
        &[
            "`a` changed while it was read: expected 4096 bytes, found 18",
            "Dockerfile:2",
        ],
    );
    assert!(!tar.exists());
}

// conformance: E36
#[test]
fn an_identical_file_is_a_layer_all_the_same() {
    // buildah makes one layer of all lines.
    kiln_only!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = Image::read(&format!("docker://{reference}"));
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\nCOPY f /same\nCOPY f /same\n"))
        .file("f", "f");
    let image = case.build(&context).run().image();
    let layers = image.above(&base);
    assert_eq!(layers.len(), 2);
    for layer in layers {
        assert!(layer.names().contains(&"same"), "{:?}", layer.names());
    }
}

// conformance: E42
#[test]
fn an_archive_is_copied_as_it_is() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let archive = kiln_e2e::TarTree::new().file("inside", 0o644, "i").finish();
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY a.tar /to/\n"))
        .file("a.tar", &archive);
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.below("to"), ["to/a.tar"]);
    assert_eq!(tree.node("to/a.tar").content.as_deref(), Some(&archive[..]));
}

// conformance: G27
#[test]
fn copies_into_ignored_paths_are_in_the_layer() {
    kiln_only!();
    needs_root!();
    // In place, what is ignored is not touched either, so the RUN would miss it.
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY f /dev/copied\nADD f /var/run/added\nCOPY f /proc/copied\nCOPY f /ignored/copied\n\
             RUN touch /run-by /var/run/made /ignored/made\nCOPY f /dev/later\n"
        ))
        .file("f", "f");
    let build = case.build(&context).arg("--ignore-path=/ignored");
    let tree = build.run().image().tree();
    for path in [
        "dev/copied",
        "run/added",
        "proc/copied",
        "ignored/copied",
        "dev/later",
        "run-by",
    ] {
        assert!(tree.has(path), "{path} is not in\n{tree}");
    }
    assert!(!tree.has("ignored/made"), "what a RUN writes there is not");
}
