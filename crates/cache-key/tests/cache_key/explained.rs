//! What people read when a step misses the cache.

use std::collections::BTreeMap;

use kiln_cache_key::{Change, FileId, FileKind, FileSet, Parts, Text, Value, compare, part};
use kiln_oci::Digest;

use crate::{char_device, file, hard_link, with_mode, with_owner, with_xattr};

fn lines(before: &Parts, now: &Parts) -> Vec<String> {
    compare(before, now).iter().map(Change::to_string).collect()
}

fn one(name: &str, value: impl Into<Value>) -> Parts {
    Parts::new().with(name, value)
}

fn variables<const N: usize>(name: &str, variables: [(&str, &str); N]) -> Parts {
    one(name, Value::variables(variables))
}

fn files(files: impl IntoIterator<Item = FileId>) -> Parts {
    one(part::FILES, files.into_iter().collect::<FileSet>())
}

fn assert_lines(rows: Vec<(Parts, Parts, &str)>) {
    assert!(!rows.is_empty());
    for (before, now, line) in rows {
        assert_eq!(lines(&before, &now), [line]);
    }
}

/// So many files that stay the same, and these.
fn among(same: usize, these: impl IntoIterator<Item = FileId>) -> Parts {
    let same = (0..same).map(|number| file(&format!("same/{number}"), "same"));
    files(same.chain(these))
}

#[test]
fn texts_lists_and_digests() {
    // conformance: H29
    let (aaaa, bbbb) = (
        Digest::from_bytes([0xaa; 32]),
        Digest::from_bytes([0xbb; 32]),
    );
    let long = "d/".repeat(40);
    let rows: Vec<(Parts, Parts, &str)> = vec![
        (
            one(part::BASE, aaaa),
            one(part::BASE, bbbb),
            "base image moved from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb",
        ),
        (
            one(part::BASE, "scratch"),
            one(part::BASE, bbbb),
            "base image changed from scratch to sha256:bbbbbbbbbbbb",
        ),
        (
            one(part::PLATFORM, "linux/amd64"),
            one(part::PLATFORM, "linux/arm/v7"),
            "platform changed from linux/amd64 to linux/arm/v7",
        ),
        (
            one(part::SHELL, Value::list(["/bin/sh", "-c"])),
            one(part::SHELL, Value::list(["/bin/bash", "-c"])),
            r#"shell changed from ["/bin/sh", "-c"] to ["/bin/bash", "-c"]"#,
        ),
        (
            one(part::USER, "a"),
            one(part::USER, "b"),
            "user changed from a to b",
        ),
        (
            one(part::USER, ""),
            one(part::USER, "a b"),
            r#"user changed from "" to "a b""#,
        ),
        (
            one(part::WORKDIR, "/src"),
            one(part::WORKDIR, long.as_str()),
            "workdir changed",
        ),
        (Parts::new(), one(part::USER, "b"), "user is new"),
        (one(part::USER, "b"), Parts::new(), "user is gone"),
        (
            one(part::SOURCE, aaaa),
            one(part::SOURCE, bbbb),
            "source changed from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb",
        ),
        (
            one(&part::mount(1), "type=bind,target=/a"),
            one(&part::mount(1), "type=bind,target=/b"),
            "mount 1 changed from type=bind,target=/a to type=bind,target=/b",
        ),
        (
            one(&part::mount_source(1), aaaa),
            one(&part::mount_source(1), bbbb),
            "mount 1 source changed from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb",
        ),
        (
            one("network", "none"),
            one("network", "host"),
            "network changed",
        ),
        (
            one("net\nwork", "none"),
            one("net\nwork", aaaa),
            r"net\nwork changed",
        ),
    ];
    assert_lines(rows);
}

#[test]
fn instructions_in_one_line() {
    // conformance: H29
    let long = "d/".repeat(40);
    let rows: Vec<(Parts, Parts, &str)> = vec![
        (
            one(part::INSTRUCTION, "RUN make"),
            one(part::INSTRUCTION, "RUN make -j"),
            "instruction changed from `RUN make` to `RUN make -j`",
        ),
        (
            one(part::INSTRUCTION, "RUN <<EOF\nmake\nEOF"),
            one(part::INSTRUCTION, "RUN <<EOF\nmake\n\x1b[31m\nEOF"),
            r"instruction changed from `RUN <<EOF\nmake\nEOF` to `RUN <<EOF\nmake\n\u{1b}[31m\nEOF`",
        ),
        (
            one(
                part::INSTRUCTION,
                "RUN apt-get update && apt-get install --yes curl jq make",
            ),
            one(
                part::INSTRUCTION,
                "RUN apt-get update && apt-get install --yes curl jq make ninja-build",
            ),
            "instruction changed from `…l --yes curl jq make` to `…l --yes curl jq make ninja-build`",
        ),
        (
            one(part::INSTRUCTION, format!("RUN a {long}")),
            one(part::INSTRUCTION, format!("RUN b {long}")),
            "instruction changed from \
             `RUN a d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/…` to \
             `RUN b d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/…`",
        ),
        (
            one(part::INSTRUCTION, Text::hashed("a")),
            one(part::INSTRUCTION, Text::hashed("b")),
            "instruction changed",
        ),
    ];
    assert_lines(rows);
}

