//! One table per rule: what makes a key another one, and what does not.

use std::collections::BTreeSet;

use kiln_cache_key::{FileId, FileKind, FileSet, PLAIN_MAX, Parts, Text, Value, part};
use kiln_oci::Digest;

use crate::{char_device, file, hard_link, with_mode, with_owner, with_xattr};

fn one(name: &str, value: impl Into<Value>) -> Parts {
    Parts::new().with(name, value)
}

fn files(files: impl IntoIterator<Item = FileId>) -> Parts {
    one(part::FILES, files.into_iter().collect::<FileSet>())
}

/// All keys differ from each other.
fn assert_all_differ(table: &[Parts]) {
    assert!(!table.is_empty());
    let mut keys = BTreeSet::new();
    for (row, parts) in table.iter().enumerate() {
        assert!(keys.insert(parts.key(None)), "row {row}: {parts:?}");
    }
}

/// A change of format is a decision, not an accident: see the top of `encoding.rs` for what it costs.
///
/// The digits were worked out by another program from what is written there.
#[test]
fn the_format_is_pinned() {
    let ping = with_owner(with_mode(file("bin/ping", "ping"), 0o4755), 1, 2);
    let all = FileSet::new(vec![
        with_xattr(ping, "security.capability", b"\x01\0"),
        FileId::directory("bin"),
        FileId::symlink("l", "bin/ping"),
        hard_link("bin/pong", "bin/ping"),
        char_device("null", 1, 3),
        FileId::new("disk", FileKind::BlockDevice { major: 8, minor: 1 }),
        FileId::new("pipe", FileKind::Fifo),
    ]);
    let parts = Parts::new()
        .with(part::INSTRUCTION, "COPY . /")
        .with(part::BASE, Digest::of("base"))
        .with(part::SHELL, Value::list(["/bin/sh", "-c"]))
        .with(part::ARGS, Value::variables([("A", "1"), ("B", "")]))
        .with("hashed", Text::hashed("x"))
        .with(part::FILES, all);
    let parent = Parts::new().key(None);
    let keys = [parent, parts.key(None), parts.key(Some(parent))].map(|key| key.to_string());
    assert_eq!(
        keys,
        [
            "31e4e06bcd332ed46234d623792fb0c52fe9201f61ab63bbe5a133a72ef94d62",
            "2768fdce4914f888b465324b666a2122bcfa40d57bfcc468f499a38dbe6d0eba",
            "444dd57da5ab5c7b87db7516d55afd94ecb2ea43df29e181c44bd0c4fc4569a5"
        ]
    );
}

#[test]
fn the_past_counts() {
    // conformance: H1
    let step = one(part::INSTRUCTION, "RUN make");
    let empty = Parts::new().key(None);
    let other = one(part::BASE, Digest::of("a")).key(None);
    let after = Parts::new().key(Some(empty));
    let keys = [
        step.key(None),
        step.key(Some(empty)),
        step.key(Some(other)),
        step.key(Some(after)),
    ];
    assert_eq!(BTreeSet::from(keys).len(), 4);
    assert_eq!(step.key(Some(other)), step.clone().key(Some(other)));
}

#[test]
fn parts_are_framed() {
    // conformance: H1
    let digest = Digest::of("a");
    assert_all_differ(&[
        Parts::new(),
        one("a", ""),
        one("", "a"),
        one("a", "b"),
        one("ab", ""),
        one("", "ab"),
        one("a", "b").with("c", "d"),
        one("a", "bc").with("", "d"),
        one("a", "").with("b", "c").with("d", ""),
        // The same bytes as something else.
        one("a", Value::list([] as [&str; 0])),
        one("a", Value::list([""])),
        one("a", Value::list(["", ""])),
        one("a", Value::list(["b"])),
        one("a", Value::list(["bc", "d"])),
        one("a", Value::list(["b", "cd"])),
        one("a", Value::list(["b", "c", "d"])),
        one("a", Value::variables([] as [(&str, &str); 0])),
        one("a", Value::variables([("b", "")])),
        one("a", Value::variables([("", "b")])),
        one("a", Value::variables([("b", "c"), ("d", "")])),
        one("a", Value::variables([("b", "cd")])),
        one("a", FileSet::new(vec![])),
        // A digest, what it is of, how it is written.
        one("a", digest),
        one("a", "a"),
        one("a", digest.to_string()),
        one("a", digest.hex()),
        one("a", Text::hashed("a")),
    ]);
}

