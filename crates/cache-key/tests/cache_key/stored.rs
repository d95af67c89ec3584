//! The JSON form of parts.

use kiln_cache_key::{FileId, FileKind, FileSet, Parts, Text, Value, part};
use kiln_oci::Digest;

use crate::{char_device, file, hard_link, with_mode, with_owner, with_xattr};

fn every_kind() -> FileSet {
    let ping = with_owner(with_mode(file("bin/ping", "ping"), 0o4755), 0, 5);
    FileSet::new(vec![
        FileId::directory("bin"),
        with_xattr(ping, "security.capability", b"\x01\0%\xff"),
        hard_link("bin/pong", "bin/ping"),
        FileId::symlink("line\nfeed", "a%b"),
        FileId::file(b"latin\xe9".as_slice(), 0, Digest::of("")),
        file("größe", "1"),
        char_device("null", 1, 3),
        FileId::new("sda", FileKind::BlockDevice { major: 8, minor: 0 }),
        with_mode(FileId::new("pipe", FileKind::Fifo), 0),
    ])
}

fn parts() -> Parts {
    Parts::new()
        .with(part::INSTRUCTION, "COPY . /")
        .with(part::BASE, Digest::of("base"))
        .with(part::SHELL, Value::list(["/bin/sh", "-c"]))
        .with(
            part::ARGS,
            Value::variables([
                ("B", "x".repeat(300)),
                ("A", "hashed".into()),
                ("C", String::new()),
            ]),
        )
        .with("text", Text::hashed("x"))
        .with(part::FILES, every_kind())
        .with(part::mount_files(0), FileSet::new(vec![]))
}

fn assert_comes_back(parts: &Parts) {
    let json = serde_json::to_string(parts).unwrap();
    let back: Parts = serde_json::from_str(&json).unwrap();
    assert_eq!(back, *parts);
    assert_eq!(back.key(None), parts.key(None));
    for ((_, back), (name, value)) in back.iter().zip(parts.iter()) {
        if let (Value::Files(back), Value::Files(files)) = (back, value) {
            assert_eq!(back.files(), files.files(), "{name}");
            assert_eq!(back.count(), files.count(), "{name}");
        }
    }
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    // Inside of another document, as the config of an image.
    let tree: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::from_value::<Parts>(tree).unwrap(), *parts);
}

#[test]
fn what_is_stored() {
    let json = serde_json::to_string(&parts()).unwrap();
    // One file to a line, to be read here.
    let lines = json.replace("],[", "],\n [").replace("},\"", "},\n\"");
    insta::assert_snapshot!("parts", lines);
}

#[test]
fn everything_comes_back() {
    assert_comes_back(&parts());
    assert_comes_back(&Parts::new());
    assert_comes_back(&parts().for_storage(3));
}

#[test]
fn long_lists_are_not_stored() {
    let count = every_kind().files().unwrap().len();
    assert_eq!(every_kind().count(), count as u64);
    let rows = [
        (usize::MAX, true),
        (count, true),
        (count - 1, false),
        (0, false),
    ];
    assert!(!rows.is_empty());
    for (max, listed) in rows {
        let stored = parts().for_storage(max);
        assert_eq!(stored.key(None), parts().key(None), "{max}");
        assert_eq!(stored, parts(), "{max}");
        let Some(Value::Files(files)) = stored.get(part::FILES) else {
            panic!("{max}: no files");
        };
        assert_eq!(files.files().is_some(), listed, "{max}");
        assert_eq!(files.count(), count as u64, "{max}");
    }
    let stored = Parts::new().with(part::FILES, every_kind()).for_storage(0);
    let digest = every_kind().digest().to_string();
    assert_eq!(
        serde_json::to_string(&stored).unwrap(),
        format!(
            r#"{{"version":1,"parts":{{"files":{{"files":{{"count":{count},"digest":"{digest}"}}}}}}}}"#
        )
    );
}

#[test]
fn what_is_not_understood_is_an_error() {
    let file = |file: &str| format!(r#"{{"version":1,"parts":{{"f":{{"files":[{file}]}}}}}}"#);
    let hex = "ab".repeat(32);
    let rows = [
        (
            r#"{"version":2,"parts":{}}"#.into(),
            "version 2 of the format is not known",
        ),
        (r#"{"parts":{}}"#.into(), "missing field `version`"),
        (r#"{"version":1}"#.into(), "missing field `parts`"),
        (
            r#"{"version":1,"parts":{"a":{"new":1}}}"#.into(),
            "unknown variant `new`",
        ),
        (
            r#"{"version":1,"parts":{"a":{"text":{"hashed":"x"}}}}"#.into(),
            "did not match",
        ),
        (
            r#"{"version":1,"parts":{"a":{"text":"1"},"a":{"text":"2"}}}"#.into(),
            "two parts are named `a`",
        ),
        (
            r#"{"version":1,"parts":{"f":{"files":{"count":1}}}}"#.into(),
            "missing field `digest`",
        ),
        (file("[]"), "too few values"),
        (file(r#"["d0755"]"#), "too few values"),
        (file(r#"["d0755","a",1]"#), "expected a map"),
        (file(r#"["d0755","a",{},1]"#), "too many values"),
        (file(r#"["","a"]"#), "the letter of a kind"),
        (file(r#"["x0755","a"]"#), "the letter of a kind"),
        (file(r#"["d0855","a"]"#), "the letter of a kind"),
        (file(r#"["d0755 1","a"]"#), "the letter of a kind"),
        (file(r#"["d0755","a%2"]"#), "`%` escapes"),
        (
            file(&format!(r#"["-0644","a",-1,"{hex}"]"#)),
            "invalid value",
        ),
        (file(r#"["-0644","a",1,"ab"]"#), "64 lower-case hex digits"),
        (file(r#"["c0644","a",1]"#), "too few values"),
        (file("1"), "an array that describes a file"),
    ];
    assert!(!rows.is_empty());
    for (json, expected) in rows {
        let message = serde_json::from_str::<Parts>(&json)
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{json}: {message}");
    }
}

#[test]
fn order_in_the_stored_form_does_not_count() {
    let hex = Digest::of("1").hex();
    let json = format!(
        r#"{{"parts":{{"files":{{"files":[["h0644","b","c"],["-0644","c",1,"{hex}"]]}}}},"version":1}}"#
    );
    let back: Parts = serde_json::from_str(&json).unwrap();
    let files = FileSet::new(vec![file("b", "1"), hard_link("c", "b")]);
    assert_eq!(back, Parts::new().with(part::FILES, files));
}