#[test]
fn variables_one_by_one() {
    // conformance: H29
    let long = "/opt/bin:".repeat(10);
    let hashed = |text: &str| {
        let entries = [("TOKEN".to_owned(), Text::hashed(text))];
        one(part::ARGS, BTreeMap::from(entries))
    };
    let rows: Vec<(Parts, Parts, &[&str])> = vec![
        (
            variables(part::ARGS, [("VERSION", "1")]),
            variables(part::ARGS, [("VERSION", "2")]),
            &["build arg VERSION changed from 1 to 2"],
        ),
        (
            variables(part::ARGS, [("A", "1"), ("B", ""), ("C", "3")]),
            variables(part::ARGS, [("B", "2"), ("C", "3"), ("X", "1")]),
            &[
                "build arg A is gone",
                r#"build arg B changed from "" to 2"#,
                "build arg X is new",
            ],
        ),
        (
            Parts::new(),
            variables(part::ARGS, [("A", "1")]),
            &["build arg A is new"],
        ),
        (
            variables(part::ARGS, [("A", "1")]),
            Parts::new(),
            &["build arg A is gone"],
        ),
        (
            Parts::new(),
            variables(part::ARGS, []),
            &["list of build args is new"],
        ),
        (
            variables(part::ENV, []),
            Parts::new(),
            &["environment is gone"],
        ),
        (hashed("a"), hashed("b"), &["build arg TOKEN changed"]),
        (
            hashed("a"),
            variables(part::ARGS, [("TOKEN", "a")]),
            &["build arg TOKEN changed"],
        ),
        (
            variables(part::ENV, [("PATH", "/bin")]),
            variables(part::ENV, [("PATH", "/bin:/sbin")]),
            &["environment variable PATH changed from /bin to /bin:/sbin"],
        ),
        (
            variables(part::ENV, [("PATH", "/bin")]),
            variables(part::ENV, [("PATH", &long)]),
            &["environment variable PATH changed"],
        ),
        (
            variables("options", [("A", "1")]),
            variables("options", [("A", "2")]),
            &["options A changed from 1 to 2"],
        ),
    ];
    assert!(!rows.is_empty());
    for (before, now, expected) in rows {
        assert_eq!(lines(&before, &now), expected);
    }
}

#[test]
fn files_by_name() {
    // conformance: H29
    let named = |names: &[&str], content: &str| -> Vec<FileId> {
        names.iter().map(|name| file(name, content)).collect()
    };
    let seven = ["a", "b", "c", "d", "e", "f", "g"];
    let rows: Vec<(Parts, Parts, &str)> = vec![
        (
            among(309, named(&["Cargo.lock", "src/main.rs"], "1")),
            among(309, named(&["src/main.rs", "Cargo.lock"], "2")),
            "2 of 311 files changed: Cargo.lock, src/main.rs",
        ),
        (
            among(0, named(&seven, "1")),
            among(0, named(&seven, "2")),
            "7 of 7 files changed: a, b, c, d, e and 2 more",
        ),
        (
            among(308, [file("a", "1"), file("d", "")]),
            among(308, [file("a", "2"), file("b", ""), file("c", "")]),
            "1 of 311 files changed: a; 2 added: b, c; 1 removed: d",
        ),
        (among(3, []), among(3, [file("a", "")]), "1 file added: a"),
        (
            among(3, []),
            among(3, [FileId::directory("d")]),
            "1 directory added: d/",
        ),
        (
            among(3, [file("old", "1")]),
            among(3, [file("new", "1")]),
            "1 file added: new; 1 removed: old",
        ),
        (
            among(3, named(&seven, "1")),
            among(3, []),
            "7 files removed: a, b, c, d, e and 2 more",
        ),
        (
            among(3, []),
            among(3, [file("a\nb, c", ""), FileId::directory("")]),
            "1 file and 1 directory added: ./, a%0Ab, c",
        ),
        (Parts::new(), files([file("a", "")]), "1 file added: a"),
        (Parts::new(), files([]), "list of files is new"),
        (one(part::FILES, "a"), files([]), "list of files changed"),
        // A path with two sources.
        (
            files([file("a", "1"), file("a", "2")]),
            files([file("a", "1")]),
            "1 file removed: a",
        ),
        // Too many files to store.
        (
            among(310, [file("a", "1")]).for_storage(100),
            among(310, [file("a", "2")]),
            "files changed (too many to list: 311 files and directories)",
        ),
        // Other parts with files.
        (
            one(&part::mount_files(0), FileSet::new(vec![file("a", "1")])),
            one(&part::mount_files(0), FileSet::new(vec![file("a", "2")])),
            "mount 0: 1 of 1 files changed: a",
        ),
        (
            one("other", FileSet::new(vec![file("a", "1")])).for_storage(0),
            one("other", FileSet::new(vec![file("a", "2")])),
            "other: files changed (too many to list: 1 files and directories)",
        ),
    ];
    assert_lines(rows);
}