#[test]
fn what_a_command_sees_counts() {
    // conformance: H3 H4
    let run = || {
        Parts::new()
            .with(part::BASE, Digest::of("base"))
            .with(part::PLATFORM, "linux/amd64")
            .with(part::INSTRUCTION, "RUN make")
            .with(part::SHELL, Value::list(["/bin/sh", "-c"]))
            .with(part::USER, "app")
            .with(part::WORKDIR, "/src")
            .with(part::ENV, Value::variables([("PATH", "/bin")]))
            .with(part::ARGS, Value::variables([("V", "1")]))
            .with(part::mount(0), "type=bind,target=/m")
            .with(part::mount_source(0), Digest::of("stage"))
    };
    let but = |name: &str, value: Value| {
        let parts = run();
        let others = parts.iter().filter(|(other, _)| *other != name);
        others.fold(Parts::new().with(name, value), |parts, (name, value)| {
            parts.with(name, value.clone())
        })
    };
    let variables = |variables: &[(&str, &str)]| Value::variables(variables.iter().copied());
    assert_eq!(but(part::USER, "app".into()), run());
    assert_all_differ(&[
        run(),
        but(part::BASE, Digest::of("other").into()),
        but(part::PLATFORM, "linux/arm64".into()),
        but(part::INSTRUCTION, "RUN make -j".into()),
        but(part::INSTRUCTION, "RUN make\nEOF".into()),
        but(part::SHELL, Value::list(["/bin/bash", "-c"])),
        but(part::SHELL, Value::list(["/bin/sh -c"])),
        but(part::USER, "root".into()),
        but(part::WORKDIR, "/".into()),
        but(part::ENV, variables(&[("PATH", "/bin:/sbin")])),
        but(part::ENV, variables(&[("PATH", "/bin"), ("A", "")])),
        but(part::ARGS, variables(&[("V", "2")])),
        but(part::ARGS, variables(&[("W", "1")])),
        but(part::ARGS, variables(&[("V", "1"), ("PATH", "/bin")])),
        but("mount 0", "type=bind,target=/m,rw".into()),
        but("mount 0 source", run().key(None).into()),
        run().with(part::mount_files(0), FileSet::new(vec![])),
    ]);
}

#[test]
fn all_that_a_layer_keeps_of_a_file_counts() {
    // conformance: H6 H7. There is nowhere to put a time, an inode or the folder of the context.
    let base = || file("a", "content");
    let mut same_size = base();
    let content = Digest::of("CONTENT");
    same_size.kind = FileKind::File { size: 7, content };
    let mut same_content = base();
    let content = Digest::of("content");
    same_content.kind = FileKind::File { size: 8, content };
    assert_all_differ(&[
        files([]),
        files([base()]),
        files([same_size]),
        files([same_content]),
        files([with_mode(base(), 0o755)]),
        files([with_mode(base(), 0o4644)]),
        files([with_owner(base(), 1, 0)]),
        files([with_owner(base(), 0, 1)]),
        // A rename, a new empty directory, one file more.
        files([file("b", "content")]),
        files([base(), FileId::directory("d")]),
        files([base(), file("b", "content")]),
        // Kinds.
        files([FileId::directory("a")]),
        files([with_mode(FileId::directory("a"), 0o644)]),
        files([FileId::symlink("a", "b")]),
        files([FileId::symlink("a", "c")]),
        files([with_mode(FileId::symlink("a", "b"), 0o644)]),
        files([hard_link("a", "b")]),
        files([char_device("a", 1, 3)]),
        files([char_device("a", 3, 1)]),
        files([FileId::new(
            "a",
            FileKind::BlockDevice { major: 1, minor: 3 },
        )]),
        files([FileId::new("a", FileKind::Fifo)]),
        // Extended attributes.
        files([with_xattr(base(), "user.a", b"")]),
        files([with_xattr(base(), "user.a", b"b")]),
        files([with_xattr(base(), "user.ab", b"")]),
        files([with_xattr(with_xattr(base(), "user.a", b""), "user.b", b"")]),
    ]);
}

#[test]
fn paths_are_framed() {
    // conformance: H15
    let names = |names: &[&str]| files(names.iter().map(|name| file(name, "")));
    let long = format!("a{}", "-".repeat(300));
    assert_all_differ(&[
        names(&["a", "bc"]),
        names(&["ab", "c"]),
        names(&["a", "b", "c"]),
        names(&["abc"]),
        names(&["a-bc"]),
        names(&["a:bc"]),
        names(&["a\nbc"]),
        names(&["a/bc"]),
        names(&["a", "-", "bc"]),
        names(&["a", ":", "bc"]),
        names(&["a", "\n", "bc"]),
        names(&["a%0Abc"]),
        names(&[&long]),
        files([FileId::symlink("a", "bc"), file("d", "")]),
        files([FileId::symlink("ab", "c"), file("d", "")]),
        files([FileId::symlink("a", "b"), file("cd", "")]),
        files([FileId::file(b"a\xff".as_slice(), 0, Digest::of(""))]),
        files([FileId::file(b"a\xfe".as_slice(), 0, Digest::of(""))]),
        files([file("a\u{fffd}", "")]),
        names(&["a%FF"]),
    ]);
}