// finding 61
#[test]
fn directories_are_no_files() {
    // conformance: H29
    let ping = || file("bin/ping", "ping");
    let rows: Vec<(Parts, Parts, &str)> = vec![
        (
            among(
                3,
                [
                    FileId::directory("d"),
                    FileId::directory("e"),
                    file("e/f", "1"),
                ],
            ),
            among(
                3,
                [
                    FileId::directory("d"),
                    FileId::directory("e"),
                    file("e/f", "2"),
                ],
            ),
            "1 of 4 files changed: e/f",
        ),
        (
            among(3, [FileId::directory("d"), FileId::directory("e")]),
            among(
                3,
                [
                    with_mode(FileId::directory("d"), 0o700),
                    with_mode(FileId::directory("e"), 0o700),
                ],
            ),
            "2 directories changed in mode: d/, e/",
        ),
        // A clone with another umask.
        (
            among(1, [ping(), FileId::directory("bin")]),
            among(
                1,
                [
                    with_mode(ping(), 0o664),
                    with_mode(FileId::directory("bin"), 0o775),
                ],
            ),
            "1 of 2 files and 1 directory changed in mode: bin/, bin/ping",
        ),
        (
            among(1, [ping(), FileId::directory("bin")]),
            among(
                1,
                [
                    with_owner(ping(), 1, 1),
                    with_mode(FileId::directory("bin"), 0o775),
                ],
            ),
            "1 of 2 files and 1 directory changed in mode and owner: bin/, bin/ping",
        ),
    ];
    assert_lines(rows);
}

#[test]
fn what_is_new_about_one_file() {
    // conformance: H29
    let ping = || file("bin/ping", "ping");
    let capability = |value: &[u8]| with_xattr(ping(), "security.capability", value);
    let rows: Vec<(Parts, Parts, &str)> = vec![
        (
            among(3, [ping()]),
            among(3, [with_mode(ping(), 0o755)]),
            "mode of bin/ping changed from 0644 to 0755",
        ),
        (
            among(3, [ping()]),
            among(3, [with_owner(ping(), 5, 6)]),
            "owner of bin/ping changed from 0:0 to 5:6",
        ),
        (
            among(3, [ping()]),
            among(3, [with_owner(with_mode(capability(b"1"), 0o4755), 5, 6)]),
            "bin/ping changed: mode from 0644 to 4755, owner from 0:0 to 5:6, extended attributes",
        ),
        (
            among(3, [capability(b"1")]),
            among(3, [capability(b"2")]),
            "extended attributes of bin/ping changed",
        ),
        (
            among(3, [FileId::symlink("l", "a")]),
            among(3, [FileId::symlink("l", "b")]),
            "target of l changed from a to b",
        ),
        (
            among(3, [char_device("null", 1, 3)]),
            among(3, [char_device("null", 1, 5)]),
            "device numbers of null changed from 1,3 to 1,5",
        ),
        (
            among(3, [ping()]),
            among(3, [FileId::symlink("bin/ping", "pong")]),
            "bin/ping changed from file to symlink",
        ),
        (
            files([file("a", "1"), file("b", "1")]),
            files([file("a", "1"), hard_link("b", "a")]),
            "b changed from file to hard link",
        ),
        (
            among(3, [ping()]),
            among(3, [with_mode(file("bin/ping", "pong"), 0o755)]),
            "1 of 4 files changed: bin/ping",
        ),
    ];
    assert_lines(rows);
}