#[test]
fn a_path_that_two_sources_fill_counts_twice() {
    // conformance: H1
    let (first, second) = (file("a", "1"), file("a", "2"));
    assert_all_differ(&[
        files([first.clone()]),
        files([second.clone()]),
        files([first.clone(), second.clone()]),
        files([second, first]),
    ]);
}

#[test]
fn order_does_not_count() {
    // conformance: H17
    let mixed = [
        file("b", "1"),
        FileId::directory("a"),
        file("a/z", "2"),
        file("a-z", "3"),
        file("a.z", "4"),
    ];
    let mut turned = mixed.clone();
    turned.reverse();
    let set: FileSet = mixed.iter().cloned().collect();
    let paths: Vec<_> = set
        .files()
        .unwrap()
        .iter()
        .map(|f| f.path.clone())
        .collect();
    assert!(paths.is_sorted());
    let rows = [
        (files(mixed), files(turned)),
        (
            one(part::ENV, Value::variables([("A", "1"), ("B", "2")])),
            one(part::ENV, Value::variables([("B", "2"), ("A", "1")])),
        ),
        (one("a", "1").with("b", "2"), one("b", "2").with("a", "1")),
        // Whichever name of a file is met first.
        (
            files([file("m", "1"), hard_link("a", "m"), hard_link("z", "m")]),
            files([hard_link("m", "z"), hard_link("a", "z"), file("z", "1")]),
        ),
        (
            files([file("m", "1"), hard_link("a", "m"), hard_link("z", "m")]),
            files([file("a", "1"), hard_link("m", "a"), hard_link("z", "a")]),
        ),
    ];
    assert!(!rows.is_empty());
    for (row, (a, b)) in rows.iter().enumerate() {
        assert_eq!(a.key(None), b.key(None), "row {row}");
        assert_eq!(a, b, "row {row}");
    }
}

#[test]
fn hard_links_count_by_what_they_share() {
    // conformance: H17 E25
    assert_all_differ(&[
        files([file("a", "1"), file("b", "1")]),
        files([file("a", "1"), hard_link("b", "a")]),
        files([file("a", "2"), hard_link("b", "a")]),
        files([
            file("a", "1"),
            hard_link("b", "a"),
            file("c", "1"),
            hard_link("d", "c"),
        ]),
        files([
            file("a", "1"),
            hard_link("b", "a"),
            hard_link("c", "a"),
            hard_link("d", "a"),
        ]),
        // Nonsense is kept as it is, and ends.
        files([hard_link("a", "b"), hard_link("b", "a")]),
        files([hard_link("a", "a")]),
        files([hard_link("a", "b")]),
        files([hard_link("a", "d"), FileId::directory("d")]),
        files([hard_link("a", "b"), hard_link("b", "c"), file("c", "1")]),
    ]);
}

#[test]
fn long_values_are_hashed() {
    let short = "x".repeat(PLAIN_MAX);
    let long = "x".repeat(PLAIN_MAX + 1);
    assert_eq!(Text::value(short.as_str()), Text::Plain(short));
    assert_eq!(Text::value(long.as_str()), Text::hashed(&long));
    let with = |value: String| one(part::ARGS, Value::variables([("A", value)]));
    assert_all_differ(&[
        with(long.clone()),
        with(format!("{long}y")),
        with("y".into()),
    ]);
    assert!(
        !serde_json::to_string(&with(long.clone()))
            .unwrap()
            .contains(&long)
    );
    assert!(matches!(Value::from(long.clone()), Value::Text(Text::Plain(text)) if text == long));
}

#[test]
fn of_variables_named_twice_the_later_counts() {
    let twice = Value::variables([("A", "1"), ("B", "2"), ("A", "3")]);
    assert_eq!(twice, Value::variables([("A", "3"), ("B", "2")]));
}

#[test]
#[should_panic(expected = "two parts are named `a`")]
#[cfg(debug_assertions)]
fn no_part_is_lost() {
    let _ = one("a", "1").with("a", "2");
}