/// A build of then and one of now, with something of everything.
fn two_builds() -> (Parts, Parts) {
    let before = Parts::new()
        .with(part::BASE, Digest::of("1"))
        .with(part::INSTRUCTION, "RUN <<EOF\nmake\nmake test\nEOF")
        .with(
            part::ENV,
            Value::variables([("HOME", "/root"), ("SAME", "1")]),
        )
        .with(
            part::FILES,
            FileSet::new(vec![
                file("a", "1"),
                with_xattr(file("b", "1"), "user.a", b"\x01"),
                FileId::directory("c"),
                file("d", "1"),
            ]),
        )
        .with(
            part::mount_files(2),
            FileSet::new(vec![file("x", "1"), file("y", "1")]),
        )
        .with(part::mount(10), "type=cache");
    let device = FileKind::BlockDevice { major: 8, minor: 1 };
    let now = Parts::new()
        .with(part::BASE, Digest::of("2"))
        .with(part::INSTRUCTION, "RUN <<EOF\nmake -j\nmake test\nEOF")
        .with(
            part::ENV,
            Value::variables([("HOME", "x".repeat(300)), ("SAME", "1".into())]),
        )
        .with(part::ARGS, Value::variables([("VERSION", "2")]))
        .with(
            part::FILES,
            FileSet::new(vec![
                with_mode(file("a", "22"), 0o755),
                file("b", "1"),
                file("d", "1"),
                FileId::new("e", device),
            ]),
        )
        .with(
            part::mount_files(2),
            FileSet::new(vec![file("x", "2"), file("y", "1")]),
        );
    (before.for_storage(10), now)
}

#[test]
fn all_changes_in_order() {
    let (before, now) = two_builds();
    insta::assert_snapshot!("lines", lines(&before, &now).join("\n"));
}

#[test]
fn details_are_complete() {
    let (before, now) = two_builds();
    let details: Vec<String> = compare(&before, &now).iter().map(Change::details).collect();
    insta::assert_snapshot!("details", details.join("\n"));
}

#[test]
fn programs_get_everything() {
    let (before, now) = two_builds();
    let json = serde_json::to_string_pretty(&compare(&before, &now)).unwrap();
    insta::assert_snapshot!("changes", json);
}

#[test]
fn equal_parts_have_nothing_to_tell() {
    let (before, now) = two_builds();
    assert_eq!(lines(&before, &before), [] as [&str; 0]);
    assert_eq!(lines(&now, &now.for_storage(0)), [] as [&str; 0]);
}

/// What is stored tells that a value changed, and nothing of the value, not even to somebody who guesses.
// finding 12
// conformance: H10 H29
#[test]
fn hidden_values_are_compared_and_not_stored() {
    let args = |value: &str| {
        Parts::new()
            .with(
                part::INSTRUCTION,
                Text::hidden_behind(format!("COPY {value} /"), "COPY $TOKEN /"),
            )
            .with(part::ARGS, Value::hidden_variables([("TOKEN", value)]))
    };
    let long = "t0k-".repeat(100);
    for (one, two) in [("t0k-1", "t0k-2"), ("t0k-1", &long), (&long, "t0k-2")] {
        let (before, now) = (args(one), args(two));
        assert_ne!(before.key(None), now.key(None));
        let stored = serde_json::to_string(&before).unwrap();
        for text in [&stored, &format!("{before:?}")] {
            assert!(!text.contains("t0k"), "{text}");
        }
        let digits = stored.split(|c: char| !c.is_ascii_hexdigit());
        assert!(
            digits.clone().all(|word| word.len() < 8),
            "a digest: {stored}"
        );
        let before: Parts = serde_json::from_str(&stored).unwrap();
        let lines: Vec<String> = compare(&before, &now)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "a variable in `COPY $TOKEN /` changed",
                "build arg TOKEN changed"
            ]
        );
        for change in compare(&before, &now) {
            assert!(!change.details().contains("t0k"));
            assert!(!serde_json::to_string(&change).unwrap().contains("t0k"));
        }
        assert_eq!(compare(&before, &args(one)), []);
    }
    // The key is that of the text, hidden or not.
    let plain = Parts::new().with(part::ARGS, Value::variables([("A", "1")]));
    let hidden = Parts::new().with(part::ARGS, Value::hidden_variables([("A", "1")]));
    assert_eq!(plain.key(None), hidden.key(None));
    // An entry of before that had the value does not show it either.
    let lines = compare(
        &plain,
        &Parts::new().with(part::ARGS, Value::hidden_variables([("A", "2")])),
    );
    assert_eq!(lines[0].to_string(), "build arg A changed");
}
